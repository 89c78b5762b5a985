"""Op counters count what their makers say they count, on the network that is built."""

import copy
import logging
import warnings
from importlib import metadata

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smt_nas.arch import PRESETS, Architecture, Stage
from smt_nas.errors import MeasurementError, UnknownName
from smt_nas.models.trace import trace
from smt_nas.profilers import Count, count, count_by_module
from smt_nas.profilers.network_loader import Network, load_network, network_of

# (image size, preset): torch, fvcore, thop, as measured on the official code
PUBLISHED = {
    (224, "smt_t"): (2_461_268_480, 2_480_134_656, 2_401_007_104),
    (224, "smt_s"): (4_838_833_152, 4_869_591_040, 4_690_412_544),
    (224, "smt_b"): (7_965_901_824, 8_008_300_544, 7_731_579_904),
    (224, "smt_l"): (17_907_127_296, 17_971_478_016, 17_548_870_656),
    (384, "smt_t"): (7_694_397_440, 7_749_840_896, 7_055_028_224),
}
COMPUTED = [(384, "smt_t")]  # fvcore runs them; at 224 below
TINY = Architecture(
    image_size=32,
    num_classes=5,
    in_channels=2,
    stages=tuple(Stage(dim=8, depth=1, kernels=(3, 5)) for _ in range(4)),
)


def attention_macs(arch, size):
    """2 N^2 C for each MSA block (SMT's two attention products)."""
    return sum(
        s.mixers.count("msa") * 2 * (size // (4 * 2**i)) ** 4 * s.dim
        for i, s in enumerate(arch.stages)
    )


@pytest.mark.parametrize(("size", "name"), PUBLISHED)
def test_torch_and_thop_agree_with_the_official_network(size, name):
    torch_macs, _, thop_macs = PUBLISHED[size, name]
    found = count(PRESETS[name], size, tools=("torch", "thop"))
    assert list(found) == ["torch", "thop"]
    assert found["torch"].macs == torch_macs
    assert found["thop"].macs == thop_macs


@pytest.mark.parametrize(("size", "name"), COMPUTED)
def test_fvcore_agrees_but_for_the_fused_attention(size, name):
    arch = PRESETS[name]
    found = count(arch, size, tools=("fvcore",))["fvcore"]
    assert found.macs == PUBLISHED[size, name][1] - attention_macs(arch, size)
    assert "scaled_dot_product_attention" in found.leaves_out.split(", ")


def installed(tool):
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return None


TORCHPROFILE = pytest.mark.skipif(not installed("torchprofile"), reason="it is not installed")


def test_all_by_default_at_the_size_of_the_config():
    found = count(PRESETS["smt_t"])
    assert list(found) == ["torch", "fvcore", "thop", "torchprofile"]
    assert {k: v.macs for k, v in found.items() if k != "torchprofile"} == {
        "torch": 2_461_268_480,
        "fvcore": 2_480_134_656 - attention_macs(PRESETS["smt_t"], 224),
        "thop": 2_401_007_104,
    }
    assert found["thop"] == Count(
        macs=2_401_007_104,
        leaves_out="scaled_dot_product_attention, activations, softmax, "
        "element-wise products and sums",
        adds="4 per element of BatchNorm and LayerNorm",
        version=metadata.version("thop"),
    )


@TORCHPROFILE
def test_torchprofile_sees_fused_attention():
    counted = count(PRESETS["smt_t"], tools=("torchprofile",))["torchprofile"]
    assert counted.macs == pytest.approx(2.467e9, rel=5e-4)
    assert "attention" not in counted.leaves_out


def test_a_tool_that_is_missing_is_skipped_with_its_reason(monkeypatch):
    def version(name, known=metadata.version):
        if name == "torchprofile":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)
    counts = count(TINY)
    assert counts["torch"].macs and counts["thop"].macs
    missing = counts["torchprofile"]
    assert (missing.macs, missing.version) == (None, "not installed")
    assert "pip install torchprofile" in missing.reason


def test_without_attention_none_is_left_out():
    found = count(TINY)
    assert "attention" not in found["fvcore"].leaves_out
    assert "attention" not in found["thop"].leaves_out
    # conv and linear only, so what fvcore and thop add is their norms
    assert found["torch"].macs < found["thop"].macs
    assert found["torch"].macs < found["fvcore"].macs


def test_an_image_need_not_be_square():
    tall, wide = (
        count(TINY, size, tools=("torch",))["torch"].macs for size in ((96, 64), (64, 96))
    )
    square = count(TINY, 64, tools=("torch",))["torch"].macs
    assert tall == wide
    head = 8 * 5
    assert (tall - head) * 2 == (square - head) * 3


def test_modules_add_up():
    arch = PRESETS["smt_t"]
    found = count_by_module(arch)
    assert found[""] == 2_461_268_480
    assert found[""] == sum(found[f"stages.{i}"] for i in range(4)) + found["head"]
    for i, stage in enumerate(arch.stages):
        path = f"stages.{i}"
        blocks = [found[f"{path}.blocks.{j}"] for j in range(stage.depth)]
        assert found[path] == found[f"{path}.embed"] + sum(blocks)
    # the table of SMT's blocks at 224: SAM and MSA of stage 3, in millions
    assert found["stages.2.blocks.0"] / 1e6 == pytest.approx(171.251, abs=5e-4)
    assert found["stages.2.blocks.1"] / 1e6 == pytest.approx(176.068, abs=5e-4)
    assert found["stages.2.blocks.1.norm1"] == 0


def test_counting_is_silent_and_leaves_no_trace(capfd, caplog):
    filters, level = list(warnings.filters), logging.getLogger("fvcore").level
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        count(TINY)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert raised == []
    assert list(warnings.filters) == filters
    assert logging.getLogger("fvcore").level == level


def test_an_unknown_tool_is_told():
    with pytest.raises(UnknownName, match=r"No op counter named 'thopp'.*Did you mean 'thop'\?"):
        count(TINY, tools=("thopp",))


@pytest.mark.parametrize("tool", ["fvcore", "thop", "torchprofile"])
def test_a_missing_tool_is_told_with_the_way_out(monkeypatch, tool):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MeasurementError, match=f"op counter: {tool} must be .*pip install {tool}"):
        count(TINY, tools=(tool,))


class Attends(nn.Module):
    """Everything a counter can trip over: attention, a bare product, dropout, batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.bare = nn.Parameter(torch.ones(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.norm(self.conv(x)).flatten(2).mT @ self.bare  # (1, 64, 8)
        x = F.scaled_dot_product_attention(x, x, x) + self.attention(x, x, x)[0]
        return {"logits": self.drop(x), "others": (x, [x])}


CONV, TOKENS = 64 * 8 * 3 * 16, 64
BARE = TOKENS * 8 * 8
SDPA = 2 * TOKENS * TOKENS * 8
PROJECTIONS = 4 * TOKENS * 8 * 8


def network(model, name="net"):
    return Network(name, name, None, 32, 3, lambda: model)


def test_any_network_whatever_it_returns():
    found = count(network(Attends().eval()))
    assert found["torch"].macs == CONV + BARE + SDPA + PROJECTIONS + SDPA
    assert found["torch"].reason is None
    left = found["thop"].leaves_out.split(", ")
    assert left[:3] == ["matmul", "multi_head_attention_forward", "scaled_dot_product_attention"]
    assert f"{Attends.__module__.partition('.')[0]}.Attends" in left  # it has a weight of its own
    assert found["thop"].macs == CONV + 4 * 8 * TOKENS  # and the norm, 4 per element
    assert "scaled_dot_product_attention" in found["fvcore"].leaves_out
    if installed("torchprofile"):
        assert found["torchprofile"].macs >= found["torch"].macs


@pytest.mark.parametrize(
    "tool", ["torch", "fvcore", "thop", pytest.param("torchprofile", marks=TORCHPROFILE)]
)
@pytest.mark.parametrize("breaks", [False, True])
def test_the_network_is_untouched(tool, breaks):
    model = Attends().train()
    model(torch.ones(1, 3, 32, 32))["logits"].sum().backward()
    if breaks:
        model.attention = None  # its forward raises midway
    before, grads = copy.deepcopy(model.state_dict()), [p.grad.clone() for p in model.parameters()]
    names, modes = dir(model), [m.training for m in model.modules()]
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    assert (count(network(model), tools=(tool,))[tool].macs is None) is breaks
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(
        torch.equal(g, p.grad) and p.requires_grad
        for g, p in zip(grads, model.parameters(), strict=True)
    )
    assert [m.training for m in model.modules()] == modes
    assert dir(model) == names
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(m, name) for m in model.modules() for name in hooks)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


def test_counting_twice_counts_the_same():
    net = network(Attends().eval())
    assert count(net) == count(net)


class Looks(nn.Module):
    """Looks at its numbers, which the meta device has not, and makes a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 5)

    def forward(self, x):
        assert float(x.sum()) == 0
        return self.fc(x.flatten(1) + torch.zeros(1))


def test_a_network_that_looks_at_its_numbers():
    counts = count(network(Looks())).values()
    assert {c.macs for c in counts} == {5 * 3 * 32 * 32}


class Breaks(nn.Module):
    def forward(self, x):
        raise RuntimeError("no image\nwill do")


def test_a_network_that_fails_has_reasons():
    for found in count(network(Breaks()), tools=("torch", "fvcore", "thop")).values():
        assert (found.macs, found.reason) == (None, "RuntimeError: no image will do")


def test_an_smt_is_counted_as_its_architecture():
    assert count(network_of(TINY, "tiny")) == count(TINY)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224"])
def test_networks_of_timm_are_counted_with_their_attention(name):
    found = load_network(f"timm:{name}")
    counts = count(found, tools=("torch", "thop"))
    ops = trace(found.build().to("meta"), (3, 224, 224))
    assert counts["torch"].macs == sum(op.macs for op in ops) > counts["thop"].macs
    products = {"scaled_dot_product_attention", "matmul"} & set(
        counts["thop"].leaves_out.split(", ")
    )
    assert products


def test_layers_of_timm_that_thop_does_not_know_are_named():
    found = count(load_network("timm:tf_efficientnet_b0"), 64, tools=("thop",))["thop"]
    assert {"conv2d", "timm.Conv2dSame"} <= set(found.leaves_out.split(", "))


class Token(nn.Module):
    """A class token, expanded to the batch in the forward, through a norm of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8), nn.Linear(8, 5)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x):
        token = self.norm(self.token.expand(x.shape[0], -1, -1))
        return self.head(torch.cat([token, self.stem(x).flatten(2).mT], 1)[:, 0])


def test_parameters_that_are_expanded_in_the_forward_do_not_stop_torchs_counter():
    found = count(network(Token()), tools=("torch",))["torch"]
    assert (found.macs, found.reason) == (16 * 8 * 3 * 64 + 8 * 5, None)


def test_pit_is_counted():
    pit = load_network("timm:pit_ti_224")
    assert count(pit, tools=("torch",))["torch"].macs == pytest.approx(0.699e9, rel=1e-3)


def test_transformer_layers_are_counted_in_inference():
    layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True).eval()
    model = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.Flatten(2), nn.Linear(16, 32), layer).eval()
    counts = count(network(model), tools=("torch", "fvcore"))
    products = 32 * (4 * 32 * 32 + 2 * 32 * 64)  # of 32 tokens: projections and the two linears
    rest = 16 * 32 * 3 * 64 + 32 * 16 * 32
    assert counts["torch"].macs == rest + products + 2 * 32 * 32 * 32
    assert counts["fvcore"].macs >= rest + products


class Recurs(nn.Module):
    """Looks at its numbers, so it is counted where it computes, and the CPU has one fused LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(96, 4, batch_first=True)

    def forward(self, x):
        assert float(x.sum()) == 0
        return self.lstm(x.permute(0, 3, 1, 2).flatten(2))[0]


def test_a_recurrent_layer_is_counted_where_it_computes():
    found = count(network(Recurs()), tools=("torch",))["torch"]
    assert found.macs == 32 * 4 * 4 * (96 + 4)


def test_products_that_torchs_counter_does_not_know_are_named():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.pairs = nn.Bilinear(32, 32, 4)

        def forward(self, x):
            return self.pairs(x, x) + torch.fft.rfft2(x).abs().mean()

    left = count(network(Pairs()), tools=("torch",))["torch"].leaves_out.split(", ")
    assert left[:2] == ["fft_r2c", "trilinear"]


def test_what_is_compiled_is_counted_by_all():
    inner = torch.compile(nn.Conv2d(3, 4, 8, 8), backend="eager")
    model = torch.compile(nn.Sequential(inner, nn.Flatten(), nn.Linear(64, 2)), backend="eager")
    counts = count(network(model), tools=("torch", "fvcore", "thop"))
    assert {c.macs for c in counts.values()} == {16 * 4 * 3 * 64 + 128}
