"""Lines of a work file: the keys that were always stored, and what is found again after a crash."""

import json

import pytest

from smt_nas.errors import StoreError
from smt_nas.profilers.calibration.journal import JournalLine, LoadLine, open_journal
from smt_nas.profilers.calibration.schedule import Visit

HEADER = {"schema": 1, "seed": 0}
STORED = [  # as version 0.1 wrote them
    {"c": 0, "chain": [0, 3], "ms": [1.0, 2.5], "off": 0.083, "ref": 4.0, "t": 0.5},
    {"c": 1, "chain": [1], "ms": [1.0], "host": [0.25], "off": 0.0, "ref": 4.0, "t": 0.75},
    {"c": 0, "net": 7, "ms": 3.5, "off": 0.0, "ref": 4.0, "t": 1.0},
    {"load": [0.01, None], "t": 1.0},
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".work.jsonl"


def as_text(lines):
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def test_lines_keep_the_keys_and_the_order_they_had(path):
    path.write_text(as_text([HEADER, *STORED]))
    with open_journal(path, HEADER) as work:
        chain, launched, network, load = lines = work.lines
    assert chain.visit == Visit(0, (0, 3)) and chain.part_ms == (1.0, 2.5)
    assert launched.host_ms == (0.25,) and chain.host_ms is None
    assert network.visit == Visit(0, network=7) and network.network_ms == 3.5
    assert load == LoadLine(shares=(0.01, None), seconds=1.0)
    again = path.with_name(".again.jsonl")
    with open_journal(again, HEADER) as work:
        for line in lines:
            work.append(line)
    assert again.read_text() == as_text([HEADER, *STORED])


@pytest.mark.parametrize("torn", [b'{"c":0,"net":3,"ms":0.0', b'{"c":0}\n', b"7\n", b"\xff\n"])
def test_a_line_that_is_not_whole_is_cut_off(path, torn):
    whole = as_text([HEADER, STORED[0]]).encode()
    path.write_bytes(whole + torn)
    with open_journal(path, HEADER) as work:
        assert len(work.lines) == 1
    assert path.read_bytes() == whole


def test_a_work_file_of_something_else_is_begun_anew(path):
    path.write_text(as_text([{"a": 2}, STORED[2]]))
    with open_journal(path, HEADER) as work:
        assert work.lines == []
        work.append(JournalLine.model_validate(STORED[0]))
    assert path.read_text() == as_text([HEADER, STORED[0]])


def test_one_process_at_a_time(path):
    with (
        open_journal(path, HEADER),
        pytest.raises(StoreError, match="another process"),
        open_journal(path, HEADER),
    ):
        pass
    with open_journal(path, HEADER) as again:
        assert again.lines == []


def test_the_folder_is_made(tmp_path):
    with open_journal(tmp_path / "profiles" / ".work.jsonl", HEADER) as work:
        assert work.lines == []
    with (
        pytest.raises(StoreError, match="cannot be written"),
        open_journal(tmp_path / "profiles" / ".work.jsonl" / "x", HEADER),
    ):
        pass
