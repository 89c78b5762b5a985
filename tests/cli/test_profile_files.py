"""`smt-nas profile` on exported files: timed beside networks, refused in one line."""

import json

import pytest

from smt_nas.export import ExportSource, export
from smt_nas.profilers.network_loader import load_network
from tests.fakes.networks import TINY, trained_state
from tests.fakes.terminal import invoke

BRIEFLY = ["--threads", "1", "--seconds", "0.1", "--no-energy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    TINY.save(folder / "net.yaml")
    source = ExportSource("net", TINY, trained_state(TINY))
    export(source, "pt2", folder / "net.pt2")
    (folder / "bare.pt2").write_bytes((folder / "net.pt2").read_bytes())
    return folder


def test_a_file_is_timed_beside_its_network(folder):
    done = invoke("profile", folder / "net.yaml", folder / "net.pt2", *BRIEFLY, "--json")
    document = json.loads(done.stdout)
    network, file = document["networks"]
    assert file["key"] == network["key"] == TINY.key and file["values"] == network["values"]
    rows = document["rows"]
    assert rows[0]["runtime"] is None and rows[1]["runtime"].startswith("torch.export")
    assert all(row["figures"]["latency_ms"]["value"] > 0 for row in rows)
    assert document["comparisons"][0]["other"].endswith("net.pt2")


def test_what_ran_it_is_said(folder):
    done = invoke("profile", folder / "net.pt2", *BRIEFLY)
    assert "run by torch.export" in done.stdout
    assert "costs are of the network it was written from" in done.stdout


def test_a_file_that_does_not_say_its_network_is_timed_all_the_same(folder):
    done = invoke("profile", folder / "bare.pt2", *BRIEFLY)
    assert "no manifest says its network" in done.stdout and "img/s" in done.stdout


def test_a_preset_is_no_folder_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smt_t").mkdir()
    (tmp_path / "smt_t" / "smt_t.xml").write_text("")
    assert load_network("smt_t").file is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpu", "a100"], "Leave --gpu out"),
        (["--form", "compile"], "--form compile"),
        (["--precision", "bf16"], "--precision must be fp32"),
        (["--train"], "--train"),
        (["--channels-last"], "--channels-last"),
        (["--image-size", "64"], "Leave --image-size out"),
    ],
)
def test_options_that_make_no_sense_are_refused(folder, words, told):
    done = invoke("profile", folder / "net.pt2", *BRIEFLY, *words, code=1)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
