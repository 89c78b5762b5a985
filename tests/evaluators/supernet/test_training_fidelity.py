"""Fidelity tests 6 to 11 of a supernet: how it is trained, and what its networks inherit.

Tests 1 to 5 stand in tests/models/supernet/test_store_fidelity.py. The supernets here are of a
second's length: enough to learn something of digits, far too short for a claim about ranks.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.stats import kendalltau

from smt_nas.errors import StoreError
from smt_nas.evaluators.configs import TrainedSupernet
from smt_nas.evaluators.supernet import load_supernet
from smt_nas.evaluators.supernet.coverage import LEAST_SHARE, THIN_SHARE, Coverage
from smt_nas.evaluators.supernet.supernet_evaluator import SupernetEvaluator
from smt_nas.evaluators.supernet.training.sandwich import Sandwich
from smt_nas.evaluators.validation.validate import validate
from smt_nas.models import build
from smt_nas.models.supernet import WeightStore
from smt_nas.nasbench.rows import BenchRow
from smt_nas.nasbench.table import Bench
from smt_nas.train.data.sources import load_source, make_splits
from tests.fakes.benches import CARD
from tests.fakes.supernets import (
    LEARNING,
    Relabelled,
    draw_archs,
    make_small_space,
    train,
    write_space,
)

ROOT = Path(__file__).resolve().parents[3]
WATCHDOG_S = 900
SPACE = make_small_space()
FROZEN = ("optimizer.name=sgd", "optimizer.lr=0.05", "warmup_epochs=0")
RANK = f"""
import json, os, sys
from pathlib import Path
from torch import nn
from smt_nas.evaluators.supernet import SupernetOptions, SupernetRunOptions, train_supernet
from smt_nas.evaluators.supernet.training.sandwich_step import SandwichLearner
from smt_nas.fingerprint import fingerprint
from smt_nas.models.supernet import WeightStore
from tests.fakes.supernets import load_few_digits

space, folder, out = map(Path, sys.argv[1:])
steps, train_step = [], SandwichLearner.train_step

def train_and_note(self, step, networks, *others):
    report = train_step(self, step, networks, *others)
    weights = b"".join(t.detach().numpy().tobytes() for t in self.store.parameters())
    steps.append([[arch.key for arch in networks], fingerprint(weights)])
    return report

SandwichLearner.train_step = train_and_note
WeightStore.train = lambda self, mode=True: nn.Module.train(self, False)
changes = ("batch_size=8", *{FROZEN!r})
options = SupernetOptions(space=str(space), data="digits", steps=3, changes=changes)
train_supernet(options, folder, None, SupernetRunOptions(device="cpu"), load_few_digits())
(out / f"rank{{os.environ['RANK']}}.json").write_text(json.dumps(steps))
"""
DIES = """
import os, signal, sys
from pathlib import Path
import torch
from smt_nas.runtime.progress import NullProgress
from tests.fakes.supernets import train

class Dies(NullProgress):
    def update(self, status):
        if status.done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(int(sys.argv[2]))
train(Path(sys.argv[1]), Dies(), run={"save_steps": 2})
"""


def _start(code, *words, **variables):
    """A process of its own; it takes seconds to start."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONWARN")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env=env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _load_weights(folder):
    return load_file(folder / "supernet.safetensors")


def test_fidelity_6_two_ranks_make_the_steps_of_one_with_the_joint_batch(tmp_path, monkeypatch):
    """Batch norms take the statistics of a process's own images, and are held fixed here."""
    space, two = write_space(tmp_path / "small.yaml", SPACE), tmp_path / "two"
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    place |= {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    ranks = [
        _start(RANK, space, two, tmp_path, RANK=rank, LOCAL_RANK=rank, **place) for rank in "01"
    ]
    ended = [(process.communicate(timeout=WATCHDOG_S)[1], process.returncode) for process in ranks]
    assert [code for _, code in ended] == [0, 0], ended
    first, second = (json.loads((tmp_path / f"rank{i}.json").read_text()) for i in range(2))
    assert len(first) == 3 and first == second  # networks and weights

    frozen = lambda self, mode=True: torch.nn.Module.train(self, False)  # noqa: E731
    monkeypatch.setattr(WeightStore, "train", frozen)
    train(tmp_path / "one", steps=3, changes=("batch_size=16", *FROZEN))
    alone, shared = _load_weights(tmp_path / "one"), _load_weights(two)
    assert alone.keys() == shared.keys()
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-6)


def test_fidelity_6_a_sigkill_changes_no_bit(tmp_path):
    broken = tmp_path / "broken"
    process = _start(DIES, broken, torch.get_num_threads())
    train(tmp_path / "whole")
    _, said = process.communicate(timeout=WATCHDOG_S)
    assert process.returncode == -signal.SIGKILL, said
    with pytest.raises(StoreError, match=r"must have ended \(got 2 of 4 steps\)"):
        load_supernet(broken)
    assert load_supernet(broken, partial=True).card.step == 2
    assert train(broken).step == 4
    whole, resumed = _load_weights(tmp_path / "whole"), _load_weights(broken)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.fixture(scope="module")
def supernet(supernet_folder):
    return load_supernet(supernet_folder, "cpu")


def test_fidelity_7_a_rating_depends_on_no_other_and_changes_nothing(supernet):
    one, other = draw_archs(SPACE, 2)
    before = {name: t.clone() for name, t in supernet.store.named_tensors().items()}
    first, second, again = supernet.evaluate([one, other, one])
    assert replace(first, seconds=0) == replace(again, seconds=0)
    assert first.loss != second.loss
    after = supernet.store.named_tensors()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_fidelity_7_two_calibrations_are_identical_and_drop_no_path(supernet):
    (arch,) = draw_archs(SPACE, 1)
    dropping = arch.model_copy(update={"drop_path": 0.5})
    one, again, dropped = (supernet.extract(a).state_dict() for a in (arch, arch, dropping))
    for name, value in one.items():
        assert torch.equal(value, again[name]) and torch.equal(value, dropped[name])


def test_fidelity_8_no_image_that_rates_is_trained_on(supernet):
    """Of the training images, by their pixels; and statistics are of those that are trained on."""
    split = supernet.card.split
    splits = make_splits(load_source("digits"), split.fraction, split.seed)
    trained, held_out = (
        {part.image(i).tobytes() for i in range(len(part))}
        for part in (splits.train, splits.validation)
    )
    assert len(held_out) == 240 and not trained & held_out
    calibration = supernet.open_calibration_images(64).examples
    assert {calibration.image(i).tobytes() for i in range(64)} <= trained
    assert supernet.evaluate(draw_archs(SPACE, 1))[0].n == 240


def test_fidelity_9_every_choice_is_trained_and_thin_ones_widen_the_interval(supernet):
    """Refused below 1 % of the steps, wider by sqrt(5 % / share) below 5 %, as it is above."""
    assert supernet.coverage.find_rare_in(SPACE) == {}
    archs = draw_archs(SPACE, 12)
    arch = next(a for a in archs if a.stages[3].mixers[0] == "msa")
    choice, whole = "stage4 block 1 msa", supernet.coverage
    (usual,) = supernet.evaluate([arch])
    factors = {THIN_SHARE: 1.0, 0.0125: 2.0, LEAST_SHARE: 5**0.5}
    for share, factor in factors.items():
        counts = {name: 10_000 for name in whole.counts} | {choice: round(10_000 * share)}
        supernet.coverage = Coverage(10_000, counts)
        supernet.check(arch)
        (score,) = supernet.evaluate([arch])
        assert (score.loss, score.top1) == (usual.loss, usual.top1)
        assert (score.least_share, score.widening) == (share, pytest.approx(factor))
        half = usual.loss_high - usual.loss
        assert score.loss_high - score.loss == pytest.approx(factor * half)
        assert score.top1 - score.top1_low == pytest.approx(factor * (usual.top1 - usual.top1_low))
    supernet.coverage = whole


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """As the shared supernet, of another seed."""
    folder = tmp_path_factory.mktemp("second") / "supernet"
    train(folder, source=load_source("digits"), seed=1, **LEARNING)
    return folder


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """As the shared supernet, of labels in a random order."""
    digits = load_source("digits")
    labels = np.random.default_rng(0).permutation(digits.train.labels)
    source = replace(digits, train=Relabelled(digits.train, labels))
    folder = tmp_path_factory.mktemp("control") / "supernet"
    train(folder, source=source, **LEARNING)
    return load_supernet(folder, "cpu", source)


def _learn(supernet, network, updates=10, batch=32):
    """Train a network for one pass over a few images of the training, and score it."""
    batches = supernet.open_calibration_images(updates * batch).load_batches()
    images, labels = map(torch.cat, zip(*batches, strict=True))
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=3e-3)
    for pixels, targets in zip(images.split(batch), labels.split(batch), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(network(pixels), targets).backward()
        optimizer.step()
    return supernet.score(network.eval())


def _learn_afresh(supernet, arch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return _learn(supernet, build(supernet.spec.adapt(arch), generator=generator))


@pytest.fixture(scope="module")
def archs():
    return draw_archs(SPACE, 12, seed=3)


@pytest.fixture(scope="module")
def fresh(supernet, archs):
    """Scores of the networks, each trained alone for that long."""
    return [_learn_afresh(supernet, arch) for arch in archs]


def test_fidelity_10_networks_that_inherit_learn_faster_than_fresh_ones(supernet, archs, fresh):
    inherited = [_learn(supernet, supernet.extract(arch)) for arch in archs[:10]]
    faster = sum(ours.loss <= own.loss for ours, own in zip(inherited, fresh, strict=False))
    assert faster >= 9


def test_fidelity_10_the_smallest_and_the_largest_are_better_than_one_of_depth_1(supernet):
    """Which is trained alone; they are not trained on."""
    largest, *_, smallest = Sandwich(SPACE, supernet.spec, 0).draw(0)
    assert all(stage.depth == 1 for stage in smallest.stages)
    alone = _learn_afresh(supernet, smallest)
    for score in supernet.evaluate([smallest, largest]):
        assert score.loss < alone.loss - 0.05
        assert score.top1_low > 0.1  # of ten classes


def test_fidelity_10_a_supernet_of_shuffled_labels_orders_nothing(supernet, control, archs, fresh):
    """All its networks are at chance. Its losses still follow sizes, as a larger network is surer
    of what is wrong: what they must not do is to order networks as true labels do."""
    ratings, honest = control.evaluate(archs), supernet.evaluate(archs)
    chance = 0.1
    assert all(abs(score.top1 - chance) < 0.07 for score in ratings)
    assert sum(score.top1 > chance + 0.1 for score in honest) == len(archs)
    truth = [score.loss for score in fresh]
    taus = [kendalltau([r.loss for r in rows], truth)[0] for rows in (ratings, honest)]
    assert taus[0] < 0.3 and taus[0] < taus[1]


def test_fidelity_11_the_order_is_judged_with_intervals_beside_sizes_and_another_seed(
    supernet_folder, supernet, second, archs, fresh
):
    again = [_learn_afresh(supernet, arch, seed=1) for arch in archs[:4]]
    figures = [
        (arch, seed, score)
        for seed, scores in enumerate((fresh, again))
        for arch, score in zip(archs, scores, strict=False)
    ]
    rows = tuple(
        BenchRow(arch, "band:0", seed, {"val_top1": score.top1, "seconds": 1.0}, "a CPU", "smt-nas")
        for arch, seed, score in figures
    )
    evaluators = [
        SupernetEvaluator(TrainedSupernet(run=str(folder), device="cpu"))
        for folder in (supernet_folder, second)
    ]
    bench = Bench("stand-in", CARD, rows)
    rated = {e.name: dict(zip(archs, e.evaluate(archs), strict=True)) for e in evaluators}

    def look_up(evaluator, networks):
        return [rated[evaluator.name][arch] for arch in networks]

    def compare():
        return validate(evaluators, bench, look_up, resamples=100)

    validation = compare()
    names = [row.name for row in validation.rows]
    own, other = (evaluator.name for evaluator in evaluators)
    beside = [f"inherited_top1 of {name}" for name in (own, other)]
    assert names == [own, beside[0], other, beside[1], "#params", "#MACs", "random"]
    top1 = validation.training_set.top1
    for row in validation.rows:
        tau = row.agreement.kendall
        assert tau.value == pytest.approx(kendalltau(row.figures, top1)[0])
        assert -1 <= tau.low <= tau.value <= tau.high <= 1
        assert row.agreement.in_band.value is None or row.agreement.in_band.low is not None
    assert validation.noise_ceiling.kendall.value is not None  # seed to seed
    figures = [validation.row(name).figures for name in (own, other)]
    assert kendalltau(*figures)[0] > 0.3
    assert repr(compare().rows) == repr(validation.rows)
