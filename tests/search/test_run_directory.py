"""A run directory and its study, as users, crashes and full disks leave them."""

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import threading

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from smt_nas.errors import ConfigError, SmtNasError, StoreError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.files import sqlite_url
from smt_nas.runtime.engines.engine_choice import EngineChoice
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.setup import create
from smt_nas.search.storage.database import hide_password
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import StudyNotes
from smt_nas.space import SearchSpace
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")


RATER = FunctionEvaluator(lambda arch: float(arch.stages[2].dim))
SPACE = SearchSpace.load("smt_micro")


def settings(**more):
    asked = {"space": "smt_micro", "objectives": ("score", "macs", "params"), "n": 6}
    return Settings(**(asked | {"verify": False} | more))


def begin(path, **more):
    return create_search(settings(**more), path, evaluator=RATER)


@pytest.fixture
def run(tmp_path):
    begin(tmp_path / "run").run()
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "holds this very search already"),
        ({"seed": 1}, r"holds a search with seed 0 \(got 1\)"),
        ({"seed": 1, "n": 99}, r"holds a search with seed 0 \(got 1\)"),  # n is not why
        ({"space": "smt"}, r"with space smt_micro \(got smt\)"),
        ({"budgets": ("9MMACs",)}, "with budgets"),
    ],
)
def test_a_taken_directory(run, asked, told):
    before = (run / "run.yaml").read_bytes()
    with pytest.raises(StoreError, match=told):
        begin(run, **asked)
    assert (run / "run.yaml").read_bytes() == before


@pytest.mark.parametrize("word", ["verify", "prove"])
def test_a_run_keeps_whether_it_verifies_under_either_name(run, word):
    file = run / "run.yaml"
    text = file.read_text()
    assert "  verify: false\n" in text
    file.write_text(text.replace("verify: false", f"{word}: false"))
    assert RunDirectory.open(run).settings.verify is False
    assert resume_search(run, evaluator=RATER).run().finished


def test_a_directory_of_other_things(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="must be empty or new"):
        begin(tmp_path)
    with pytest.raises(StoreError, match="is a file"):
        begin(tmp_path / "letter.txt")
    with pytest.raises(StoreError, match="cannot be made"):
        begin(tmp_path / "letter.txt" / "run")


@pytest.mark.parametrize("content", [b"", b"schema: 1\nsett", b"\xff\x00", b"schema: 2\n", b"- a"])
def test_a_broken_run_yaml(run, content):
    (run / "run.yaml").write_bytes(content)
    for attempt in (resume_search, begin):
        with pytest.raises(StoreError, match=r"run\.yaml.*Restore that file"):
            attempt(run)
    assert (run / "study.db").stat().st_size > 0


def test_no_run_yaml(tmp_path):
    with pytest.raises(StoreError, match="is not a run directory"):
        resume_search(tmp_path)
    with pytest.raises(StoreError, match="is not a run directory"):
        resume_search(tmp_path / "missing")


@pytest.mark.parametrize("how", ["deleted", "empty"])
def test_killed_before_the_first_trial(run, how):
    expected = (run / "front.csv").read_text()
    (run / "study.db").unlink()
    if how == "empty":
        (run / "study.db").touch()
    with pytest.raises(StoreError, match="holds no trials yet"):
        resume_search(run, read_only=True)
    resume_search(run, evaluator=RATER).run()
    assert (run / "front.csv").read_text() == expected


def test_a_damaged_study_is_told_and_kept(run):
    """Whatever bytes were overwritten: a clear error, or nothing that matters was hit."""
    whole = (run / "study.db").read_bytes()
    rng, told = random.Random(0), 0
    damaged = [b"x" * 5000, whole[:20000], os.urandom(9000)]
    for _ in range(25):
        at, size = rng.randrange(len(whole) - 4000), rng.choice([1, 40, 4000])
        damaged.append(whole[:at] + rng.randbytes(size) + whole[at + size :])
    for content in damaged:
        (run / "study.db").write_bytes(content)
        try:
            resume_search(run, read_only=True).outcome()
        except SmtNasError as error:
            told += 1
            assert "\n" not in str(error)
        assert (run / "study.db").read_bytes()[100:] == content[100:]
    assert told >= 5


def test_the_study_of_another_search(run, tmp_path):
    begin(tmp_path / "other" / "run", seed=1).run()
    (tmp_path / "other" / "run" / "study.db").replace(run / "study.db")
    with pytest.raises(StoreError, match=r"belongs to a search with seed 1 \(got 0\)"):
        resume_search(run, evaluator=RATER)


def test_a_locked_directory(run):
    holder = RunDirectory.open(run)
    with holder.lock():
        with pytest.raises(StoreError, match="another process is working in it"):
            resume_search(run, n=9, evaluator=RATER).run()
        assert len(resume_search(run, read_only=True).outcome().trials) == 6
    assert len(resume_search(run, n=9, evaluator=RATER).run().trials) == 9


def test_two_searches_at_once_get_two_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths, barrier = [], threading.Barrier(6)

    def make():
        barrier.wait()
        paths.append(RunDirectory.create(None, settings(), SPACE).path)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 6
    assert str(min(paths, key=len_of)) == "runs/smt_micro"


def len_of(path):
    return len(str(path))


@pytest.mark.parametrize(
    "name", ["a?b", "a?mode=ro", "a%41b", "a#b", "a b", "a:b@c", "{x}", "a&b=c", "é'", "[red]"]
)
def test_a_run_may_have_any_name(tmp_path, name):
    path = tmp_path / name / "run"
    front = begin(path).run().front
    assert (path / "study.db").is_file() and [p.name for p in tmp_path.iterdir()] == [name]
    again = resume_search(path, n=8, evaluator=RATER).run()
    assert len(again.trials) == 8 and front
    url = sqlite_url(path / "study.db")
    assert optuna.load_study(study_name="run", storage=url).trials[0].user_attrs["key"]


URL = "sqlite:///{}/shared.db"


def test_storage_elsewhere(tmp_path):
    url = URL.format(tmp_path)
    begin(tmp_path / "a", storage=url).run()
    assert not (tmp_path / "a" / "study.db").exists()
    assert len(resume_search(tmp_path / "a", n=8, evaluator=RATER).run().trials) == 8
    (tmp_path / "b").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        begin(tmp_path / "b" / "a", storage=url)
    assert not (tmp_path / "b" / "a").exists()  # else `resume` would go on with another's study


def test_a_file_that_is_named_from_here_is_found_from_anywhere(tmp_path, monkeypatch):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    begin(tmp_path / "run", storage="sqlite:///x.db?timeout=5").run()
    monkeypatch.chdir(tmp_path / "there")
    assert len(resume_search(tmp_path / "run", n=8, evaluator=RATER).run().trials) == 8
    assert not list((tmp_path / "there").iterdir())
    monkeypatch.chdir(tmp_path / "here")
    again = create_search(
        settings(storage="sqlite:///x.db?timeout=5"), tmp_path / "run", evaluator=RATER, go_on=True
    )
    assert len(again.run().trials) == 8


@pytest.mark.parametrize("how", ["killed before", "killed amid"])
def test_a_run_that_was_killed_before_its_study_elsewhere_was_made_is_begun(
    tmp_path, monkeypatch, how
):
    url = URL.format(tmp_path)
    with monkeypatch.context() as patch:
        if how == "killed before":
            patch.setattr(create, "_first_study", None)
        else:
            patch.setattr(StudyNotes, "write_identity", None)
        with pytest.raises(TypeError):
            begin(tmp_path / "run", storage=url)
    assert (tmp_path / "run" / "run.yaml").is_file()
    assert len(resume_search(tmp_path / "run", evaluator=RATER).run().trials) == 6


def test_an_engine_that_is_not_installed_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    asked = Settings(space="smt_micro", evaluator="zero-cost", n=2, verify=False)
    with pytest.raises(ConfigError, match="--engine ray: ray must be installed"):
        create_search(asked, tmp_path / "run", workers=EngineChoice("ray"))
    assert not (tmp_path / "run").exists()


def test_a_shared_run_that_others_may_have_joined_stays_where_its_study_cannot_be_made(
    tmp_path, monkeypatch
):
    def lose(*arguments):
        lost = OperationalError("select", {}, Exception("server closed the connection"))
        raise StoreError("study: cannot be used (the connection was lost).") from lost

    monkeypatch.setattr(create, "wait_for_server", lambda url, report: None)
    monkeypatch.setattr(Study, "exists", lambda url, name: False)
    monkeypatch.setattr(create, "create_study", lose)
    with pytest.raises(StoreError, match="was lost"):
        begin(tmp_path / "run", storage="postgresql://host/x")
    assert (tmp_path / "run" / "run.yaml").is_file()
    monkeypatch.setattr(Study, "exists", lose)
    with pytest.raises(StoreError, match="was lost"):
        begin(tmp_path / "new", storage="postgresql://host/x")
    assert not (tmp_path / "new").exists()  # told before anything is written


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("no url", "must be the URL of a database"),
        ("mysql//bob:s3cret@host/x", "must be the URL of a database"),
        ("postgresql://bob:secret@host:s3c/x", "must be the URL of a database"),
        ("foo://bob:s3cret@host/x", "must be the URL of a database"),
        ("sqlite:////nowhere/at/all.db", "cannot be used"),
        ("oracle://bob:s3cret@host/x?password=s3cret", "Install that database driver"),
    ],
)
def test_a_storage_that_does_not_work(tmp_path, url, told):
    with pytest.raises((ConfigError, StoreError), match=told) as caught:
        begin(tmp_path / "run", storage=url)
    assert "s3c" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_passwords_are_not_written(tmp_path):
    url = "postgresql://bob:s3cret@host/x?sslpassword=s3cret&sslmode=require"
    assert hide_password(url).count("s3cret") == 0
    assert "sslmode=require" in hide_password(url)
    RunDirectory.create(tmp_path / "run", settings(storage=url), SPACE)
    assert "s3cret" not in (tmp_path / "run" / "run.yaml").read_text()
    with pytest.raises(StoreError, match=r"password of .* was not kept") as caught:
        RunDirectory.open(tmp_path / "run")
    assert "s3cret" not in str(caught.value)
    assert RunDirectory.open(tmp_path / "run", url).storage == url
    with pytest.raises(StoreError, match="holds a search with storage") as caught:
        RunDirectory.create(tmp_path / "run", settings(storage=url + "x"), SPACE)
    assert "s3cret" not in str(caught.value)


@contextlib.contextmanager
def mounted(path, *options):
    path.mkdir(exist_ok=True)
    if subprocess.run(["mount", *options, str(path)], capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_front_of_a_read_only_directory(run, tmp_path):
    expected = [r.arch.key for r in resume_search(run, read_only=True).outcome().front]
    view = tmp_path / "view"
    with mounted(view, "--bind", "-o", "ro", str(run)):
        assert [r.arch.key for r in resume_search(view, read_only=True).outcome().front] == expected
        with pytest.raises(StoreError, match="cannot be written"):
            resume_search(view, n=9, evaluator=RATER).run()
        with pytest.raises(StoreError, match="cannot be"):
            begin(view / "new")


def test_a_full_disk_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=300k", "none"):
        with pytest.raises(StoreError, match=r"full|[Ss]pace"):
            begin(disk / "run", n=200).run()
        kept = len(resume_search(disk / "run", read_only=True).outcome().trials)
        assert kept > 3
        with pytest.raises(StoreError, match=r"full|[Ss]pace"):
            resume_search(disk / "run", evaluator=RATER).run()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        trials = resume_search(disk / "run", n=kept + 5, evaluator=RATER).run().trials
        begin(tmp_path / "run", n=kept + 5).run()
        assert [t.key for t in trials] == [
            t.key for t in resume_search(tmp_path / "run", read_only=True).outcome().trials
        ]


def test_a_writer_that_fails(run, monkeypatch):
    """The same without a mount: SQLite says `full` at the next trial."""
    search = resume_search(run, n=9, evaluator=RATER)

    def add(*args, **kwargs):
        raise OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(search.study._inserter, "_insert", add)
    with pytest.raises(StoreError, match=r"database or disk is full.*start the same again"):
        search.run()
    assert len(resume_search(run, n=9, evaluator=RATER).run().trials) == 9
