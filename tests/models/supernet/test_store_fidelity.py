"""Fidelity tests 1 to 5 of a supernet: its networks are the plain ones, before any training.

Tests 6 to 11, of trained supernets, stand in tests/evaluators/supernet/test_training_fidelity.py.
"""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.models import SMT, load_official, to_official
from smt_nas.models.supernet import SupernetSpec, WeightStore, list_windows, views
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from tests.fakes.networks import trained_state
from tests.fakes.supernets import draw_archs, draw_images, make_space, make_store
from tests.models.test_golden import ATOL, GOLDEN, filled, image

TINY = make_space()
MICRO = SearchSpace.load("smt_micro")
EACH = 100  # networks of each space and precision


@pytest.mark.parametrize("space", [TINY, MICRO], ids=["tiny", "smt_micro"])
def test_fidelity_1_a_network_of_the_store_and_the_extracted_one_compute_the_same_bits(space):
    stores = [make_store(space).to(dtype).eval() for dtype in (torch.float32, torch.bfloat16)]
    archs = draw_archs(space, EACH)
    assert len({arch.key for arch in archs}) == EACH
    with torch.inference_mode():
        for arch, store in itertools.product(archs, stores):
            images = draw_images(1, dtype=next(store.parameters()).dtype)
            assert torch.equal(store(arch, images), store.extract(arch)(images))


def test_fidelity_2_through_the_published_layout_the_logits_are_the_same():
    space = make_space(stem={"kernel": [3, 7], "stride": 4})
    store, images = make_store(space).double().eval(), draw_images(dtype=torch.float64)
    for arch in draw_archs(space, 8):
        if any(stage.ffn_kernel != 3 for stage in arch.stages):
            continue
        network = SMT(arch).double().eval()
        load_official(network, to_official(store.extract(arch)))
        with torch.inference_mode():
            torch.testing.assert_close(network(images), store(arch, images), rtol=0, atol=1e-12)


def test_fidelity_2_inject_then_extract_gives_the_weights_back():
    store = make_store(TINY)
    for arch in draw_archs(TINY, 8):
        state = trained_state(arch)
        store.inject(arch, state)
        extracted = dict(store.extract(arch).named_parameters())
        assert all(torch.equal(value, state[name]) for name, value in extracted.items())


def test_fidelity_2_published_weights_injected_give_the_published_logits():
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


def test_fidelity_3_the_largest_network_is_a_plain_one():
    store, images = make_store(TINY).eval(), draw_images()
    largest = TINY.cardinality - 1
    ratios = np.array([gene.name.endswith("attention_ratio") for gene in TINY.genes])
    for corner in TINY.decode(np.stack([largest, np.where(ratios, 0, largest)])):
        state = trained_state(corner)
        plain = SMT(corner).eval()
        plain.load_state_dict(state)
        store.inject(corner, state)
        statistics = {name: state[name] for name, _ in plain.named_buffers()}
        with torch.inference_mode():
            assert torch.equal(store(corner, images, statistics), plain(images))


def test_fidelity_3_an_extracted_network_has_the_costs_of_its_own():
    store = make_store(TINY)
    for arch in draw_archs(TINY, 5):
        network, cost = store.extract(arch), costs.of(arch)
        assert sum(p.numel() for p in network.parameters()) == cost.params
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network.eval().to("meta")(torch.zeros(1, 3, 32, 32, device="meta"))
        assert counter.get_total_flops() == 2 * cost.macs


def test_fidelity_4_gradients_stay_within_the_network_and_add_up():
    store = make_store(TINY).train()
    images, archs = draw_images(4), draw_archs(TINY, 4)
    single = []
    for arch in archs:
        store.zero_grad(set_to_none=True)
        store(arch, images).square().sum().backward()
        grads = {n: None if p.grad is None else p.grad.clone() for n, p in _list_tensors(store)}
        _assert_within(store, arch, grads)
        single.append(grads)
    store.zero_grad(set_to_none=True)
    for arch in archs:
        store(arch, images).square().sum().backward()
    for name, tensor in _list_tensors(store):
        parts = [grads[name] for grads in single if grads[name] is not None]
        if not parts:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, torch.stack(parts).sum(0))


def _list_tensors(store):
    return store.named_tensors().items()


def _assert_within(store, arch, grads):
    """None for tensors that the network lacks, exactly 0 outside its windows."""
    outside = {name: torch.ones_like(t, dtype=torch.bool) for name, t in _list_tensors(store)}
    used = set()
    for window in itertools.chain(*list_windows(arch).values()):
        window.view(outside[window.name]).fill_(False)
        used.add(window.name)
    assert {name for name, grad in grads.items() if grad is not None} == used
    assert not any(grads[name][outside[name]].any() for name in used)


def test_fidelity_5_widths_nest():
    """Every number of a narrower network has the same role in a wider one of the same heads: kernel
    size, q or k or v, head, place in the aggregation. The store's values say where they stand."""
    numbered, first = {}, 0
    for name, tensor in make_store(TINY).named_tensors().items():
        end = first + tensor.numel()
        numbered[name] = torch.arange(first, end, dtype=torch.int64).view(tensor.shape)
        first = end
    ordered = [i for i, g in enumerate(TINY.genes) if g.name.endswith((".dim", ".expand_ratio"))]
    for row in TINY.sample(np.random.default_rng(0), 4):
        small, large = row.copy(), row.copy()
        small[ordered], large[ordered] = 0, TINY.cardinality[ordered] - 1
        narrow, wide = (_find_roles(a, numbered) for a in TINY.decode(np.stack([small, large])))
        assert len(narrow) < len(wide)
        assert narrow.items() <= wide.items()


def _find_roles(arch, numbered):
    """Of each number that a network takes: the parameter that it is of, and its role in it."""
    roles = {}
    for name, taken in views(numbered, arch).items():
        stage = arch.stages[int(name.split(".")[1])] if name.startswith("stages") else None
        for plain, number in np.ndenumerate(taken.numpy()):
            assert int(number) not in roles, f"{name} shares a number with another parameter"
            roles[int(number)] = name, _describe_role(name, plain, stage)
    return roles


def _describe_role(name, plain, stage):
    """What a number of a plain tensor is, from how `SMT` computes with it."""
    if "mixer.sv" in name:
        part, row = divmod(plain[0], stage.dim)
        return part, None if part else stage.kernels[row // (stage.dim // len(stage.kernels))]
    if "mixer.heads" in name:
        return stage.kernels[int(name.split(".")[6])]
    if "mixer.aggregate" in name or "mixer.bn" in name:
        return _find_place_in_group(plain[0], stage), plain[2:3]
    if "mixer.modulate.weight" in name:
        return _find_place_in_group(plain[1], stage)
    if "mixer.qkv" in name:
        part, row = divmod(plain[0], stage.dim)
        return "qkv"[part], row // stage.head_dim
    if "mixer.local" in name:
        return plain[0] // stage.head_dim
    if "mixer.proj.weight" in name and "sam" not in stage.mixers:
        return plain[1] // stage.head_dim
    return None


def _find_place_in_group(output, stage):
    """Head and copy that an output of SAA's grouped convolution stands for."""
    return divmod(output % (stage.expand_ratio * len(stage.kernels)), stage.expand_ratio)
