"""A small space with every gene, whose networks run in milliseconds, and stores of it."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from smt_nas.evaluators.supernet import SupernetOptions, SupernetRunOptions, train_supernet
from smt_nas.models.supernet import SupernetSpec, WeightStore
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from smt_nas.train.data.examples import Subset
from smt_nas.train.data.sources import load_source
from smt_nas.yaml import to_yaml

LEARNING = {
    "steps": 40,
    "changes": ("batch_size=32", "optimizer.lr=1e-2", "warmup_epochs=0.5", "ema.decay=0.9"),
}
"""Of all digits: networks of the small space recognise about half of the others."""
KERNELS = [[3, 5], [3], [3, 5, 7, 9], [5]]


def _stage(dim, depth, heads, **options):
    values = {"mlp_ratio": [1, 2], "expand_ratio": [1, 2], "kernels": KERNELS}
    mixing = {"attention_ratio": [0, 0.5, 1], "stacking": ["alternate", "tail"], "heads": heads}
    return {"dim": dim, "depth": depth, **values, **mixing, **options}


def make_space(num_classes=5, layer_scale=None, **shared):
    """Widths 8 to 32, one to three blocks a stage."""
    values = {
        "image_size": 32,
        "num_classes": num_classes,
        "layer_scale": layer_scale,
        "stem": {"kernel": [3, 5, 7], "stride": 2},
        "stages": [
            _stage([8, 16], [1, 2], [2], attention_ratio=[0, 0.5], ffn_kernel=[3, 5]),
            _stage([8, 16], [1, 2], [2, 4]),
            _stage([16, 24, 32], [1, 2, 3], [2, 8]),
            _stage([16, 32], [1, 2], [4]),
        ],
        **shared,
    }
    return SearchSpace(SpaceConfig.model_validate(values), "tiny")


def make_store(space, seed=0, **options):
    """With weights as training leaves them: no norm or bias is that of a fresh network."""
    spec = SupernetSpec.for_space(space, force=True, **options)
    generator = torch.Generator().manual_seed(seed)
    store = WeightStore(spec, generator)
    with torch.no_grad():
        for name, tensor in store.named_tensors().items():
            if "bias" in name:
                tensor.normal_(0, 0.1, generator=generator)
            elif tensor.dim() == 1 or ".bn." in name:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return store


def draw_archs(space, n, seed=0):
    return space.decode(space.sample(np.random.default_rng(seed), n))


def draw_images(n=2, size=32, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, size, size, generator=generator, dtype=dtype)


def make_small_space(num_classes=10):
    """At most six blocks, so that a step takes a blink."""
    kernels = {"kernels": [[3], [3, 5]], "mlp_ratio": 1, "expand_ratio": [1, 2], "heads": 2}
    mixed = {**kernels, "attention_ratio": [0, 0.5, 1]}
    values = {
        "image_size": 32,
        "num_classes": num_classes,
        "stem": {"kernel": [3, 5], "stride": 4},
        "stages": [
            {"dim": 8, "depth": 1, **kernels},
            {"dim": [8, 16], "depth": 1, **kernels},
            {"dim": [8, 16], "depth": [1, 2], **mixed},
            {"dim": [8, 16], "depth": 1, **mixed},
        ],
    }
    return SearchSpace(SpaceConfig.model_validate(values), "small")


def write_space(path, space):
    """The YAML of a space, for options that name a file."""
    path.write_text(to_yaml(space.config.model_dump(mode="json")), encoding="utf-8")
    return str(path)


@cache
def load_few_digits(every=8):
    """One in `every` of the digits to train on."""
    whole = load_source("digits")
    return replace(whole, train=Subset(whole.train, np.arange(0, len(whole.train), every)))


@dataclass(frozen=True)
class Relabelled:
    """A split with other labels."""

    examples: object
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def image(self, i):
        return self.examples.image(i)

    def name(self, i):
        return self.examples.name(i)


def train(folder, listener=None, source=None, run=None, **options):
    """Train a supernet of the small space, or go on with it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    space = write_space(folder.parent / "small.yaml", make_small_space())
    values = {"space": space, "data": "digits", "steps": 4, "changes": ("batch_size=8",)}
    return train_supernet(
        SupernetOptions(**{**values, **options}),
        folder,
        listener,
        SupernetRunOptions(device="cpu", **run or {}),
        load_few_digits() if source is None else source,
    )
