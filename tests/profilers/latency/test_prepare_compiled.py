"""torch.compile for real, on a small network: what it computes, and what it leaves behind."""

import shutil

import pytest
import torch
from torch import nn

from smt_nas.conditions import Conditions
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]


class Counted(nn.Module):
    """Counts how often Python runs it: a compiled network is only traced by it."""

    runs = 0

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        if not torch.compiler.is_compiling():
            Counted.runs += 1
        return nn.functional.gelu(self.fc(x.mean(dim=(2, 3))))


def test_a_compiled_network_runs_as_compiled():
    threads = torch.get_num_threads()
    network = Network("net", "net", None, 32, 3, lambda: Counted().eval())
    call = prepare(network, Conditions(mode="compile", batch=2, threads=1))
    assert call.compile_ms is None
    random = torch.get_rng_state()
    call.first()
    assert call.compile_ms > 0
    for _ in range(5):
        call()
    call.close()
    assert torch.equal(torch.get_rng_state(), random)
    assert Counted.runs == 0
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
