"""Any network by its name; a name that is wrong in any way is one line."""

import sys

import pytest
import torch
from torch import nn

from smt_nas.arch import PRESETS, Architecture, Stage
from smt_nas.errors import ConfigError, MeasurementError, UnknownName
from smt_nas.models import SMT, build
from smt_nas.profilers.network_loader import load_network, network_of

TINY = Architecture(
    image_size=32,
    num_classes=5,
    in_channels=2,
    stages=tuple(Stage(dim=8, depth=1, kernels=(3, 5)) for _ in range(4)),
)
FACTORIES = """
import torch
from torch import nn

SHARED = nn.Linear(2, 2)
number = 3


class Nested:
    @staticmethod
    def small():
        return nn.Conv2d(3, 4, 3)


def drawn():
    return nn.Dropout(0.5).train() if number == 0 else nn.Linear(4, 4).train()


def late():
    import helper_of_factories
    return helper_of_factories.net()


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(2), nn.LazyLinear(2))


LAZY = lazy()


def lazy_kept():
    return LAZY


def lazy_too_large():
    return nn.LazyConv1d(4, 3)


def kept():
    return nn.Sequential(SHARED)


def prints():
    print("a factory speaks")
    return nn.ReLU()


def raises():
    raise ValueError("no weights\\nhere, nor there")


def leaves():
    raise SystemExit(3)


def no_module():
    return {"model": 1}


def wants(width):
    return nn.Linear(width, 4)
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """A working directory with a module of factories, imported afresh."""
    (tmp_path / "factories_here.py").write_text(FACTORIES)
    (tmp_path / "helper_of_factories.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.ReLU()\n"
    )
    (tmp_path / "broken_here.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "quits_here.py").write_text("raise SystemExit('usage: ...')\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("factories_here", "helper_of_factories", "broken_here", "quits_here"):
        sys.modules.pop(name, None)


def refusal(*args, kind=ConfigError):
    with pytest.raises(kind) as raised:
        load_network(*args)
    said = str(raised.value)
    assert "\n" not in said
    return said


def output(network):
    size = (1, network.channels, network.image_size, network.image_size)
    with torch.inference_mode():
        return network.build()(torch.zeros(size))


def test_a_preset():
    found = load_network("smt_t")
    assert (found.name, found.spec, found.arch) == ("smt_t", "smt_t", PRESETS["smt_t"])
    assert (found.image_size, found.channels) == (224, 3)


def test_a_preset_at_another_size():
    found = load_network("smt_t", 256)
    assert found.image_size == found.arch.image_size == found.build().arch.image_size == 256


def test_a_model_config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.to_yaml())
    found = load_network(str(path))
    assert (found.name, found.arch) == (str(path), TINY)
    assert output(found).shape == (1, 5)


def test_what_is_built_is_fresh_the_same_and_leaves_the_random_state():
    network = network_of(TINY, "tiny")
    random = torch.get_rng_state()
    a, b = network.build(), network.build()
    assert torch.equal(torch.get_rng_state(), random)
    assert a is not b
    assert isinstance(a, SMT)
    assert not any(m.training for m in a.modules())
    assert {p.device.type for p in a.parameters()} == {"cpu"}
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    assert all(torch.equal(x, y) and x.data_ptr() != y.data_ptr() for x, y in pairs)


@pytest.mark.parametrize("name", ["smt_t"])  # it has every kind of module
def test_cheap_weights_are_distributed_as_fresh_ones(name):
    fresh = build(PRESETS[name], generator=torch.Generator().manual_seed(0)).state_dict()
    for key, tensor in load_network(name).build().state_dict().items():
        wanted, found = fresh[key], tensor.float()
        assert tensor.dtype == wanted.dtype
        assert bool(tensor.isfinite().all()), key
        if tensor.numel() < 2000:
            continue  # too few numbers to judge
        assert float(found.std()) == pytest.approx(float(wanted.float().std()), rel=0.15), key
        assert float(found.mean()) == pytest.approx(
            float(wanted.float().mean()), abs=0.1 * float(found.std()) + 1e-6
        )


@pytest.mark.parametrize(
    ("name", "size", "built"),
    [
        ("convnext_atto", None, "ConvNeXt"),
        ("resnet18", 64, "ResNet"),
        ("vit_tiny_patch16_224", 64, "VisionTransformer"),
    ],
)
def test_networks_of_timm(name, size, built):
    random = torch.get_rng_state()
    found = load_network(f"timm:{name}", size)
    assert found.arch is None
    assert (found.image_size, found.channels) == (size or 224, 3)
    assert type(found.build()).__name__ == built
    assert torch.equal(torch.get_rng_state(), random)
    if size == 64:
        assert output(found).shape == (1, 1000)


def test_a_size_that_a_network_of_timm_does_not_take():
    said = refusal("timm:levit_128s", 100)
    assert said.startswith("timm:levit_128s: does not take this image size (got 100: ")


@pytest.mark.parametrize("spec", ["smt_t", "timm:resnet18", "factories_here:drawn"])
@pytest.mark.parametrize("size", [7, 0, -1, 8193])
def test_a_size_out_of_range(spec, size):
    assert f"(got {size})" in refusal(spec, size)


@pytest.mark.parametrize(
    ("spec", "near", "kind"),
    [
        ("smt_tt", "'smt_t'", UnknownName),
        ("timm:convnxt_tiny", "'convnext_tiny'", ConfigError),
        ("timm:Resnet18x", "'resnet18'", ConfigError),
        ("timm:swin_tiny", "'swin_tiny_patch4_window7_224'", ConfigError),
        ("timm:swin-tiny", "'swin_tiny_patch4_window7_224'", ConfigError),
        ("timm:swin_tny", "'swin_tiny_patch4_window7_224'", ConfigError),
        ("timm:efficientnetb0", "'efficientnet_b0'", ConfigError),
    ],
)
def test_did_you_mean(spec, near, kind):
    assert f"Did you mean {near}?" in refusal(spec, kind=kind)


def test_names_that_many_begin_with_are_counted():
    assert "'vit_base_patch8_224'" in (said := refusal("timm:vit_base"))
    assert " more?" in said


def test_a_name_near_nothing_says_what_there_is():
    said = refusal("qqqq", kind=UnknownName)
    assert "smt_b" in said
    assert "timm:NAME" in said
    assert "timm.list_models()" in refusal("timm:qqqqqqqqqqqq")
    assert "timm.list_models()" in refusal("timm:")


def test_a_config_that_is_not_there_or_bad(tmp_path):
    assert "nowhere.yaml" in refusal("nowhere.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("image_size: 7\n")
    assert "bad.yaml" in refusal(str(path))


def test_a_folder_without_a_model_says_what_a_folder_may_be(tmp_path, monkeypatch):
    (tmp_path / "deployed").mkdir()
    (tmp_path / "smt_t").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MeasurementError, match=r"deployed: .* a folder with a model of OpenVINO"):
        load_network("deployed")
    assert load_network("smt_t").arch == PRESETS["smt_t"]


def test_a_factory_of_the_working_directory(factories):
    random = torch.get_rng_state()
    found = load_network("factories_here:drawn")
    assert (found.name, found.arch) == ("factories_here:drawn", None)
    assert (found.image_size, found.channels) == (224, 3)
    a, b = found.build(), found.build()
    assert torch.equal(a.weight, b.weight)
    assert not a.training
    assert torch.equal(torch.get_rng_state(), random)
    assert load_network("factories_here:drawn", 64).image_size == 64


def test_a_factory_inside_a_class_and_one_that_imports_late(factories):
    assert isinstance(load_network("factories_here:Nested.small").build(), nn.Conv2d)
    assert isinstance(load_network("factories_here:late").build(), nn.ReLU)


@pytest.mark.parametrize("name", ["lazy", "lazy_kept"])
def test_lazy_modules_learn_their_shapes_at_the_size_they_run_at(factories, name):
    network = load_network(f"factories_here:{name}", 34)
    models = network.build(), network.build()
    assert [tuple(p.shape) for p in models[0].parameters()][2:] == [(2, 32 * 32), (2,)]
    states = (m.state_dict().values() for m in models)
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_a_module_that_a_factory_keeps_is_copied_for_each_run(factories):
    network = load_network("factories_here:kept")
    a, b = network.build(), network.build()
    assert a[0] is not b[0]
    a.to("meta")
    assert network.build()[0].weight.device.type == "cpu"


def test_what_a_factory_prints_is_no_result(factories, capsys):
    load_network("factories_here:prints").build()
    printed = capsys.readouterr()
    assert printed.out == "" and "a factory speaks" in printed.err


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("factories_here:lazy_too_large", "lazy modules must take an image of 224 pixels"),
        ("factories_here:raises", "ValueError: no weights here, nor there"),
        ("factories_here:leaves", "SystemExit: 3"),
        ("factories_here:wants", "TypeError: wants() missing 1 required"),
        ("factories_here:no_module", "(got dict)"),
        ("factories_here:number", "(got int)"),
        ("factories_here:nothing", "must hold nothing"),
        ("factories_here:", "got an empty part"),
        (":drawn", "got an empty part"),
        ("no_such_package_x:net", "got none named no_such_package_x"),
        ("broken_here:net", "No module named 'no_such_module_at_all'"),
        ("quits_here:net", "SystemExit: usage: ..."),
    ],
)
def test_a_factory_that_cannot_be_used(factories, spec, reason):
    said = refusal(spec)
    assert said.startswith(f"network {spec}: ")
    assert reason in said
