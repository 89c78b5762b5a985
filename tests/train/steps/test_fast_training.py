"""Six networks trained by the fast path, data in memory and graphs replayed, and by the plain loop.

Where both draw the same they end the same but for rounding; else within what another seed does.
"""

from dataclasses import replace

import numpy as np
import pytest

from smt_nas.arch import Architecture, Stage
from tests.fakes.graphs import capture_on_cpu
from tests.fakes.images import few_digits
from tests.fakes.trainings import SHORT, start
from tests.fakes.weights import TINY

PLAIN = ("batch_size=20", "warmup_epochs=0.3", "optimizer.eps=0.001", "augment.padding=0")
DRAWS_NOTHING = (*PLAIN, "augment.crop_scale=null", "augment.flip=0", "augment.auto_augment=null")
AUGMENTED = (
    *("batch_size=20", "warmup_epochs=0.3", "augment.auto_augment=null"),
    *("augment.crop_scale=null", "augment.padding=2", "augment.flip=0", "drop_path=0.1"),
)


def network(*stages, **changes):
    values = [{"dim": 8, "depth": 1} | stage for stage in stages]
    last = {"attention_ratio": 1.0, "head_dim": 4} | values[-1]
    stages = tuple(Stage(**stage) for stage in (*values[:-1], last))
    return Architecture(image_size=32, num_classes=10, stages=stages, **changes)


NETWORKS = {
    "tiny": TINY,
    "deep": network({"depth": 2}, {"depth": 2}, {"depth": 3}, {"depth": 1}),
    "wide": network({"dim": 16}, {"dim": 16}, {"dim": 32}, {"dim": 32}),
    "attention": network({}, {}, {"depth": 2, "attention_ratio": 1.0, "head_dim": 4}, {"depth": 2}),
    "kernels": network({"kernels": (3, 5, 7, 9)}, {"kernels": (3,)}, {"kernels": (5, 7)}, {}),
    "scaled": network({}, {"expand_ratio": 1}, {"mlp_ratio": 2}, {}, layer_scale=0.1),
}


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    capture_on_cpu(monkeypatch)
    with few_digits(20):
        yield


def train(folder, name, changes, seed, fast):
    request = replace(SHORT, epochs=2, changes=changes, seed=seed)
    run = folder / f"{name}-{seed}-{fast}"
    return start(request, run, arch=NETWORKS[name], fast=fast).history[-1]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_draws_nothing_ends_the_same_but_for_rounding(tmp_path, name):
    plain, fast = (train(tmp_path, name, DRAWS_NOTHING, 0, fast) for fast in (False, True))
    assert fast.train_loss == pytest.approx(plain.train_loss, rel=1e-3)
    assert fast.val_loss == pytest.approx(plain.val_loss, rel=1e-2)


def test_what_draws_otherwise_ends_within_the_noise_of_seeds(tmp_path):
    """The mean difference over networks and seeds, against the one between two seeds."""
    losses = np.array(
        [
            [
                [train(tmp_path, name, AUGMENTED, seed, fast).train_loss for fast in (False, True)]
                for seed in (0, 1)
            ]
            for name in NETWORKS
        ]
    )  # (networks, seeds, forms)
    between_forms = losses[..., 1] - losses[..., 0]
    between_seeds = losses[:, 1] - losses[:, 0]
    noise = np.sqrt(np.mean(between_seeds**2))
    assert abs(between_forms.mean()) < 2 * noise / np.sqrt(between_forms.size)
    assert np.sqrt(np.mean(between_forms**2)) < 2 * noise
