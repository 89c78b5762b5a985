"""The shape of the source: import direction, lengths, where torch and printing live."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "smt_nas"
FILES = sorted(PACKAGE.rglob("*.py"))
ROWS = {  # room -> row; a lower row never imports a higher one
    room: row
    for row, rooms in enumerate(
        [
            "arch metrics errors resources",
            "space units",
            "models costs devices",
            "accuracy profilers",
            "search",
            "report export train",
            "cli __init__ __main__",
        ]
    )
    for room in rooms.split()
}
TORCH_ROOMS = {"models", "profilers", "accuracy", "train", "export"}
VISION_ROOMS = {"train", "export"}  # extras: timm and torchvision are no part of core
VISION_DOOR = PACKAGE / "models" / "vision.py"  # where others get them from, inside functions
MAX_FILE, MAX_FUNCTION = 300, 40
HEAVY = ("torch", "timm", "torchvision", "pandas", "optuna", "pymoo")

every_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST, path: Path) -> list[str]:
    """Dotted names that one statement imports; a relative import is made absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        package = ("smt_nas", *path.relative_to(PACKAGE).parts[:-1])
        base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
    return [f"{base}.{alias.name}" for alias in node.names]


def at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in functions, not for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from at_import_time(node)


def imports(nodes: Iterator[ast.AST], path: Path) -> list[tuple[int, str]]:
    return [(n.lineno, name) for n in nodes for name in imported(n, path)]  # type: ignore[attr-defined]


def test_every_room_has_a_row():
    assert {room(p) for p in FILES} <= set(ROWS)


@every_file
def test_imports_go_down(path):
    wrong = []
    for line, name in imports(ast.walk(parsed(path)), path):
        top, _, rest = name.partition(".")
        if top != "smt_nas" or rest == "__version__":
            continue
        target = rest.partition(".")[0]
        row = ROWS.get(target, ROWS["__init__"])  # any other name is the front door's
        if row > ROWS[room(path)]:
            wrong.append(f"line {line}: {room(path)} imports {name}")
    assert not wrong, "\n".join(wrong)


@every_file
def test_files_and_functions_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    long = [f"{path.name}: {lines} lines"] if lines > MAX_FILE else []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                long.append(f"line {node.lineno}: {node.name} has {length} lines")
    assert not long, "\n".join(long)


@every_file
def test_torch_stays_in_its_rooms(path):
    if room(path) in TORCH_ROOMS:
        return
    nodes = at_import_time(parsed(path)) if room(path) == "cli" else ast.walk(parsed(path))
    assert [(n, name) for n, name in imports(nodes, path) if name.split(".")[0] == "torch"] == []


@every_file
def test_core_imports_neither_timm_nor_torchvision(path):
    if room(path) in VISION_ROOMS:
        return
    tree = parsed(path)
    found = imports(at_import_time(tree) if path == VISION_DOOR else ast.walk(tree), path)
    assert [f for f in found if f[1].split(".")[0] in ("timm", "torchvision")] == []


@every_file
def test_only_the_console_prints(path):
    if path == PACKAGE / "cli" / "console.py":
        return
    prints = [
        f"line {node.lineno}"
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout")
    ]
    prints += [f"line {n}" for n, x in imports(ast.walk(parsed(path)), path) if x == "sys.stdout"]
    assert not prints, "\n".join(prints)


@every_file
def test_files_say_what_they_are(path):
    assert ast.get_docstring(parsed(path))


@every_file
def test_public_names_are_sorted(path):
    """In the order ruff keeps: constants, classes, the rest."""
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert names == sorted(names, key=lambda n: (not n.isupper(), n[:1].islower(), n))
            assert len(set(names)) == len(names)


@pytest.mark.parametrize("module", ["smt_nas", "smt_nas.cli"])
def test_import_is_light(module):
    code = f"import sys, {module}; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
