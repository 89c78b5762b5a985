"""Fixtures as tests take them: copied before they are changed, compared with room for rounding."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "data" / "v0_1"
OTHER = {"schema", "run", "evidence", "notes", "seconds", "images_per_s"}
"""Of documents: numbers of formats, words, and times of the day; they may differ."""
RENAMED = {"prove": "verify"}
"""Keys of documents that have another name since; files of 0.1 are read by the old one."""

VALUES = {"strategy": {"nsga2": "surrogate"}}
"""Values that have another name since, by their key."""


def read(*names):
    """What a JSON file of the fixtures holds."""
    return json.loads(FIXTURES.joinpath(*names).read_text())


def copied(name, to):
    """A folder of the fixtures, copied as the code of 0.1 left it; `to` is what it is called."""
    shutil.copytree(FIXTURES / name, to, dirs_exist_ok=True)
    for packed in to.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return to


def differences(found, expected, rel=1e-6, at="", abs_tol=1e-9):
    """Where a document is not what it was; new entries of mappings are none."""
    if isinstance(expected, dict) and isinstance(found, dict):
        expected = {
            RENAMED.get(k, k): VALUES[k].get(v, v) if k in VALUES else v
            for k, v in expected.items()
            if k not in OTHER
        }
        lacking = [f"{at}.{k}: is gone" for k in expected if k not in found]
        both = [k for k in expected if k in found]
        inner = [differences(found[k], expected[k], rel, f"{at}.{k}", abs_tol) for k in both]
        return lacking + [d for each in inner for d in each]
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return [f"{at}: {len(found)} entries, were {len(expected)}"]
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, rel, f"{at}[{i}]", abs_tol)]
    if isinstance(expected, float) and isinstance(found, int | float):
        same = math.isclose(found, expected, rel_tol=rel, abs_tol=abs_tol)
    else:
        same = found == expected
    return [] if same else [f"{at}: {found!r}, was {expected!r}"]


def assert_as(found, expected, rel=1e-6, abs_tol=1e-9):
    """It is what it was; tells the first few differences."""
    wrong = differences(found, expected, rel, abs_tol=abs_tol)
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:8])
