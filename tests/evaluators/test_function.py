"""Your own function by its name: what cannot be found, imported, called, or taken for a number."""

import sys
import textwrap

import numpy as np
import pytest
import torch

from smt_nas.arch import PRESETS
from smt_nas.errors import ConfigError, UnknownName
from smt_nas.evaluators import FunctionEvaluator, make_evaluator
from smt_nas.report.evidence import describe_evidence

ARCH = PRESETS["smt_t"]
MODULES = {
    "own/__init__.py": "",
    "own/good.py": """
        from own.helper import figure
        class Pipeline:
            def __init__(self, factor): self.factor = factor
            def rate(self, arch): return self.factor * figure(arch)
            @staticmethod
            def static(arch): return figure(arch)
        ready = Pipeline(2)
        number = 3.0
    """,
    "own/helper.py": "def figure(arch): return float(arch.stages[0].dim)",
    "own/loud.py": "print('training set loaded')\ndef fn(arch): return 1.0",
    "own/divides.py": "x = 1\n\ny = x / 0",
    "own/through.py": "from own import divides",
    "own/library.py": "import json\n\njson.loads('{')",
    "own/lacks.py": "import no_such_library",
    "own/spelt.py": "def fn(arch):\n    return (1,",
    "own/script.py": "import sys\nsys.exit('usage: script FILE')",
}


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    for name, text in MODULES.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in [n for n in sys.modules if n.partition(".")[0] == "own"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("attribute", "factor"), [("ready.rate", 2), ("Pipeline.static", 1), ("figure", 1)]
)
def test_functions_of_the_working_directory(attribute, factor):
    name = f"own.good:{attribute}"
    evaluator = make_evaluator(name)
    assert (evaluator.name, evaluator.objective.name) == (name, "score")
    [found] = evaluator.evaluate([ARCH])
    assert (found.value, found.provenance) == (factor * ARCH.stages[0].dim, "function")
    assert describe_evidence(evaluator.evidence) == (
        f"{name}: your own function; nothing is known of how well it orders networks. "
        f"`smt-nas validate {name} --on smt-bench-mini` finds out."
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (":fn", "must be package.module:function (got an empty part)"),
        ("own.good:", "got an empty part"),
        ("own..good:fn", "got an empty part"),
        ("own.good:ready.", "got an empty part"),
        ("./own/good.py:fn", "got an empty part"),
        ("own.god:fn", "got none named own.god)"),
        ("nowhere.good:fn", "got none named nowhere)"),
        ("own/good.py:fn", "got none named own/good)"),
        ("own.good:redy", "own.good must hold redy (got nothing of that name). Did you mean 're"),
        ("own.good:ready.rates", "own.good.ready must hold rates"),
        ("own.good:number", "must be a function (got float)"),
        ("own.divides:fn", "got ZeroDivisionError: division by zero; divides.py line 3)"),
        ("own.through:fn", "got ZeroDivisionError: division by zero; divides.py line 3)"),
        ("own.library:fn", "; library.py line 3)"),
        ("own.lacks:fn", "No module named 'no_such_library'; lacks.py line 1)"),
        ("own.spelt:fn", "SyntaxError: '(' was never closed (spelt.py, line 2); spelt.py line 2)"),
        ("own.script:fn", "got SystemExit: usage: script FILE; script.py line 2)"),
    ],
)
def test_what_is_no_function_is_told_in_one_line(name, expected):
    with pytest.raises(ConfigError) as caught:
        make_evaluator(name)
    text = str(caught.value)
    assert text.startswith(f"evaluator {name}: ")
    assert expected in text
    assert "\n" not in text


def test_a_module_that_prints_leaves_stdout_alone(capfd):
    make_evaluator("own.loud:fn")
    assert capfd.readouterr() == ("", "training set loaded\n")


def test_a_name_without_a_colon_is_told_of_functions():
    with pytest.raises(UnknownName, match=r"Or your own function, mypkg\.mymod:fn"):
        make_evaluator("own.good.figure")


@pytest.mark.parametrize(
    "number",
    [1, 1.0, np.float32(1), np.int64(1), np.array(1.0), torch.tensor(1.0), torch.tensor(1)],
)
def test_numbers(number):
    requested = {"score": number, "top5": number}
    for returned in (number, requested):
        [found] = FunctionEvaluator(lambda arch, r=returned: r).evaluate([ARCH])
        assert (found.value, found.failure) == (1.0, None)
    assert found.components == {"top5": 1.0}
    assert {type(v) for v in (found.value, *found.components.values())} == {float}


NO_NUMBERS = [
    *(True, np.bool_(True), torch.tensor(True), "0.7", None, 1j, np.complex64(1), b"1", [1.0]),
    *(float("nan"), float("inf"), np.float32("nan"), torch.tensor(float("-inf"))),
    *(np.ones(1), np.ones((9, 9)), torch.ones(2), ARCH),
]


@pytest.mark.parametrize("nonsense", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_no_numbers(nonsense):
    for returned, where in (
        (nonsense, "score"),
        ({"score": nonsense}, "score"),
        ({"score": 1.0, "top5": nonsense}, "top5"),
    ):
        [found] = FunctionEvaluator(lambda arch, r=returned: r).evaluate([ARCH])
        assert (found.value, found.components) == (None, {})
        assert found.failure.startswith(f"{where} must be a finite number (got ")
        assert "\n" not in found.failure and len(found.failure) <= 200


def leave(arch):
    sys.exit(3)


def long_story(arch):
    raise RuntimeError("CUDA\nout of memory " + "x" * 10_000)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda arch: {}, "must return 'score' (got nothing)"),
        (lambda arch: {"accuracy": 0.7}, "must return 'score' (got accuracy)"),
        (lambda arch: {"score": 1.0, 5: 0.9}, "names of metrics must be words (got 5)"),
        (lambda arch: 10**400, "OverflowError: "),
        (lambda: 1.0, "TypeError: "),
        (leave, "SystemExit: 3"),
        (long_story, "RuntimeError: CUDA out of memory xxx"),
    ],
)
def test_other_failures(function, expected):
    [found] = FunctionEvaluator(function).evaluate([ARCH])
    assert found.value is None
    assert expected in found.failure
    assert "\n" not in found.failure and len(found.failure) < 250
