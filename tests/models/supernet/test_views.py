"""What part of the store is what part of a network: by numbers of places, without training."""

import itertools

import pytest
import torch

from smt_nas.models import SMT
from smt_nas.models.supernet import list_windows, scatter, views
from tests.fakes.supernets import draw_archs, make_space, make_store


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
