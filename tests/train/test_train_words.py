"""`smt-nas train`: options that would be passed over are refused, before anything is done."""

import pytest

from tests.fakes.terminal import invoke


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["smt_micro", "--data", "digits", "--seeds", "3"], "--seeds: is for --top"),
        (["--top", "2", "RUN", "--data", "digits", "--dry-run"], "--dry-run: shows one training"),
        (["--out", "RUN", "--resume", "auto", "--epochs", "9"], "--epochs: a training goes on"),
        (["--out", "RUN", "--resume", "auto", "--set", "epochs=9"], "--set: a training goes on"),
        (["--out", "RUN", "--resume", "auto", "--data", "digits"], "train: ARCH must be named"),
        (["--out", "RUN", "--resume", "on"], "--resume: must be auto or never"),
        (["--out", "RUN", "--resume", "auto", "--keep", "3"], "RUN: holds no training"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    done = invoke("train", *words, code=1)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert expected in line
    assert not list(tmp_path.iterdir())
