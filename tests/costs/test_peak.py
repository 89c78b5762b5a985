"""Peak activation memory by formula equals the tensors that a real forward holds alive."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from smt_nas import PRESETS, Architecture, SearchSpace, Stage, Stem, costs
from smt_nas.models import build

SPACES = ("smt", "smt_micro")


class Alive(TorchDispatchMode):
    """Sums the elements of all tensors alive after each operator, weights aside.

    A storage counts once, from the operator that returns it until the last reference is gone.
    """

    def __init__(self, weights):
        super().__init__()
        self.elements = self.peak = 0
        self.known = {t.untyped_storage()._cdata for t in weights}
        self.watched = []  # a weak reference calls back only while it lives itself

    def add(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() // tensor.element_size()
        if key in self.known:
            return

        def drop(_):
            self.elements -= size
            self.known.discard(key)

        self.known.add(key)
        self.elements += size
        self.watched.append(weakref.ref(storage, drop))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        self.peak = max(self.peak, self.elements)
        return out


def measured(arch, size=None):
    """Peak elements of one eager inference forward on the CPU, and those left after it."""
    model = build(arch, device="meta").to_empty(device="cpu").eval()  # its numbers do not count
    height, width = size or (arch.image_size, arch.image_size)
    image = torch.zeros(1, arch.in_channels, height, width)
    with torch.no_grad(), Alive([*model.parameters(), *model.buffers()]) as alive:
        alive.add(image)
        logits = model(image)
    assert alive.elements == image.numel() + logits.numel()  # nothing leaks, all is seen
    return alive.peak


def predicted(arch, size=None):
    return round(costs.of(arch, size).peak_activation_mb * 1e6 / costs.BYTES_FP32)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    assert predicted(PRESETS[name]) == measured(PRESETS[name])


@pytest.mark.parametrize(("name", "n_run"), [("smt", 4), ("smt_micro", 20)])
def test_members_of_the_spaces(name, n_run):
    space = SearchSpace.load(name)
    genes = space.sample(np.random.default_rng(7), 40)
    peaks = costs.estimate(space, genes).peak_activation_mb * 1e6 / costs.BYTES_FP32
    for i, (arch, peak) in enumerate(zip(space.decode(genes), peaks, strict=True)):
        assert round(float(peak)) == predicted(arch)
        assert i >= n_run or predicted(arch) == measured(arch)


STAGES = st.builds(
    lambda heads, head_dim, kernels, **fields: Stage(
        dim=heads * head_dim * len(kernels), head_dim=head_dim, kernels=tuple(kernels), **fields
    ),
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([2, 8, 20]),
    kernels=st.sets(st.sampled_from([3, 5, 7, 9, 11]), min_size=1, max_size=4),
    depth=st.integers(1, 3),
    mlp_ratio=st.floats(0.5, 5),
    expand_ratio=st.integers(1, 4),
    attention_ratio=st.sampled_from([0.0, 0.5, 1.0]),
    stacking=st.sampled_from(["alternate", "tail"]),
    ffn_kernel=st.sampled_from([3, 5]),
)
ARCHITECTURES = st.builds(
    Architecture,
    image_size=st.just(32),
    num_classes=st.sampled_from([1, 10, 200_000]),  # so many classes that the head is the peak
    in_channels=st.integers(1, 4),
    stem=st.builds(Stem, kernel=st.sampled_from([3, 5, 7]), stride=st.sampled_from([2, 4])),
    stages=st.tuples(STAGES, STAGES, STAGES, STAGES),
    layer_scale=st.sampled_from([None, 1e-4]),
)


@settings(max_examples=60)
@given(arch=ARCHITECTURES, size=st.tuples(st.integers(32, 120), st.integers(32, 120)))
def test_any_architecture_at_any_size(arch, size):
    assert predicted(arch, size) == measured(arch, size)


@pytest.mark.parametrize("last", [0.0, 1.0])
def test_every_kind_of_part_can_be_the_peak(last):
    """Wide late stages, huge heads: the parts' peaks are held to the whole's, not one alone."""
    narrow = Stage(dim=4, depth=1, kernels=(3,), mlp_ratio=0.5)
    wide = Stage(dim=512, depth=1, kernels=(3, 5), mlp_ratio=1.0, attention_ratio=last)
    arch = Architecture(image_size=64, num_classes=10, stages=(narrow, narrow, wide, narrow))
    assert predicted(arch) == measured(arch)
    dearest = max(costs.by_part(arch), key=lambda part: part.peak_activation_mb)
    assert dearest.name == "stages.2.blocks.0"
