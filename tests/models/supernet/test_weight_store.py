"""A network of the store is the plain network, number by number."""

import copy

import pytest
import torch

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.models import build
from smt_nas.models.supernet import SupernetSpec, WeightStore
from tests.fakes.networks import trained_state
from tests.fakes.supernets import draw_archs, draw_images, make_small_space, make_space, make_store


def test_an_extracted_network_has_weights_and_costs_of_its_own():
    space = make_space()
    store = make_store(space)
    before = copy.deepcopy(store.state_dict())
    for arch in draw_archs(space, 5):
        network = store.extract(arch)
        assert sum(p.numel() for p in network.parameters()) == costs.of(arch).params
        assert all(p.requires_grad and p.is_leaf for p in network.parameters())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in store.state_dict().items())


def test_training_statistics_are_thrown_away():
    space = make_space()
    store, images = make_store(space), draw_images(8)
    (arch,) = draw_archs(space, 1)
    with torch.no_grad():
        first, again = store.train()(arch, images), store(arch, images)
    assert torch.equal(first, again)
    assert not list(store.buffers())


def test_the_same_seed_draws_the_same_store_as_a_fresh_network_has_them():
    space = make_small_space()
    spec = SupernetSpec.for_space(space, force=True)
    stores = [WeightStore(spec, torch.Generator().manual_seed(s)) for s in (3, 3, 4)]
    states = [store.state_dict() for store in stores]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
    (arch,) = draw_archs(space, 1)
    fresh = dict(build(arch).named_parameters())
    for name, parameter in stores[0].extract(arch).named_parameters():
        assert parameter.std(correction=0) < 3 * fresh[name].std(correction=0) + 1e-6, name


def test_a_file_gives_the_store_back():
    store = make_store(make_space())
    tensors = store.detach_tensors()
    again = WeightStore(store.spec, device="meta")
    again.load_tensors(tensors)
    assert all(torch.equal(t, tensors[name]) for name, t in again.named_tensors().items())
    name = next(iter(tensors))
    del tensors[name]
    with pytest.raises(ConfigError, match=rf"must hold {name} of shape .* \(got none\)"):
        again.load_tensors(tensors)


def test_weights_of_another_network_are_refused():
    space = make_space()
    store = make_store(space)
    one, other = draw_archs(space, 2)
    with pytest.raises(ConfigError, match="Take the weights of this very network"):
        store.inject(one, trained_state(other))
