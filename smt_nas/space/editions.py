"""Editions of a shipped space: the one of today and those that it had before.

A space may grow. What was measured, sampled or fingerprinted of an earlier edition is known by its
digest, and stays of that edition's networks.
"""

from __future__ import annotations

from functools import cache

from smt_nas.files import names, shipped
from smt_nas.space.search_space import SearchSpace

_EARLIER = "earlier_spaces"  # holds NAME-DIGEST.yaml
FIRST_SMT = "528c09a3b0d6"
"""Digest of the first edition of space smt."""


@cache
def find_edition(name: str, digest: str) -> SearchSpace | None:
    """The edition of a shipped space that has this digest; None: none of its editions has."""
    earlier = shipped(_EARLIER) / f"{name}-{digest}.yaml"
    if earlier.is_file():
        return SearchSpace(SearchSpace.load(earlier).config, name)
    if name not in names("search_spaces"):
        return None
    space = SearchSpace.load(name)
    return space if space.digest == digest else None
