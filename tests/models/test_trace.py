"""Operators of networks: MACs as the formulas have them, who reads from whom, casts, layouts."""

import time
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.errors import MeasurementError
from smt_nas.models import autocast, build
from smt_nas.models.trace import NOTHING, trace
from smt_nas.runtime.torchvision_ops import import_timm
from tests.fakes.weights import TINY


def of_arch(arch, batch=1):
    size = arch.image_size
    return trace(build(arch, device="meta").eval(), (arch.in_channels, size, size), batch)


@pytest.mark.parametrize("preset", ["smt_t", "smt_s"])
def test_macs_of_presets_are_those_of_the_formulas(preset):
    arch = PRESETS[preset]
    assert sum(op.macs for op in of_arch(arch, batch=2)) == 2 * costs.of(arch).macs


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
def test_macs_of_random_networks_are_those_of_the_formulas(name):
    space = SearchSpace.load(name)
    for arch in space.decode(space.sample(np.random.default_rng(3), 3)):
        assert sum(op.macs for op in of_arch(arch)) == costs.of(arch).macs


@pytest.mark.parametrize(
    "name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "coatnet_pico_rw_224"]
)
def test_macs_of_timm_networks_are_those_of_torch(name):
    try:
        timm = import_timm()
    except MeasurementError as error:
        pytest.skip(str(error))
    with torch.device("meta"):
        module = timm.create_model(name).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.empty(2, 3, 224, 224, device="meta"))
    ops = trace(module, (3, 224, 224), 2)
    assert 2 * sum(op.macs for op in ops) == counter.get_total_flops()


def test_parts_of_a_block_carry_their_paths():
    paths = {op.path for op in of_arch(PRESETS["smt_t"])}
    assert {"stages.0.blocks.0.mixer.sv", "stages.2.blocks.1.mixer", "head"} <= paths


def test_everything_is_linear_in_the_batch():
    two, three, four = (of_arch(PRESETS["smt_t"], batch) for batch in (2, 3, 4))
    for a, b, c in zip(two, three, four, strict=True):
        for field in ("macs", "read", "written", "weights", "m", "groups"):
            step = getattr(b, field) - getattr(a, field)
            assert getattr(c, field) - getattr(b, field) == step


def test_what_is_read_was_written():
    ops = of_arch(PRESETS["smt_t"])
    for i, op in enumerate(ops):
        assert sum(n for _, n in op.sources) == op.read
        for back, n in op.sources:
            assert back == 0 or n <= ops[i - back].written


def test_saa_is_depthwise_with_a_kernel_over_the_heads():
    op = next(o for o in of_arch(PRESETS["smt_t"]) if o.path.endswith("mixer.aggregate"))
    ops = [o for o in of_arch(PRESETS["smt_t"]) if o.path == op.path and o.kind != "cast"]
    assert [(o.kind, o.kernel, o.k) for o in ops] == [("depthwise", 4, 4)]


def test_the_module_is_left_as_it_was():
    module = build("smt_t", generator=torch.Generator().manual_seed(0)).eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = torch.random.get_rng_state()
    trace(module, (3, 64, 64))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert not module.training and all(p.grad is None for p in module.parameters())


class Products(nn.Module):
    """Two linears with a norm, a softmax and a sum between them."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.b(x + self.norm(self.a(x)).softmax(-1))


def test_autocast_is_traced_with_its_casts():
    ops = trace(Products(), (5, 8), 2)
    wide = {op.name: op.wide for op in ops if op.kind != "cast"}
    assert wide == {
        "addmm": False, "native_layer_norm": True, "_softmax": True, "add": True
    }  # fmt: skip
    weights = [op for op in ops if op.kind == "cast" and op.weights]
    assert sorted(op.weights for op in weights) == [4, 8, 32, 64]  # once each
    assert sum(op.weights for op in ops if op.kind == "linear") == 8 * 8 + 8 + 8 * 4 + 4


class Attention(nn.Module):
    """Attention of one tensor with itself, (B, heads, N, d) or with more axes before N."""

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_attention_is_one_operator():
    ops = [op for op in trace(Attention(), (3, 7, 16), 2) if op.kind != "cast"]
    assert [(op.kind, op.m, op.n, op.k, op.groups) for op in ops] == [("attention", 7, 7, 16, 6)]
    assert ops[0].macs == 2 * 6 * 7 * 7 * 16


def test_attention_that_no_kernel_takes_is_spelt_out():
    ops = trace(Attention(), (3, 5, 7, 16), 2)
    assert [op.kind for op in ops if op.macs] == ["matmul", "matmul"]
    assert sum(op.macs for op in ops) == 2 * 30 * 7 * 7 * 16


class Convolutions(nn.Module):
    """A dense, a grouped and a depthwise one."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 16, 1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, (3, 5), groups=16)

    def forward(self, x):
        return self.depthwise(self.grouped(self.dense(x)))


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_are_told_apart(channels_last):
    ops = trace(Convolutions(), (3, 16, 16), 2, channels_last)
    found = [
        (op.kind, op.m, op.n, op.k, op.groups, op.kernel) for op in ops if op.name == "convolution"
    ]
    assert found == [
        ("conv", 128, 8, 27, 1, 9),
        ("grouped", 128, 4, 2, 4, 1),
        ("depthwise", 2 * 6 * 4, 1, 15, 16, 15),
    ]
    assert {op.channels_last for op in ops if op.name == "convolution"} == {channels_last}


def test_views_cost_nothing_and_copies_do():
    class Views(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)[:, 1:].unsqueeze(0).expand(2, -1, -1, -1)

    class Copies(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2).reshape(-1)

    assert trace(Views(), (4, 6)) == []
    assert [(op.kind, op.read, op.written) for op in trace(Copies(), (4, 6))] == [("copy", 24, 24)]


def test_a_slice_of_channels_last_memory_is_told_apart():
    sam = [op for op in of_arch(PRESETS["smt_t"]) if op.path.startswith("stages.0.blocks.0.mixer")]
    heads = [op for op in sam if op.kind == "depthwise" and op.kernel > 4]
    assert [op.kernel for op in heads] == [9, 25, 49, 81]
    assert all(op.strided and not op.channels_last for op in heads)
    assert not any(op.strided for op in sam if op not in heads)


def test_a_layer_norm_says_its_rows():
    (norm,) = trace(nn.LayerNorm(24), (7, 24), 2)
    assert (norm.kind, norm.m, norm.n, norm.macs) == ("norm", 14, 24, 0)


def test_operators_are_those_that_torch_dispatches():
    """What a host has to submit, counted on a real forward: only its attention has another name."""

    class Counter(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made_here = func in NOTHING or "empty" in str(func) or "zeros" in str(func)
            self.calls += not (func.is_view or made_here)
            return func(*args, **(kwargs or {}))

    module = build(TINY, device="cpu").eval()
    with torch.no_grad(), Counter() as counter:
        module(torch.zeros(1, TINY.in_channels, TINY.image_size, TINY.image_size))
    assert sum(op.kind != "cast" for op in of_arch(TINY)) == counter.calls


def test_a_part_takes_milliseconds():
    block = build("smt_t", device="meta").eval().stages[0].blocks[0]
    trace(block, (56, 56, 64))  # the first one imports
    start = time.process_time()
    trace(block, (56, 56, 64))
    assert time.process_time() - start < 0.5  # some 20 ms; the core may be busy


def test_autocasts_lists_are_those_of_torch():
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    names = {name.removeprefix("aten::").partition(".")[0] for name in registered}
    lists = (autocast.LOWER, autocast.FP32, autocast.WIDEST, autocast.REFUSED)
    ours = frozenset().union(*lists)
    inner = {  # what functions of the lists reach the dispatcher as
        *("_prelu_kernel", "_fused_rms_norm", "native_group_norm", "_softmax", "_log_softmax"),
        *("grid_sampler_2d", "grid_sampler_3d"),
    }
    assert names - ours == set()
    known = {name for name in ours if hasattr(torch.ops.aten, name)}  # of this release
    assert known - names == inner | {"norm"} - names
    assert sum(map(len, lists)) == len(ours)  # each in one list


class Calls(nn.Module):
    """One function of an fp16 result and an fp32 parameter, as autocast meets them."""

    def __init__(self, function):
        super().__init__()
        self.a, self.w = nn.Linear(8, 8), nn.Parameter(torch.ones(8, 8))
        self.function = function

    def forward(self, x):
        return self.function(self.a(x), self.w)


INDEX = torch.zeros(8, 8, dtype=torch.long)
CALLS = {  # how each function is called -> whether it writes fp32
    "prelu": (lambda y, w: F.prelu(y, w[0]), False),
    "matmul": (lambda y, w: y @ w, False),
    "tensordot": (lambda y, w: torch.tensordot(y, w, dims=1), True),
    "bilinear": (lambda y, w: F.bilinear(y, y, w[None], bias=w[0, :1]), True),
    "scatter_add": (lambda y, w: w.scatter_add(0, INDEX.to(y.device), y), True),
    "addcmul": (lambda y, w: torch.addcmul(w, y, value=1, tensor2=w), True),
    "atan2": (torch.atan2, True),
    "cdist": (torch.cdist, True),
    "logsumexp": (lambda y, w: y.logsumexp(0), True),
    "mse_loss": (F.mse_loss, True),
    "grid_sample": (
        lambda y, w: F.grid_sample(y[None, None], w[None, :, :2, None].mT, align_corners=False),
        True,
    ),
    "interpolate": (lambda y, w: F.interpolate(y[None, None], scale_factor=2), True),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_autocasts_lists_run_in_its_types(name):
    call, is_wide = CALLS[name]
    ops = [op for op in trace(Calls(call), (8,), 8) if op.kind != "cast"]
    assert ops[0].name == "addmm" and not ops[0].wide
    assert ops[-1].wide is is_wide


def test_what_autocast_does_not_reconcile_has_a_trace_without_it():
    model = Calls(lambda y, w: torch.lerp(y, w, 0.5))
    with pytest.raises(RuntimeError, match="dtype"):
        trace(model, (8,), 8)
    assert [op.name for op in trace(model, (8,), 8, autocast=False)] == ["addmm", "lerp"]


def test_a_function_that_autocast_refuses_is_refused():
    model = Calls(lambda y, w: F.binary_cross_entropy(y.sigmoid(), w.sigmoid()))
    with pytest.raises(RuntimeError, match="not allowed under autocast"):
        trace(model, (8,), 8)


class Region(nn.Module):
    """Two linear layers; the second runs under an autocast of its own."""

    def __init__(self, switch):
        super().__init__()
        self.first, self.second, self.switch = nn.Linear(4, 4), nn.Linear(4, 4), switch

    def forward(self, x):
        x = self.first(x.mean((2, 3))[..., :1].expand(-1, 4))
        with self.switch(x):
            return self.second(x.float())


@pytest.mark.parametrize(
    ("switch", "on", "casts"),
    [
        (lambda x: torch.autocast(x.device.type, enabled=False), True, 3),
        (lambda x: torch.autocast("cuda", enabled=False), True, 3),
        (lambda x: torch.autocast("cuda", dtype=torch.bfloat16), True, 6),
        (lambda x: torch.autocast(x.device.type, dtype=torch.bfloat16), False, 3),
        (lambda x: torch.autocast("cpu", enabled=False), True, 6),
    ],
)
def test_a_network_switches_autocast_for_its_own_operators(switch, on, casts):
    state = torch.is_autocast_enabled("cuda")
    ops = trace(Region(switch), (3, 8, 8), autocast=on)
    assert sum(op.kind == "cast" and op.path in ("first", "second") for op in ops) == casts
    assert torch.is_autocast_enabled("cuda") == state


def test_autocast_by_a_decorator_leaves_it_as_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no CUDA
        decorated = torch.autocast("cuda")(Region.forward)
    network = type("Decorated", (Region,), {"forward": decorated})(lambda x: nullcontext())
    assert sum(op.kind == "cast" for op in trace(network, (3, 8, 8))) >= 6


def test_a_recurrent_layer_after_a_convolution_has_a_trace():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.rows = nn.Conv2d(3, 4, 8, 8), nn.LSTM(4, 4, batch_first=True)

        def forward(self, x):
            return self.rows(self.stem(x).flatten(2).mT)[0]

    assert any(op.kind == "cast" for op in trace(Rows().to("meta"), (3, 16, 16)))
