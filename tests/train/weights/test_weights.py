"""Weights from anywhere: what is read, under which names, and what is told of all else."""

import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from smt_nas.errors import StoreError
from smt_nas.models import build, to_official
from smt_nas.train.weights.checkpoint import save_checkpoint, save_weights
from smt_nas.train.weights.tensors import write_tensors
from smt_nas.train.weights.weights import build_network, read_card, read_weights
from tests.fakes.weights import TINY, card

SCALED = TINY.model_copy(update={"layer_scale": 0.01})


def model(seed=0, arch=TINY):
    return build(arch, generator=torch.Generator().manual_seed(seed)).eval()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def released(net):
    """As the published code saves: with its optimizer, and its config, a yacs node."""
    config = CfgNode({"MODEL": {"SMT": {"DEPTHS": [1, 1, 2, 1]}, "NAME": "smt"}, "EPOCHS": 300})
    config.freeze()
    return {
        "model": OrderedDict(to_official(net)),
        "optimizer": torch.optim.AdamW(net.parameters()).state_dict(),
        "lr_scheduler": {"t_initial": 1},
        "max_accuracy": 82.2,
        "scaler": {},
        "epoch": 299,
        "config": config,
    }


def test_weights_of_ours_are_read_with_their_card(tmp_path):
    file, net = tmp_path / "best.safetensors", model()
    save_weights(file, card(), net.state_dict())
    for path in (file, tmp_path):
        loaded = read_weights(path)
        assert (loaded.card, loaded.source, loaded.official) == (card(), file, False)
        assert same(loaded.state, net.state_dict()) and loaded.unknown == ()
        assert read_card(path) == card()


def test_a_run_without_best_weights_gives_its_last_checkpoint(tmp_path):
    nets = [model(seed) for seed in range(3)]
    for i, net in enumerate(nets, 1):
        save_checkpoint(tmp_path, i, card(), net.state_dict(), None, {}, keep=3)
    assert same(read_weights(tmp_path).state, nets[2].state_dict())
    last = tmp_path / "checkpoints" / "update-0000003"
    (last / "model.safetensors").write_bytes(b"")
    loaded = read_weights(tmp_path)
    assert loaded.source.parent.name == "update-0000002"
    assert same(loaded.state, nets[1].state_dict())


@pytest.mark.parametrize(("evaluated", "seed"), [("ema", 1), ("model", 0)])
def test_a_checkpoint_gives_the_weights_that_were_evaluated(evaluated, seed, tmp_path):
    nets = [model(0).state_dict(), model(1).state_dict()]
    said = card(weights=evaluated, validation={"top1": 1.0})
    made = save_checkpoint(tmp_path, 1, said, *nets, {}, keep=1)
    assert same(read_weights(made.path).state, nets[seed])
    assert read_card(made.path) == read_weights(made.path).card == said
    other = "model" if evaluated == "ema" else "ema"
    assert read_card(made.path / f"{other}.safetensors").validation is None


@pytest.mark.parametrize("arch", [TINY, SCALED], ids=["plain", "layer scale"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", ["bare", "released"])
def test_published_weights_come_under_our_names(form, zipped, arch, tmp_path):
    net, file = model(arch=arch), tmp_path / "smt.pth"
    content = released(net) if form == "released" else to_official(net)
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    loaded = read_weights(file)
    assert loaded.official and loaded.card is None and loaded.unknown == ()
    assert same(loaded.state, net.state_dict())
    assert read_card(file) is None


def test_published_weights_in_safetensors_too(tmp_path):
    write_tensors(tmp_path / "smt.safetensors", to_official(model()), {})
    assert same(read_weights(tmp_path / "smt.safetensors").state, model().state_dict())


def test_what_is_no_part_of_the_family_is_named(tmp_path):
    state = to_official(model())
    del state["block4.0.attn.q.weight"]
    state |= {"block1.0.attn.relative": torch.ones(2), "epoch": 3, "norm5.weight": torch.ones(8)}
    torch.save(state, tmp_path / "smt.pth")
    loaded = read_weights(tmp_path / "smt.pth")
    named = {"block4.0.attn.kv.weight", "block1.0.attn.relative", "epoch", "norm5.weight"}
    assert set(loaded.unknown) == named
    missing = model().state_dict().keys() - loaded.state.keys()
    assert missing == {"stages.3.blocks.0.mixer.qkv.weight"}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_state_dict_of_ours_needs_no_card(prefix, tmp_path):
    state = {prefix + k: v for k, v in model().state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "wrapped.pt")
    write_tensors(tmp_path / "net.safetensors", state, {"format": "pt"})
    for name in ("net.pth", "wrapped.pt", "net.safetensors"):
        loaded = read_weights(tmp_path / name)
        assert loaded.card is None and not loaded.official
        assert same(loaded.state, model().state_dict())


def zeros(state):
    return {k: torch.zeros_like(v) for k, v in state.items()}


def under(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def average(state):
    """As torch's AveragedModel saves."""
    return {**under("module.", state), "n_averaged": torch.tensor(7)}


WRAPPED = {
    "_orig_mod.module.": lambda s: under("_orig_mod.module.", s),
    "module.module.": lambda s: under("module.module.", s),
    "FSDP inside": lambda s: {
        k.replace("blocks.", "_fsdp_wrapped_module.blocks."): s[k] for k in s
    },
    "Lightning": lambda s: {"state_dict": under("model.", s), "pytorch-lightning_version": "2"},
    "compiled in Lightning": lambda s: {"state_dict": under("net._orig_mod.", s)},
    "detector": lambda s: {"state_dict": under("backbone.", s)},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": {}},
    "net": lambda s: {"net": s},
    "nested": lambda s: {"checkpoint": {"network": under("module.", s)}},
    "timm": lambda s: {"state_dict": s, "args": Namespace(lr=1e-3, output=Path("a")), "epoch": 1},
    "NumPy": lambda s: {"model": s, "best": np.float64(71.2), "n": np.int64(3)},
    "half": lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
}


@pytest.mark.parametrize("official", [False, True], ids=["ours", "published"])
@pytest.mark.parametrize("form", WRAPPED.values(), ids=WRAPPED.keys())
def test_what_trainers_put_around_weights_does_not_matter(form, official, tmp_path):
    net = model()
    torch.save(form(to_official(net) if official else net.state_dict()), tmp_path / "w.pth")
    loaded = read_weights(tmp_path / "w.pth")
    assert (loaded.official, loaded.averaged, loaded.notes) == (official, False, ())
    assert loaded.state.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert loaded.state[name].dtype == value.dtype
        assert torch.allclose(loaded.state[name], value, atol=1e-3)


PAIRS = {
    "timm": lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema},
    "ConvNeXt": lambda raw, ema: {"model": raw, "model_ema": ema},
    "ema": lambda raw, ema: {"ema": ema, "model": raw},
    "ema_state_dict": lambda raw, ema: {"ema_state_dict": average(ema), "model_state_dict": raw},
    "torchvision": lambda raw, ema: {"model": raw, "model_ema": average(ema)},
    "averaged beside": lambda raw, ema: {"net": raw, "swa": average(ema)},
    "in one": lambda raw, ema: {"state_dict": under("model.", raw) | under("ema_model.", ema)},
    "camel": lambda raw, ema: {"model": raw, "modelEma": {"module": ema}},
    "Lightning": lambda raw, ema: {
        "state_dict": under("net.", ema),
        "current_model_state": under("net.", raw),
        "averaging_state": {"n_averaged": torch.tensor(3)},
    },
    "MMEngine": lambda raw, ema: {
        "state_dict": under("backbone.", ema),
        "ema_state_dict": under("module.backbone.", raw) | {"steps": torch.tensor(3)},
        "meta": {"mmengine_version": "0.10"},
    },
}


@pytest.mark.parametrize("official", [False, True], ids=["ours", "published"])
@pytest.mark.parametrize("form", PAIRS.values(), ids=PAIRS.keys())
def test_an_average_beside_the_weights_is_told_and_taken_when_asked(form, official, tmp_path):
    net, file = model(), tmp_path / "w.pth"
    state = to_official(net) if official else net.state_dict()
    torch.save(form(zeros(state), state), file)
    raw, ema = read_weights(file), read_weights(Path(f"{file}:ema"))
    assert same(raw.state, zeros(net.state_dict())) and same(ema.state, net.state_dict())
    assert (raw.averaged, ema.averaged) == (False, True)
    assert same(read_weights(Path(f"{file}:model")).state, raw.state)
    (line,) = raw.notes
    assert "(a moving average)" in line and "put :ema after the file" in line
    (line,) = ema.notes
    assert "put :model after the file" in line


@pytest.mark.parametrize(
    "form", [average, lambda s: {"state_dict_ema": s}, lambda s: {"model_ema": s, "epoch": 1}]
)
def test_an_average_alone_is_taken_and_told(form, tmp_path):
    torch.save(form(model().state_dict()), tmp_path / "w.pth")
    loaded = read_weights(tmp_path / "w.pth")
    assert loaded.averaged and same(loaded.state, model().state_dict())
    assert "a moving average alone" in loaded.notes[0]
    with pytest.raises(StoreError, match=r"must hold what :model asks for \(got .*average"):
        read_weights(Path(f"{tmp_path / 'w.pth'}:model"))


def test_of_several_networks_one_must_be_named(tmp_path):
    state = model().state_dict()
    content = {"state_dict": under("student.", state) | under("teacher.", zeros(state))}
    torch.save(content, tmp_path / "w.pth")
    told = r"must say which weights are meant \(got 2 networks: .*student, .*teacher.*w.pth:student"
    with pytest.raises(StoreError, match=told):
        read_weights(tmp_path / "w.pth")
    assert same(read_weights(Path(f"{tmp_path / 'w.pth'}:student")).state, state)


def test_tensors_beside_the_weights_and_broken_ones_are_told(tmp_path):
    state = under("backbone.", model().state_dict()) | {"neck.conv.weight": torch.ones(3)}
    state["backbone.head.bias"] = torch.full((3,), torch.nan)
    torch.save(state, tmp_path / "w.pth")
    beside, broken = read_weights(tmp_path / "w.pth").notes
    assert "left out, beside backbone: 1 tensor: neck.conv.weight" in beside
    assert "no finite numbers in 1 tensor: head.bias" in broken


def test_a_checkpoint_of_ours_gives_either_weights(tmp_path):
    nets = [model(0).state_dict(), model(1).state_dict()]
    made = save_checkpoint(tmp_path, 1, card(weights="ema"), *nets, {}, keep=1)
    for place in (made.path, tmp_path):
        assert same(read_weights(Path(f"{place}:model")).state, nets[0])
        assert same(read_weights(Path(f"{place}:ema")).state, nets[1])
    save_weights(tmp_path / "best.safetensors", card(weights="ema"), nets[1])
    assert read_weights(Path(f"{tmp_path}:ema")).source == tmp_path / "best.safetensors"
    assert read_weights(Path(f"{tmp_path}:model")).source.parent == made.path
    alone = save_checkpoint(tmp_path / "b", 1, card(), nets[0], None, {}, keep=1)
    with pytest.raises(StoreError, match="has no moving average"):
        read_weights(Path(f"{alone.path}:ema"))


def test_equal_weights_are_equal_files(tmp_path):
    """safetensors writes several entries of metadata in any order."""
    contents = set()
    for i in range(8):
        save_weights(tmp_path / f"{i}.safetensors", card(), model().state_dict())
        contents.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(contents) == 1


def test_what_was_read_does_not_hang_on_the_file(tmp_path):
    file = tmp_path / "net.pth"
    torch.save(model().state_dict(), file)
    loaded = read_weights(file)
    with file.open("r+b") as opened:
        opened.write(b"\0" * file.stat().st_size)
    assert same(loaded.state, model().state_dict())


def test_a_network_is_built_from_its_card(tmp_path):
    save_weights(tmp_path / "w.safetensors", card(), model().state_dict())
    before = torch.random.get_rng_state()
    net = build_network(read_weights(tmp_path / "w.safetensors"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not net.training and net.arch == TINY and all(p.requires_grad for p in net.parameters())
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x), model()(x))


def test_a_network_needs_a_card_and_all_its_weights(tmp_path):
    torch.save(model().state_dict(), tmp_path / "w.pth")
    with pytest.raises(StoreError, match="must say which network it is of"):
        build_network(read_weights(tmp_path / "w.pth"))
    state = model().state_dict()
    state["head.bias"] = torch.ones(4)
    state["more"] = state.pop("head.weight")
    save_weights(tmp_path / "w.safetensors", card(), state)
    told = (
        r"1 missing: head\.weight; 1 unexpected: more; "
        r"1 of another shape: head\.bias is \(4,\), not \(3,\)"
    )
    with pytest.raises(StoreError, match=told):
        build_network(read_weights(tmp_path / "w.safetensors"))


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


def test_no_code_in_a_file_is_run(tmp_path):
    file = tmp_path / "bad.pth"
    torch.save({"model": to_official(model()), "x": Code(f"touch {tmp_path}/run")}, file)
    with pytest.raises(StoreError, match=r"must hold tensors alone \(got posix\.system"):
        read_weights(file)
    torch.save(model(), file)
    with pytest.raises(StoreError, match=r"got smt_nas\.models\.smt\.SMT.*state_dict"):
        read_weights(file)
    assert os.listdir(tmp_path) == ["bad.pth"]


def test_a_torchscript_program_is_told(tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise RuntimeError("Cannot use ``weights_only=True`` with TorchScript archives passed to")

    monkeypatch.setattr(torch, "load", load)
    (tmp_path / "net.pt").write_bytes(b"PK")
    with pytest.raises(StoreError, match="got a TorchScript program"):
        read_weights(tmp_path / "net.pt")


RESNET = {f"{k}.weight": torch.ones(1) for k in ("conv1", "bn1", "layer1", "fc", "last")}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (RESNET, r"weights of an SMT \(got conv1\.weight, bn1\.weight, layer1.* and 1 more\)"),
        ({"state_dict": RESNET, "arch": "resnet18"}, r"got conv1\.weight"),
        ({"stages.0.blocks.0.conv_dw.weight": torch.ones(1)}, r"got stages\.0\.blocks\.0\.conv_dw"),
        ({"epoch": 3}, r"got epoch"),
        ({}, "got nothing"),
        ([torch.ones(1)], r"must hold tensors by name \(got a list\)"),
        (torch.ones(1), r"must hold tensors by name \(got a Tensor\)"),
    ],
)
def test_weights_of_other_networks_are_told(content, told, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(StoreError, match=told):
        read_weights(tmp_path / "w.pth")


def test_weights_of_other_networks_in_safetensors_are_told(tmp_path):
    write_tensors(tmp_path / "w.safetensors", RESNET, {"format": "pt"})
    with pytest.raises(StoreError, match=r"weights of an SMT \(got bn1\.weight, conv1\.weight"):
        read_weights(tmp_path / "w.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of each form, in bytes."""
    folder = tmp_path_factory.mktemp("whole")
    torch.save(released(model()), folder / "zip")
    torch.save(to_official(model()), folder / "legacy", _use_new_zipfile_serialization=False)
    save_weights(folder / "ours", card(), model().state_dict())
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("form", ["zip", "legacy", "ours"])
@pytest.mark.parametrize("kept", [0, 1, 8, 9, 60, 3000, -1])
def test_a_file_cut_anywhere_is_told(kept, form, name, whole, tmp_path):
    file = tmp_path / name
    file.write_bytes(whole[form][:kept])
    with pytest.raises(
        StoreError, match=rf"{name}: must .*restore|{name}: must .*Restore"
    ) as error:
        read_weights(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"<!DOCTYPE html><html>404</html>" * 30,
        b"\0" * 1000,
        b"PK\x03\x04" + b"x" * 300,
        pickle.dumps({"a": 1}),
        bytes(range(256)),
    ],
)
def test_other_files_are_told(content, tmp_path):
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match=r"must be a whole .*restore it") as error:
            read_weights(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_misnamed_file_is_read_all_the_same(tmp_path):
    save_weights(tmp_path / "w.pth", card(), model().state_dict())
    assert read_weights(tmp_path / "w.pth").card == read_card(tmp_path / "w.pth") == card()


def test_folders_and_paths_without_weights_are_told(tmp_path):
    for path, told in {
        tmp_path: r"got one without weights: neither best\.safetensors nor a checkpoint",
        tmp_path / "none.pth": "no such file",
    }.items():
        for reader in (read_weights, read_card):
            with pytest.raises(StoreError, match=told):
                reader(path)
    made = save_checkpoint(tmp_path, 1, card(), model().state_dict(), None, {}, keep=1)
    for reader in (read_weights, read_card):
        with pytest.raises(StoreError, match="got the state of an optimizer"):
            reader(made.path / "state.safetensors")
    (made.path / "model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"is passed over.*model\.safetensors: is missing"):
        read_weights(tmp_path)


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    file = tmp_path / "w.pth"
    torch.save({}, file)

    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(file), "open", refused)
    with pytest.raises(StoreError, match=r"cannot be read \(Permission denied\)"):
        read_weights(file)
