"""Libraries that need not be there."""

import sys

import pytest

from smt_nas.errors import MeasurementError
from smt_nas.runtime.imports import import_nni


def test_without_nni_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nni", None)
    with pytest.raises(MeasurementError, match=r"--strategy: nni must be .* pip install 'smt-nas"):
        import_nni("nni.mutable", "--strategy")
