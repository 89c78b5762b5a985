"""A network of the store is the plain network, number by number."""

import copy

import numpy as np
import pytest
import torch

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.errors import ConfigError
from smt_nas.models import SMT, build, load_official, to_official
from smt_nas.models.supernet import SupernetSpec, WeightStore
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from tests.fakes.networks import trained_state
from tests.fakes.supernets import draw_archs, draw_images, make_small_space, make_space, make_store
from tests.models.test_golden import ATOL, GOLDEN, filled, image


@pytest.mark.parametrize(("dtype", "n"), [(torch.float32, 16), (torch.bfloat16, 6)])
def test_an_extracted_network_computes_the_same_bits(dtype, n):
    space = make_space()
    store = make_store(space).to(dtype).eval()
    images = draw_images(1, dtype=dtype)
    with torch.inference_mode():
        for arch in draw_archs(space, n):
            assert torch.equal(store(arch, images), store.extract(arch)(images))


def test_networks_of_smt_micro_compute_the_same_bits():
    space = SearchSpace.load("smt_micro")
    store = make_store(space).eval()
    images = draw_images(1)
    with torch.inference_mode():
        for arch in draw_archs(space, 4):
            assert torch.equal(store(arch, images), store.extract(arch)(images))


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


def test_the_largest_network_is_a_plain_one():
    space = make_space()
    store, images = make_store(space).eval(), draw_images()
    largest = space.cardinality - 1
    for corner in space.decode(np.stack([largest, np.where(_is_ratio(space), 0, largest)])):
        state = trained_state(corner)
        plain = SMT(corner).eval()
        plain.load_state_dict(state)
        store.inject(corner, state)
        statistics = {name: value for name, value in state.items() if "running" in name}
        tracked = {n: v for n, v in state.items() if n.endswith("num_batches_tracked")}
        with torch.inference_mode():
            assert torch.equal(store(corner, images, statistics | tracked), plain(images))


def _is_ratio(space):
    return np.array([gene.name.endswith("attention_ratio") for gene in space.genes])


def test_inject_then_extract_gives_the_weights_back():
    space = make_space()
    store = make_store(space)
    for arch in draw_archs(space, 4):
        state = trained_state(arch)
        store.inject(arch, state)
        extracted = dict(store.extract(arch).named_parameters())
        assert all(torch.equal(value, state[name]) for name, value in extracted.items())


def test_extract_through_the_published_layout_gives_the_same_logits():
    space = make_space(stem={"kernel": [3, 7], "stride": 4})
    store, images = make_store(space).double().eval(), draw_images(dtype=torch.float64)
    for arch in draw_archs(space, 4):
        if any(stage.ffn_kernel != 3 for stage in arch.stages):
            continue
        network = SMT(arch).double().eval()
        load_official(network, to_official(store.extract(arch)))
        with torch.inference_mode():
            torch.testing.assert_close(network(images), store(arch, images), rtol=0, atol=1e-12)


def test_published_weights_injected_give_the_published_logits():
    golden = np.load(GOLDEN)
    stages = [
        {
            "dim": [stage.dim, stage.dim + 16],
            "depth": [stage.depth, stage.depth + 1],
            "mlp_ratio": stage.mlp_ratio,
            "attention_ratio": stage.attention_ratio,
            "heads": stage.heads,
        }
        for stage in PRESETS["smt_t"].stages
    ]
    space = SearchSpace(SpaceConfig.model_validate({"stages": stages}))
    store = WeightStore(SupernetSpec.for_space(space)).eval()
    network = filled(PRESETS["smt_t"])
    arch = store.spec.adapt(network.arch)
    state = network.state_dict()
    store.inject(arch, state)
    statistics = {name: state[name] for name, _ in network.named_buffers()}
    with torch.inference_mode():
        logits = store(arch, image(0, (2, 3, 224, 224)), statistics)
    expected = torch.from_numpy(golden["logits"])
    torch.testing.assert_close(logits, expected, rtol=0, atol=ATOL[torch.float32])


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
    tensors, metadata = store.to_file()
    again = WeightStore.from_file(tensors, metadata)
    assert again.spec == store.spec
    assert all(torch.equal(t, tensors[name]) for name, t in again.named_tensors().items())
    name = next(iter(tensors))
    del tensors[name]
    with pytest.raises(ConfigError, match=rf"must hold {name} of shape .* \(got none\)"):
        WeightStore.from_file(tensors, metadata)
    with pytest.raises(ConfigError, match="must be a file of a supernet"):
        WeightStore.from_file(tensors, {})


def test_weights_of_another_network_are_refused():
    space = make_space()
    store = make_store(space)
    one, other = draw_archs(space, 2)
    with pytest.raises(ConfigError, match="Take the weights of this very network"):
        store.inject(one, trained_state(other))
