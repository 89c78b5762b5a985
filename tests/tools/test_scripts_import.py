"""Programs that are run by hand still start: tools import, benchmarks are Python."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def modules(folder):
    return sorted((ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("path", modules("tools"), ids=lambda p: p.stem)
def test_a_tool_imports_and_says_its_command(path):
    module = importlib.import_module(f"tools.{path.stem}")
    assert "python -m " in module.__doc__


@pytest.mark.parametrize("name", ["evidence", "zero_cost_reference"])
def test_a_tool_writes_into_the_data_of_this_checkout(name):
    folder = importlib.import_module(f"tools.{name}").FOLDER
    assert folder.is_dir() and folder.parent == ROOT / "smt_nas" / "data"


def test_every_benchmark_is_python_with_a_docstring():
    for path in modules("benchmarks"):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        compile(tree, str(path), "exec")
        assert ast.get_docstring(tree), path.name
