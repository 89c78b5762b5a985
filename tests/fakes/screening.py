"""Short screening, for tests that hold whatever it finds."""

from functools import partial

import pytest

from smt_nas.search.proposal.screen import screen
from smt_nas.search.proposal.surrogate import inner_search, surrogate_search


def shorten(monkeypatch, generations=4):
    """Strategies of this process screen for so few generations."""
    monkeypatch.setattr(inner_search, "GENERATIONS", generations)
    monkeypatch.setattr(surrogate_search, "screen", partial(screen, generations=generations))


@pytest.fixture(scope="module")
def short_screening():
    """`shorten` for a module."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield
