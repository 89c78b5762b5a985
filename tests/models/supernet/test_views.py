"""What part of the store is what part of a network: by numbers of places, without training."""

import itertools

import numpy as np
import pytest
import torch

from smt_nas.models import SMT
from smt_nas.models.supernet import list_windows, scatter, views
from tests.fakes.supernets import draw_archs, draw_images, make_space, make_store


@pytest.mark.parametrize("share_ffn", [True, False])
@pytest.mark.parametrize("layer_scale", [None, 1e-4])
def test_views_are_the_parameters_of_the_plain_network(share_ffn, layer_scale):
    space = make_space(layer_scale=layer_scale)
    store = make_store(space, share_ffn=share_ffn)
    for arch in draw_archs(space, 3):
        with torch.device("meta"):
            plain = {name: p.shape for name, p in SMT(arch).named_parameters()}
        viewed = views(store.named_tensors(), arch, share_ffn)
        assert {name: v.shape for name, v in viewed.items()} == plain
        assert all(v.is_contiguous() for v in viewed.values())


def test_every_stored_number_is_some_network_s():
    """But for rows of MHMC: a kernel size that is always of one head has the rows of that head."""
    space = make_space()
    store = make_store(space)
    unused = {name: torch.ones_like(t) for name, t in store.named_tensors().items()}
    for arch in draw_archs(space, 250):
        for window in itertools.chain(*list_windows(arch).values()):
            window.view(unused[window.name]).zero_()
    assert [n for n, left in unused.items() if left.any() and ".heads." not in n] == []


def test_scatter_is_the_adjoint_of_views():
    space = make_space()
    store = make_store(space).double()
    for arch in draw_archs(space, 4):
        viewed = views(store.named_tensors(), arch)
        other = {name: torch.randn_like(v) for name, v in viewed.items()}
        back = {name: torch.zeros_like(t) for name, t in store.named_tensors().items()}
        scatter(back, arch, other)
        plain = sum((viewed[name] * value).sum() for name, value in other.items())
        stored = sum((t * back[name]).sum() for name, t in store.named_tensors().items())
        torch.testing.assert_close(plain, stored)


def test_widths_nest():
    """A narrower network takes a part of what a wider one of the same heads takes, and every stored
    number has the same role in both: kernel size, q or k or v, head, place in the aggregation."""
    space = make_space()
    ordered = [i for i, g in enumerate(space.genes) if g.name.endswith((".dim", ".expand_ratio"))]
    for row in space.sample(np.random.default_rng(0), 3):
        small, large = row.copy(), row.copy()
        small[ordered], large[ordered] = 0, space.cardinality[ordered] - 1
        narrow, wide = (_find_roles(a) for a in space.decode(np.stack([small, large])))
        for name, roles in narrow.items():
            assert roles.items() <= wide[name].items(), name


def _find_roles(arch):
    """Of each stored tensor: the role of every number a network takes, by its place."""
    roles = {}
    for name, windows in list_windows(arch).items():
        stage = arch.stages[int(name.split(".")[1])] if name.startswith("stages") else None
        for part, window in enumerate(windows):
            places = np.arange(np.prod(window.extent)).reshape(window.extent)
            # of the stored tensor: the index on each axis, which does not depend on the width
            taken = window.read(torch.from_numpy(places)).numpy()
            own = roles.setdefault(window.name, {})
            for plain, place in np.ndenumerate(taken):
                index = tuple(int(i) for i in np.unravel_index(place, window.extent))
                own[index] = _describe_role(name, part, plain, stage)
    return roles


def _describe_role(name, part, plain, stage):
    """What a number of a plain tensor is, from how `SMT` computes with it."""
    if "mixer.sv" in name and part == 0:
        return stage.kernels[plain[0] // (stage.dim // len(stage.kernels))]
    if "mixer.heads" in name:
        return stage.kernels[int(name.split(".")[6])]
    if "mixer.aggregate" in name or "mixer.bn" in name:
        return _place_in_group(plain[0], stage), plain[2:3]
    if "mixer.modulate.weight" in name:
        return _place_in_group(plain[1], stage)
    if "mixer.qkv" in name:
        return "qkv"[part], plain[0] // stage.head_dim
    if "mixer.local" in name:
        return plain[0] // stage.head_dim
    if "mixer.proj.weight" in name and "sam" not in stage.mixers:
        return plain[1] // stage.head_dim
    return None


def _place_in_group(output, stage):
    """Head and copy that an output of SAA's grouped convolution stands for."""
    return divmod(output % (stage.expand_ratio * len(stage.kernels)), stage.expand_ratio)


def test_gradients_stay_within_the_network_and_add_up():
    space = make_space()
    store = make_store(space).train()
    images, archs = draw_images(4), draw_archs(space, 4)
    single = []
    for arch in archs:
        store.zero_grad(set_to_none=True)
        store(arch, images).square().sum().backward()
        grads = {n: None if p.grad is None else p.grad.clone() for n, p in _tensors(store)}
        _assert_within(store, arch, grads)
        single.append(grads)
    store.zero_grad(set_to_none=True)
    for arch in archs:
        store(arch, images).square().sum().backward()
    for name, tensor in _tensors(store):
        parts = [grads[name] for grads in single if grads[name] is not None]
        if not parts:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, torch.stack(parts).sum(0))


def _tensors(store):
    return store.named_tensors().items()


def _assert_within(store, arch, grads):
    """None for tensors that the network lacks, exactly 0 outside its windows."""
    outside = {name: torch.ones_like(t, dtype=torch.bool) for name, t in _tensors(store)}
    used = set()
    for window in itertools.chain(*list_windows(arch).values()):
        window.view(outside[window.name]).fill_(False)
        used.add(window.name)
    assert {name for name, grad in grads.items() if grad is not None} == used
    assert not any(grads[name][outside[name]].any() for name in used)
