"""`profile --task`: both protocols beside the published figures, and one line for bad input."""

import json

import pytest

from smt_nas.costs.heads import HEADS
from smt_nas.report.profile.task_costs import PROTOCOLS
from tests.fakes.terminal import invoke


def test_every_head_says_how_it_is_counted():
    assert PROTOCOLS.keys() == HEADS.keys()


def test_a_detector_is_split_and_stands_beside_the_paper():
    done = invoke("profile", "smt_s", "--task", "detect")
    for words in ("42.19", "265.0", "340.8", "75.8", "published (SMT, ICCV 2023)", "(+0.0%)"):
        assert words in done.stdout
    assert "2.2 M fewer than the published code builds" in done.stdout


def test_a_segmenter_says_what_runs_in_training_alone():
    done = invoke("profile", "smt_t", "smt_s", "--task", "segment", "--input", "512x512")
    assert done.stdout.count("auxiliary head runs in training alone: 0.64 GMACs more") == 2
    assert "published (" not in done.stdout


def test_padding_is_told():
    done = invoke("profile", "smt_t", "--task", "detect", "--head", "retinanet", "--input", "50x70")
    assert "at 50x70, padded to 64x96 as published" in done.stdout


def test_json_has_every_figure():
    done = invoke("profile", "smt_s", "--task", "segment", "--json")
    (row,) = json.loads(done.stdout)["networks"]
    assert (row["network"], row["head"], row["params"]) == ("smt_s", "upernet", 52_345_580)
    assert row["published"] == {"params_m": 50, "gflops": 935, "source": "SMT, ICCV 2023"}
    assert {p["group"] for p in row["parts"]} == {"backbone", "neck", "head"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--task", "detect", "--gpu", "a100"], "--gpu: must be left out with --task"),
        (["--task", "detect", "--batch", "8"], "--batch: must be left out with --task"),
        (["--head", "upernet"], "--head: must stand beside --task"),
        (["--input", "8x8"], "--input: must stand beside --task"),
        (["--task", "segment", "--input", "512"], "--input: must be height x width"),
        (["--task", "detection"], "Did you mean 'detect'"),
        (["--task", "segment", "--head", "mask-rcnn"], "It is of --task detect"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, error):
    done = invoke("profile", "smt_t", *words, code=1)
    assert error in done.stderr
    assert done.stderr.count("\n") == 1
