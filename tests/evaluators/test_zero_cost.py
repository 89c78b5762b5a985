"""The training-free score is a fixed function of one network."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from smt_nas.arch import PRESETS
from smt_nas.evaluators.zero_cost import MEASURES, ZeroCostEvaluator, measure, score
from smt_nas.space import SearchSpace

SPACE = SearchSpace.load("smt_micro")
ARCHS = SPACE.decode(SPACE.sample(np.random.default_rng(8), 3))


def test_three_measures_and_their_aggregate():
    parts = score(ARCHS[0])
    assert len(MEASURES) >= 3
    assert set(parts) == {"score", *MEASURES}
    assert all(math.isfinite(v) for v in parts.values())


def test_state_around_it_does_not_matter():
    alone = score(ARCHS[0])
    torch.manual_seed(123)
    np.random.default_rng().random(3)
    threads = torch.get_num_threads()
    values = [e.value for e in ZeroCostEvaluator().evaluate([ARCHS[1], ARCHS[0], ARCHS[0]])]
    assert values[1:] == [alone["score"]] * 2
    assert torch.get_num_threads() == threads


def test_another_process_finds_the_same():
    code = (
        "import numpy as np\n"
        "from smt_nas.space import SearchSpace\n"
        "from smt_nas.evaluators import make_evaluator\n"
        "space = SearchSpace.load('smt_micro')\n"
        "archs = space.decode(space.sample(np.random.default_rng(8), 3))\n"
        "print(repr(make_evaluator('zero-cost').evaluate(archs[2:])[0].value))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert float(done.stdout) == ZeroCostEvaluator().evaluate(ARCHS[2:])[0].value, done.stderr


def test_drop_path_and_the_users_generator_are_left_alone():
    lively = ARCHS[0].model_copy(update={"drop_path": 0.5})
    assert measure(lively) == measure(ARCHS[0])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    score(ARCHS[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_larger_networks_score_higher():
    """A proxy, yet one that cannot rank T over S would be worth nothing."""
    t, s = (score(PRESETS[name])["score"] for name in ("smt_t", "smt_s"))
    assert t < s
