"""Formats of phones go through the exporter contract in an environment of their own.

Their libraries are large and pin what others need in other versions, so they are not beside the
rest: `make mobile` installs them into .venv-mobile, which sees .venv's packages.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-mobile" / "bin" / "python"
CONTRACT = "tests/contracts/test_exporter_contract.py"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-mobile: make mobile")
@pytest.mark.parametrize("format_name", ["executorch", "litert", "coreml"])
def test_what_is_written_is_checked_and_told(format_name):
    words = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", CONTRACT]
    selected = ["-k", f"checked_and_told and {format_name}"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [str(PYTHON), *words, *selected], cwd=ROOT, env=plain, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "1 passed" in done.stdout
