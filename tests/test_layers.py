"""The shape of the source: one import direction, no circles, where torch and printing live."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "smt_nas"
FILES = sorted(PACKAGE.rglob("*.py"))
# lowest first, as in DESIGN: a room imports only itself and what stands before it
ROOMS = [
    "errors",
    "metrics",
    "yaml",
    "files",
    "fingerprint",
    "arch",
    "space",
    "budgets",
    "conditions",
    "costs",
    "models",
    "runtime",
    "tasks",
    "devices",
    "profilers",
    "train",
    "nasbench",
    "evaluators",
    "search",
    "report",
    "timm",
    "export",
    "nni",
    "cli",
    "__main__",
]
SIBLINGS = {("export", "report")}  # neither imports the other
TORCH_ROOMS = {
    "models",
    "profilers",
    "runtime",
    "tasks",
    "train",
    "nasbench",
    "evaluators",
    "timm",
    "export",
}
VISION_ROOMS = {"train", "export"}  # extras: timm and torchvision are no part of core
VISION_DOORS = {PACKAGE / "runtime" / "torchvision_ops.py"}  # others get them from it
MAX_FILES_IN_A_ROOM = 17  # of one idea each, with __init__; a room that is fuller gets sub-rooms
HEAVY = ("torch", "timm", "torchvision", "pandas", "optuna", "pymoo", "nni")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[tuple[str, str]]:
    """Modules that one statement imports, each with the name taken from it."""
    if isinstance(node, ast.Import):
        return [(alias.name, "") for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: a relative import"
        return [(node.module or "", alias.name) for alias in node.names]
    return []


def packages(node: ast.AST) -> set[str]:
    return {module.split(".")[0] for module, _ in imported(node)}


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def file_of(module: str, name: str) -> Path | None:
    """The file of smt_nas that an import is of; None: another package's."""
    top, *parts = module.split(".")
    if top != "smt_nas":
        return None
    base = PACKAGE.joinpath(*parts)
    for path in (base / f"{name}.py", base / name / "__init__.py", base / "__init__.py"):
        if name and path.is_file():
            return path
    return base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"


def at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in functions, not for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from at_import_time(node)


@functools.cache
def needs(path: Path) -> dict[Path, int]:
    """Files of smt_nas that a file imports, anywhere in it, each with the line."""
    found = {}
    for node in ast.walk(parsed(path)):
        for module, name in imported(node):
            target = file_of(module, name)
            if target is not None and target not in (path, PACKAGE / "__init__.py"):
                found.setdefault(target, node.lineno)  # type: ignore[attr-defined]
    return found


def test_every_room_has_its_place():
    assert {room(p) for p in FILES} <= {*ROOMS, "__init__"}


def test_imports_go_one_way():
    """Those for type checkers and those inside functions too."""
    wrong = []
    for path in FILES:
        if room(path) == "__init__":
            continue
        below = ROOMS[: ROOMS.index(room(path)) + 1]
        wrong += [
            f"{shown(path)}:{line} imports {shown(target)}"
            for target, line in needs(path).items()
            if room(target) not in below or (room(path), room(target)) in SIBLINGS
        ]
    assert not wrong, "\n".join(wrong)


def test_files_form_no_circle():
    """A package's `__init__` counts only where a name is taken from it, not where it is passed."""
    try:
        list(TopologicalSorter({path: needs(path) for path in FILES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(str(p.relative_to(PACKAGE)) for p in error.args[1]))


def test_sub_rooms_form_no_circle():
    folders = {path: path.parent for path in FILES if path.name != "__init__.py"}
    graph: dict[Path, set[Path]] = {}
    for path, folder in folders.items():
        inner = {folders[t] for t in needs(path) if t in folders} - {folder}
        graph.setdefault(folder, set()).update(inner)
    for room_ in sorted(set(folders.values()) - {PACKAGE}):
        inside = {f for f in graph if room_ in f.parents}
        for one in inside:
            for other in inside & graph[one]:
                assert one not in graph[other], f"{one} and {other} import each other"


def test_a_file_name_stands_for_one_idea():
    """The same name in two rooms is two ideas of one name, but for a room and what shows it."""
    shows = {"report", "cli"}
    homes: dict[str, list[Path]] = {}
    for path in FILES:
        if path.stem not in ("__init__", "__main__") and room(path) not in shows:
            homes.setdefault(path.name, []).append(path.relative_to(PACKAGE))
    twice = {name: list(map(str, paths)) for name, paths in homes.items() if len(paths) > 1}
    assert not twice


def test_rooms_are_not_crowded():
    folders = {p.parent for p in FILES}
    counts = {str(f.relative_to(PACKAGE)): len(list(f.glob("*.py"))) for f in folders}
    assert max(counts.values()) <= MAX_FILES_IN_A_ROOM, counts


def test_torch_stays_in_its_rooms():
    wrong = []
    for path in FILES:
        if room(path) in TORCH_ROOMS:
            continue
        tree = parsed(path)
        nodes = at_import_time(tree) if room(path) == "cli" else ast.walk(tree)
        wrong += [shown(path) for node in nodes if "torch" in packages(node)]
    assert not wrong


def test_core_imports_neither_timm_nor_torchvision():
    wrong = []
    for path in FILES:
        if room(path) in VISION_ROOMS:
            continue
        tree = parsed(path)
        nodes = at_import_time(tree) if path in VISION_DOORS else ast.walk(tree)
        wrong += [shown(path) for node in nodes if {"timm", "torchvision"} & packages(node)]
    assert not wrong


def test_only_the_console_prints():
    prints = [
        f"{shown(path)}:{node.lineno}"
        for path in FILES
        if path != PACKAGE / "cli" / "console.py"
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout")
        or ("sys", "stdout") in imported(node)
    ]
    assert not prints, "\n".join(prints)


def test_files_say_what_they_are():
    assert not [shown(path) for path in FILES if not ast.get_docstring(parsed(path))]


def test_no_test_needs_the_experiments():
    """`benchmarks/` is run by hand; `tools/` makes shipped data, which tests may check."""
    tests = Path(__file__).parent
    wrong = [
        str(path.relative_to(tests))
        for path in tests.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name, _ in imported(node)
        if name.split(".")[0] == "benchmarks"
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["smt_nas", "smt_nas.cli"])
def test_import_is_light(module):
    code = f"import sys, {module}; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
