"""Networks of users, whatever they do in their forward: figures, or a reason, and no traceback."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers import count
from smt_nas.profilers.breakdown import trace_operators
from smt_nas.profilers.memory_estimate import estimate_activations_mb
from smt_nas.profilers.network_loader import Network, load_network
from tests.fakes.terminal import invoke

NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 2)
        self.w = nn.Parameter(torch.ones(4, 4))

    def middle(self, y):
        return y

    def forward(self, x):
        return self.head(self.middle(self.stem(x).flatten(2).mT))


def network(middle):
    return type("Mine", (Base,), {"middle": middle})()


def lerp():
    return network(lambda self, y: torch.lerp(y, self.w[0].expand_as(y), 0.5))


def cdist():
    return network(lambda self, y: torch.cdist(y, self.w.expand(len(y), 4, 4)))


def branch():
    return network(lambda self, y: y if float(y.sum()) < 1e9 else y * 0)


def prints():
    return network(lambda self, y: print("a forward speaks") or y)


def leaves():
    return network(lambda self, y: exit(3))


def logs():
    import logging
    return network(lambda self, y: logging.getLogger("mine").warning("a forward speaks") or y)


def half():
    return network(lambda self, y: y).half()


def exported():
    return torch.export.export(network(lambda self, y: y), (torch.zeros(1, 3, 32, 32),)).module()


kept = network(lambda self, y: y)


def nothing():
    return nn.Identity()


def two():
    class Two(nn.Module):
        def forward(self, image, text):
            return image
    return Two()
"""
QUICK = ("--threads", "1", "--seconds", "0.1", "--no-energy", "--image-size", "32")


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """A working directory with a module of factories."""
    (tmp_path / "mine_here.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("mine_here", None)


@pytest.mark.parametrize("name", ["lerp", "cdist", "branch", "half", "exported", "kept"])
def test_counters_and_measurement_stand_whatever_the_prediction_does(networks, name):
    done = invoke("profile", f"mine_here:{name}", *QUICK)
    assert "torch " in done.stdout and "latency" in done.stdout
    assert ("not predicted" in done.stdout) == (name == "branch")
    assert ("cannot count it" in done.stdout) == (name == "exported")  # thop wants its mode


def test_a_prediction_that_cannot_be_had_is_a_reason_beside_the_counters(networks):
    done = invoke("profile", "mine_here:branch", "--gpu", "a100", code=1)
    assert "fvcore" in done.stdout
    assert "does not run on shapes alone (got RuntimeError" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_breakdown_says_why_and_the_rest_stands(networks):
    done = invoke("profile", "mine_here:branch", "--by", "op", *QUICK)
    assert "not predicted" in done.stderr and "latency" in done.stdout


@pytest.mark.parametrize("name", ["prints", "logs"])
def test_what_a_forward_prints_or_logs_is_dropped(networks, capfd, name):
    done = invoke("profile", f"mine_here:{name}", "--json", *QUICK)
    assert "a forward speaks" not in done.stdout + done.stderr + capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two", "missing 1 required positional argument: 'text'"),
        ("leaves", "must not end the program (got SystemExit: 3)"),
    ],
)
def test_what_cannot_run_is_one_line(networks, name, reason):
    done = invoke("profile", f"mine_here:{name}", *QUICK, code=1)
    assert reason in done.stderr.splitlines()[-1]


def test_a_network_that_runs_no_operator_is_not_predicted(networks):
    done = invoke("profile", "mine_here:nothing", "--gpu", "a100", code=1)
    assert "runs no operator" in done.stderr


def test_a_network_that_autocast_refuses_is_predicted_without_it(networks):
    network = load_network("mine_here:lerp", 32)
    assert trace_operators(network, Conditions())
    with pytest.raises(MeasurementError, match="not predicted"):
        trace_operators(network, Conditions(precision="amp-fp16"))


class Keeps(nn.Module):
    """Keeps a grid of its first image, as position encodings are kept."""

    def __init__(self):
        super().__init__()
        self.stem, self.grid, self.seen = nn.Conv2d(3, 4, 8, 8), None, []

    def forward(self, x):
        y = self.stem(x)
        if self.grid is None:
            self.grid = torch.linspace(0, 1, y.shape[-1], device=y.device)
        self.seen.append(y)
        return F.relu(y * self.grid)


def test_what_a_forward_keeps_of_an_estimate_is_undone():
    model = Keeps().eval()
    assert estimate_activations_mb(model, (1, 3, 32, 32), torch.float32)
    assert model.grid is None and model.seen == []


def test_tracing_and_counting_leave_a_module_that_is_shared_alone():
    model = Keeps().eval()
    network = Network("keeps", "keeps", None, 32, 3, lambda: model)
    trace_operators(network, Conditions())
    count(network, tools=("torch", "fvcore", "thop"))
    assert model.grid is None and model.seen == []
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())


class Hooked(nn.Module):
    """Reads a feature map that a hook keeps: the hook of a copy writes to the original."""

    def __init__(self):
        super().__init__()
        self.stem, self.maps = nn.Conv2d(3, 4, 8, 8), {}
        self.stem.register_forward_hook(lambda module, given, out: self.maps.update(stem=out))

    def forward(self, x):
        self.stem(x)
        return self.maps["stem"] * 2


def test_networks_with_hooks_are_built_anew_for_each_tool():
    network = Network("hooked", "hooked", None, 32, 3, lambda: Hooked().eval())
    counts = count(network, tools=("torch", "fvcore", "thop"))
    assert {c.macs for c in counts.values()} == {16 * 4 * 3 * 64}
    assert trace_operators(network, Conditions())
