"""The check of a network in a search: the witnesses at once say what each says by itself."""

import pytest
import torch

from smt_nas import costs
from smt_nas.arch import SMALL_PRESETS
from smt_nas.profilers import count_check
from smt_nas.profilers.count_check import WITNESSES, check_counts
from smt_nas.profilers.counters import count

ARCH = next(iter(SMALL_PRESETS.values()))


def test_witnesses_at_once_count_what_each_counts_by_itself():
    alone = {name: c.macs for name, c in count(ARCH, tools=WITNESSES).items()}
    check = check_counts(ARCH)
    assert check.macs == alone
    assert check.reason is None
    assert check.macs["torch"] == costs.of(ARCH).macs


def test_counters_that_fail_together_count_one_by_one(monkeypatch):
    def fail(arch):
        raise RuntimeError("hooks")

    together = check_counts(ARCH)
    monkeypatch.setattr(count_check, "_count_at_once", fail)
    assert check_counts(ARCH) == together


def test_logits_that_are_not_finite_are_the_reason(monkeypatch):
    real = count_check.network_of

    def break_weights(arch, name):
        network = real(arch, name)

        def build():
            model = network.build()
            with torch.no_grad():
                model.head.weight.fill_(float("nan"))
            return model

        return type(network)(**{**network.__dict__, "build": build})

    monkeypatch.setattr(count_check, "network_of", break_weights)
    assert check_counts(ARCH).reason == "its logits are not finite"


def test_a_network_that_cannot_be_built_is_a_reason(monkeypatch):
    def fail(arch, name):
        raise ValueError("no such mixer")

    monkeypatch.setattr(count_check, "network_of", fail)
    assert check_counts(ARCH).reason == "ValueError: no such mixer"


@pytest.mark.parametrize("missing", ["fvcore", "thop"])
def test_a_witness_that_is_not_installed_is_left_out(monkeypatch, missing):
    monkeypatch.setattr(count_check, "is_installed", lambda name: name != missing)
    check = check_counts(ARCH)
    assert set(check.macs) == set(WITNESSES) - {missing}
    assert check.reason is None
