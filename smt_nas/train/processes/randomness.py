"""Randomness by key: what is drawn depends on the seed and the place alone.

The libraries underneath draw from global generators. They are seeded anew for every update and for
every image, so a training that was killed and resumed, or that reads with other workers, draws the
same numbers; nothing of a generator needs to be stored.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch

from smt_nas.runtime.torch_settings import keep_random_state

ORDER, IMAGE, UPDATE, WEIGHTS, SPLIT, AUGMENT, NETWORKS = range(7)
"""What a key is for; the number after the seed, so that no two uses share a stream."""


def seed_all(*key: int) -> None:
    """Seed Python's, NumPy's and torch's global generators by a key."""
    torch.manual_seed(seed_cpu(*key))


def seed_cpu(*key: int) -> int:
    """Like `seed_all`, but torch's generators of GPUs are left as they are: 20 times as fast.

    It is called for every image, so the key is hashed by what is quickest.

    Returns: the seed of torch's.
    """
    packed = struct.pack(f"<{len(key)}Q", *key)
    first, second, third = struct.unpack("<3I", blake2b(packed, digest_size=12).digest())
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(third)
    return int(third)


def make_generator(*key: int) -> torch.Generator:
    """A generator of torch's, on the CPU, of its own."""
    return torch.Generator().manual_seed(derive_seed(*key))


def derive_seed(*key: int) -> int:
    """A seed below 2**63 for a generator of its own."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return int(state[0] >> 1)


@contextmanager
def preserve_generators(device: torch.device) -> Iterator[None]:
    """Put the global generators back after a block, as the caller left them."""
    python, numpy = random.getstate(), np.random.get_state()
    with keep_random_state(device):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
