"""Streams that cannot take all: encodings without our characters, readers that are gone."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from rich.table import Table

from smt_nas.cli import console
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import ROOT, invoke

ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LIMITED = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "locale": ASCII_LOCALE,
}
UNREAD = 128 + signal.SIGPIPE
SEARCH = [
    "search",
    "--space",
    "smt_micro",
    "--budget",
    "20MMACs",
    "--n",
    "2",
    "--no-verify",
    "--workers",
    "1",
    "--seed",
    "3",
]
# what is printed and saved is looked at here, not how networks are chosen: costs alone are quick
SEARCH += ["--strategy", "random", "--evaluator", "capacity", "--objective", "score"]
SEARCH += ["--objective", "macs"]


def run(words, env=None, code=0, **more):
    """Run a command in a process of its own; what it printed, as bytes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | (env or {})
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    words = [sys.executable, "-m", "smt_nas", *map(str, words)]
    done = subprocess.run(words, env=environment, **more)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    invoke(*SEARCH, "--out", path)
    return path


@pytest.mark.parametrize("env", LIMITED.values(), ids=LIMITED)
def test_tables_and_notes_need_no_more_than_the_encoding_has(env, searched):
    encoding = env.get("PYTHONIOENCODING", "ascii")
    for words in (["front", searched], ["bench", "show"], ["search", "--help"], ["devices"]):
        text = run(words, env).stdout.decode(encoding)
        assert len(text.splitlines()) > 3 and "\\u2" not in text
    assert b"+-" not in run(["bench", "show"]).stdout


@pytest.mark.parametrize("env", LIMITED.values(), ids=LIMITED)
def test_the_curve_of_a_dry_run_and_class_names_are_told_in_ascii(env, tmp_path):
    from PIL import Image

    for name in ("червен", "bla\u030a", "漢字"):
        for split, count in (("train", 12), ("val", 3)):
            folder = os.fsencode(tmp_path / split) + b"/" + name.encode()
            os.makedirs(folder)
            for i in range(count):
                Image.new("RGB", (16, 16), (i, 2, 3)).save(folder + f"/{i}.png".encode())
    words = ["train", "smt_micro", "--data", tmp_path, "--new-head", "--dry-run"]
    words += ["--set", "batch_size=12", "--out", tmp_path / "run"]
    done = run(words, env)
    text = done.stdout.decode(env.get("PYTHONIOENCODING", "ascii"))
    assert "updates" in text and b"Traceback" not in done.stderr


def test_tables_stay_aligned_where_a_stand_in_is_wider():
    script = "from rich.table import Table\nfrom smt_nas.cli import console\n"
    script += "console.prepare_streams()\ntable = Table()\ntable.add_column('a')\n"
    script += "for cell in ('1 \\xb1 2', 'abcde', '\\u0416'): table.add_row(cell)\n"
    script += "console.show(table)"
    env = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, check=True)
    lines = done.stdout.decode("ascii").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.strip("| ") for line in lines[3:6]] == ["1 +- 2", "abcde", "\\u0416"]


def test_stand_ins():
    assert console.to_encodable("5 ± 1 …", "ascii") == "5 +- 1 ..."
    assert console.to_encodable("5 ± 1 …", "latin-1") == "5 ± 1 ..."
    assert console.to_encodable("5 ± 1 …", "utf-8") == "5 ± 1 …"
    assert console.to_encodable("Ж\udce4", "ascii") == "\\u0416\\xe4"
    assert console.to_encodable("\udcd0\udc96", "utf-8") == "Ж"


def test_files_are_utf_8_whatever_the_locale(tmp_path):
    space = (ROOT / "search_spaces" / "smt_micro.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    text = "\n".join(x for x in space.splitlines() if not x.startswith("description"))
    own.write_text(f"description: любими мрежи ±\n{text}\n", encoding="utf-8")
    words = [own if word == "smt_micro" else word for word in SEARCH]
    here, there = tmp_path / "here", tmp_path / "there"
    run([*words, "--out", here])
    run([*words, "--out", there], ASCII_LOCALE)
    for name in ("run.yaml", "front.csv"):
        (there / name).read_text(encoding="utf-8")
    assert (here / "front.csv").read_bytes() == (there / "front.csv").read_bytes()
    kept = [(x / "run.yaml").read_text(encoding="utf-8").splitlines() for x in (here, there)]
    assert [line for line in kept[0] if "description" in line] == [
        line for line in kept[1] if "description" in line
    ]


def test_class_folders_are_one_text_in_every_locale(tmp_path):
    from PIL import Image

    names = ["червен".encode(), b"bad\xff", "漢字".encode()]
    for name in names:
        for split, count in ((b"train", 4), (b"val", 1)):
            folder = os.fsencode(tmp_path) + b"/data/" + split + b"/" + name
            os.makedirs(folder)
            for i in range(count):
                Image.new("RGB", (8, 8), (i, 2, 3)).save(folder + b"/%d.png" % i)
    words = ["train", "smt_micro", "--data", "data", "--new-head", "--epochs", 1]
    words += ["--set", "batch_size=12", "--out", "run"]
    run(words, ASCII_LOCALE, cwd=tmp_path)
    judged = json.loads(run(["eval", "run", "--json"], cwd=tmp_path).stdout)
    text = json.dumps(judged, ensure_ascii=False)
    assert all(f'"{name}"' in text for name in ("червен", "漢字", r"bad\\xff"))


def test_a_path_that_a_locale_cannot_name_is_told(tmp_path):
    out = tmp_path / "червен"
    done = run([*SEARCH, "--out", out], ASCII_LOCALE, code=1)
    assert b"must be a path that the locale's encoding can name" in done.stderr
    assert not out.exists()
    run([*SEARCH, "--out", out], {"LC_ALL": "C.UTF-8"})


CLOSED = "exec {python} -m smt_nas {words} {closed}"


def run_closed(words, closed, code):
    """Run a command by a shell that closes a stream of it."""
    words = CLOSED.format(python=sys.executable, words=" ".join(map(str, words)), closed=closed)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", words], env=env, capture_output=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_closed_stdout_ends_the_command_quietly(searched, flags):
    for words in (["front", searched, *flags], ["spaces"], ["export", "smt_t"]):
        assert run_closed(words, ">&-", UNREAD).stderr == b""


@pytest.mark.parametrize("closed", [">&-", "| head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"])
def test_the_work_is_saved_though_nobody_reads_the_table(searched, tmp_path, closed):
    closed = closed.replace("{{", "{").replace("}}", "}")
    out = tmp_path / "run"
    script = f"{sys.executable} -m smt_nas {' '.join(SEARCH)} --out {out} {closed}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True)
    assert done.returncode in (0, UNREAD)  # 0: all was written before the reader went
    assert b"Traceback" not in done.stderr and b"Error" not in done.stderr
    assert (out / "front.csv").read_bytes() == (searched / "front.csv").read_bytes()
    assert json.loads(run(["front", out, "--json"]).stdout)["finished"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- 2>&-"])
def test_a_closed_stderr_costs_nothing(searched, tmp_path, closed):
    out = tmp_path / "run"
    run_closed([*SEARCH, "--out", out], closed, UNREAD if ">&- 2" in closed else 0)
    assert (out / "front.csv").read_bytes() == (searched / "front.csv").read_bytes()


def test_talk_that_nobody_reads_any_more_does_not_stop_the_work(searched, tmp_path):
    read, write = os.pipe()
    os.close(read)
    out = tmp_path / "run"
    run([*SEARCH, "--out", out], stderr=write)
    os.close(write)
    assert (out / "front.csv").read_bytes() == (searched / "front.csv").read_bytes()


def test_what_a_terminal_would_obey_is_shown(monkeypatch):
    """A class folder may be called so: it must not colour, beep, or turn the direction."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    name = "a\x1b[31mb\x07c\u202ed\te"
    table = Table("class")
    table.add_row(name)
    console.show(table)
    console.show_notes([name])
    console.say(name)
    shown = out.getvalue() + err.getvalue()
    assert shown.count(r"a\x1b[31mb\x07c\u202ed") == 3
    assert not set(shown) & set("\x1b\x07\u202e")
