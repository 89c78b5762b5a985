"""Hosts: what they need to dispatch operators, by kind, mode and class."""

import numpy as np
import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.dispatch import load_host
from smt_nas.devices.gpu_kernels import build_kernels
from smt_nas.errors import ConfigError

OPS = [
    Op("", "", "linear", 64**3, 64**2, 64**2, 64**2, m=64, n=64, k=64, sources=((0, 64**2),)),
    Op("", "", "norm", 0, 64, 64, sources=((1, 64),)),
    Op("", "", "elementwise", 0, 64, 64, sources=((1, 64),)),
]
KERNELS = build_kernels(OPS, Conditions())


def test_operators_take_what_was_measured_of_their_kind():
    host = load_host("server")
    us = 1e3 * host.submit_ms(KERNELS, "eager") / host.reference.in_network
    known = host.reference.operator_us
    assert us == pytest.approx([known["linear"], known["norm"], known["elementwise"]])


def test_a_compiler_s_kernels_cost_less_and_those_of_a_graph_nothing_much():
    eager, compiled, graph = (
        load_host("server").submit_ms(KERNELS, mode) for mode in ("eager", "compile", "graph")
    )
    assert compiled[0] == eager[0] and compiled[1] < eager[1]
    assert graph.sum() < 0.05 * compiled.sum()


def test_classes_stand_in_their_order():
    times = [
        load_host(key).submit_ms(KERNELS, "eager").sum()
        for key in ("desktop", "server", "server-2020", "arm-board")
    ]
    assert times == sorted(times) and np.all(np.diff(times) > 0)


def test_a_host_that_is_not_known_is_least_sure():
    classes = ("desktop", "server", "server-2020", "arm-board")
    assert load_host(None).half_width > max(load_host(key).half_width for key in classes)


def test_an_unknown_class_names_those_there_are():
    with pytest.raises(ConfigError, match=r"got 'dekstop'.* Did you mean 'desktop'"):
        load_host("dekstop")
