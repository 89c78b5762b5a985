"""Updates by a replayed graph are those of the plain form, and leave out what it leaves out.

On the CPU a graph is computed again at each replay (`tests.fakes.graphs`); on a GPU it is captured.
"""

import pytest
import torch

from smt_nas.models import build
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.data.sources import load_source
from smt_nas.train.learner import build_learner
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import preserve_generators, seed_all
from smt_nas.train.steps.fused_optimizer import align_gradients, fuse_optimizer
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob, explain_slow_path
from tests.fakes.graphs import capture_on_cpu
from tests.fakes.trainings import ALONE
from tests.fakes.weights import TINY

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
COMMON = ("batch_size=4", "warmup_epochs=0.5", "accumulation=2", "drop_path=0.3")
# a bias before a batch norm has the gradient 0 but for rounding, which Adam makes a step of
COMMON = (*COMMON, "optimizer.eps=0.001")
FORMS = {
    "adamw": ("ema.decay=0.9", "ema.warmup=true", "optimizer.clip_norm=0.5"),
    "adam": ("optimizer.clip_norm=null", "mixup=0.4", "cutmix=1.0"),
    "sgd": ("ema.decay=0.5", "optimizer.betas=null", "optimizer.eps=null"),
    "momentum": ("optimizer.layer_decay=0.8", "optimizer.betas=null", "optimizer.eps=null"),
}


@pytest.fixture
def on_cpu(monkeypatch):
    capture_on_cpu(monkeypatch)
    with preserve_generators(torch.device("cpu")):
        yield


class Lines(NullProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def learner_of(fast, *changes, group=ALONE, listener=None):
    request = TrainRequest("tiny", "digits", changes=(*COMMON, *changes), epochs=2)
    config = request.to_config(TINY, load_source("digits"), 1)
    model = build(config.arch, generator=torch.Generator().manual_seed(0))
    return build_learner(model, config, RunOptions(fast=fast), group, 5, None, listener)


def form_of(name):
    return (f"optimizer.name={name}", *FORMS[name])


def batches(number=0, broken=False, size=4):
    images = torch.randn(2, size, 3, 32, 32, generator=torch.Generator().manual_seed(number))
    if broken:
        images[1, 0, 0, 0, 0] = torch.inf
    return [(part.clone(), torch.arange(size)) for part in images]


def train(learner, numbers, broken=()):
    """Updates of these numbers; (loss, is_updated) of each."""
    outcomes = []
    for number in numbers:
        seed_all(7, number)
        outcome = learner.update(number, batches(number, number in broken))
        outcomes.append((float(outcome.loss), bool(outcome.is_updated)))
    return outcomes


def everything(learner):
    averaged = {} if learner.ema is None else learner.ema.module.state_dict()
    tensors = learner.model.state_dict() | {f"ema.{k}": v for k, v in averaged.items()}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def as_in_a_file(state):
    """Moments in rows, as they are read, whatever the layout of their weights is."""
    moments = state["optimizer"]["state"]
    rows = {n: {k: v.contiguous().clone() for k, v in m.items()} for n, m in moments.items()}
    return state | {"optimizer": state["optimizer"] | {"state": rows}}


def assert_close(ours, theirs, rtol=1e-4, atol=1e-6):
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=rtol, atol=atol, msg=name)


@pytest.mark.parametrize("name", FORMS)
def test_replayed_updates_are_the_plain_ones_within_rounding(on_cpu, name):
    plain, fast = learner_of(False, *form_of(name)), learner_of(True, *form_of(name))
    assert plain.graph is None and fast.graph is not None and fast.read_every > 1
    expected, ours = (train(learner, range(6), broken=(3,)) for learner in (plain, fast))
    assert [made for _, made in ours] == [made for _, made in expected]
    assert [made for _, made in ours] == [True, True, True, False, True, True]
    for (loss, made), (expected_loss, _) in zip(ours, expected, strict=True):
        assert not made or loss == pytest.approx(expected_loss, rel=1e-4)
    assert_close(everything(fast), everything(plain))
    assert fast.lr == plain.lr


@pytest.mark.parametrize("name", FORMS)
def test_what_is_left_out_or_captured_leaves_no_trace(on_cpu, name):
    """The first update is the one whose capture warms up; SGD's buffers come into being there."""
    learner = learner_of(True, *form_of(name))
    before = everything(learner)
    assert [made for _, made in train(learner, [0], broken=(0,))] == [False]
    after = everything(learner)
    assert all(torch.equal(before[key], after[key]) for key in before)
    for state in learner.state_dict()["optimizer"]["state"].values():
        assert all(not tensor.any() for tensor in state.values())
    fresh = learner_of(True, *form_of(name))
    train(learner, [1, 2]), train(fresh, [1, 2])
    assert_close(everything(learner), everything(fresh), rtol=0, atol=0)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("first", [True, False])
def test_a_training_goes_on_in_the_other_form(on_cpu, name, first):
    whole = learner_of(False, *form_of(name))
    train(whole, range(6))
    begun, other = learner_of(first, *form_of(name)), learner_of(not first, *form_of(name))
    train(other, [0])  # what it has captured is of other tensors then
    train(begun, range(3))
    other.model.load_state_dict(begun.model.state_dict())
    if other.ema is not None:
        other.ema.module.load_state_dict(begun.ema.module.state_dict())
    state = begun.state_dict()
    for group in state["optimizer"]["param_groups"]:
        assert not group["fused"] and not group.get("capturable")
        assert isinstance(group["lr"], float)
    other.load_state_dict(as_in_a_file(state))
    train(other, range(3, 6))
    assert_close(everything(other), everything(whole))


def test_batches_of_another_shape_are_captured_anew(on_cpu):
    plain, fast = learner_of(False), learner_of(True)
    for learner in (plain, fast):
        seed_all(1)
        learner.update(0, batches(0))
        learner.update(1, batches(1, size=6))
    assert_close(everything(fast), everything(plain))


def test_a_network_that_cannot_be_captured_is_trained_plainly(monkeypatch):
    def refuse(compute, device):
        compute()
        raise RuntimeError("operation not permitted when stream is capturing")

    capture_on_cpu(monkeypatch, refuse)
    listener = Lines()
    plain, fast = learner_of(False), learner_of(True, listener=listener)
    train(plain, range(3)), train(fast, range(3))
    (line,) = listener.lines
    assert line.startswith("fast step: not as one CUDA graph (") and "not permitted" in line
    assert fast.read_every == 1
    assert_close(everything(fast), everything(plain))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_full_gpu_is_no_reason_to_train_plainly(monkeypatch, hidden):
    """Leaving the capture may raise over it."""

    def run_out(compute, device):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            if hidden:
                raise RuntimeError("capture failed")

    capture_on_cpu(monkeypatch, run_out)
    with pytest.raises(torch.OutOfMemoryError):
        train(learner_of(True), [0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [("optimizer.name=lamb", "lamb has no fused form"), ("precision=amp-fp16", "sets its scale")],
)
def test_a_recipe_that_no_graph_can_hold_is_told(on_cpu, change, reason):
    listener = Lines()
    assert learner_of(True, change, listener=listener).graph is None
    assert [line for line in listener.lines if reason in line]


def test_jobs_that_tell_nobody_are_told_of_before(monkeypatch, tmp_path):
    monkeypatch.setattr("smt_nas.train.train_job.wants_graph", lambda options, group: options.fast)
    request = TrainRequest("tiny", "digits", changes=("optimizer.name=lamb",))
    job = TrainJob(TINY, request, RunOptions(device="cpu", fast=True), tmp_path)
    (line,) = explain_slow_path(job, load_source("digits"))
    assert line.startswith("fast step: ") and "lamb has no fused form" in line


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (8, 1, 3, 3), (8, 4, 1, 1)])
def test_gradients_and_moments_are_laid_out_as_their_weight(shape):
    """A fused step goes through memory as it lies; strides of a side of 1 count for a GPU's."""
    draw = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=draw) for _ in range(4)]
    stepped = []
    for fused in (False, True):
        weight = torch.nn.Parameter(values[0].to(memory_format=torch.channels_last))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        state = {"step": torch.tensor(3.0), "exp_avg": values[1], "exp_avg_sq": values[2] ** 2}
        optimizer.state[weight] = {name: value.clone() for name, value in state.items()}
        weight.grad = values[3].clone()
        if fused:
            fuse_optimizer(optimizer)
            align_gradients(optimizer)
            moments = [optimizer.state[weight][name] for name in ("exp_avg", "exp_avg_sq")]
            assert {t.stride() for t in (weight, weight.grad, *moments)} == {weight.stride()}
        optimizer.step()
        stepped.append(weight.detach())
    torch.testing.assert_close(*stepped)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("name", FORMS)
def test_captured_updates_are_the_plain_ones_within_rounding(name):
    group = ProcessGroup(0, 1, torch.device("cuda", 0))
    with preserve_generators(group.device):
        plain, fast = (learner_of(f, *form_of(name), group=group) for f in (False, True))
        expected, ours = (train(learner, range(6), broken=(3,)) for learner in (plain, fast))
    assert fast.graph is not None and not fast.graph.failed
    assert [made for _, made in ours] == [made for _, made in expected]
    assert_close(everything(fast), everything(plain), rtol=1e-2, atol=1e-4)
