"""Settings all tests share: hypothesis draws the same examples on CI, and nothing is timed."""

import os

import pytest
from hypothesis import settings

settings.register_profile("local", deadline=None, max_examples=100)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A Ctrl-C that escapes from a test fails it; else it would end the worker, and tell no line.

    One that is pressed is for who started the workers; without workers it stops pytest.
    """
    try:
        return (yield)
    except KeyboardInterrupt as error:
        if "PYTEST_XDIST_WORKER" not in os.environ:
            raise
        raise AssertionError("a Ctrl-C escaped from this test") from error


@pytest.fixture(autouse=True)
def first_lines_only_on_terminals(monkeypatch):
    """Commands in this process say their first line in time or never, however slow the machine."""
    monkeypatch.setattr("smt_nas.cli.talk.PLAIN_FIRST_S", 86_400.0)


@pytest.fixture(autouse=True)
def memory_that_this_process_owns(monkeypatch):
    """Commands that train in this process leave its allocator as it is."""
    monkeypatch.setattr("smt_nas.cli.training.training_process.keep_freed_memory", lambda: True)


@pytest.fixture(scope="session")
def supernet_folder(tmp_path_factory):
    """A supernet of the small space that learnt some of digits; nobody may change it."""
    from smt_nas.train.data.sources import load_source
    from tests.fakes.supernets import LEARNING, train

    folder = tmp_path_factory.mktemp("shared") / "supernet"
    train(folder, source=load_source("digits"), **LEARNING)
    return folder
