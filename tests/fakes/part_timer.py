"""A machine whose parts take known times: calibrations of it can be judged."""

import functools
import zlib
from collections import Counter

import numpy as np

from smt_nas.costs.parts import decompose
from smt_nas.devices.sheet import Sheet
from smt_nas.profilers.calibration.timer import ChainTimes, NetworkSample
from smt_nas.space import SearchSpace, SpaceConfig

SHEET = Sheet(
    key="fake_cpu", name="Fake CPU", kind="cpu", bandwidth_gbps=10, peak_tflops={"fp32": 0.1}
)
SMALL = SearchSpace(
    SpaceConfig.model_validate(
        {
            "image_size": 64,
            "stages": [
                {
                    "dim": [16, 32],
                    "depth": 1,
                    "kernels": [[3], [5], [3, 5]],
                    "expand_ratio": [1, 2, 3],
                },
                {"dim": 32, "depth": [1, 2], "attention_ratio": 0.5, "heads": 2},
                {"dim": [32, 64], "depth": [1, 3], "attention_ratio": [0, 0.5, 1], "heads": 4},
                {"dim": 64, "depth": 1, "attention_ratio": 1, "mlp_ratio": [1, 2], "heads": 4},
            ],
        }
    ),
    "small",
)
"""Few parts: tracing one takes 10 ms."""


def name(thing):
    return zlib.crc32(str(thing).encode())


class Killed(BaseException):
    """As SIGKILL: nothing may catch it."""


class FakePartTimer:
    """Parts take what their shapes say; networks 3 % more than their sum, and a fixed time.

    Noise: 3 % of scatter, one sample of twelve interrupted, and a machine whose speed wanders by
    +-30 % within some hundred samples. All of it follows from what is measured how often.
    """

    fixed_ms, factor = 0.2, 1.03

    def __init__(self, scatter=0.03, drift=0.3, on_gpu=False):
        self.scatter, self.drift, self.on_gpu = scatter, drift, on_gpu
        self.now, self.turns, self.chains, self.kill_at = 0.0, Counter(), 0, None

    @functools.cache  # noqa: B019  # lives as long as its test
    def part_ms(self, part):
        """A smooth law of the shape, times what no law tells."""
        tokens = part.size[0] * part.size[1]
        width = part.dim * (part.dim_in or part.hidden or part.classes or part.dim)
        work = tokens * (width + part.dim * sum(k * k for k in part.kernels))
        own = 1 + 0.1 * np.random.default_rng(name(part)).uniform(-1, 1)
        return (0.05 + work / 2e7) * own

    def host_part_ms(self, part):
        return 0.1 + 0.01 * len(part.kernels)

    @functools.cache  # noqa: B019
    def network_ms(self, arch):
        """Truth of a whole network, with 1 % that its parts do not tell."""
        parts = Counter(decompose(arch))
        total = sum(n * self.part_ms(p) for p, n in parts.items())
        if self.on_gpu:
            total = max(total, sum(n * self.host_part_ms(p) for p, n in parts.items()))
        own = 1 + 0.01 * np.random.default_rng(name(arch.key)).uniform(-1, 1)
        return (self.factor * total + self.fixed_ms) * own

    def chain(self, parts, conditions):
        if self.chains == self.kill_at:
            raise Killed
        self.chains += 1
        found = self.sample(tuple(parts), conditions, [self.part_ms(p) for p in parts])
        if not self.on_gpu:
            return ChainTimes(found, None, 1 / 12)
        launch = [self.host_part_ms(p) for p in parts]
        return ChainTimes(found, self.sample(("host", *parts), conditions, launch))

    def network(self, arch, conditions):
        return NetworkSample(float(self.sample(arch.key, conditions, [self.network_ms(arch)])[0]))

    def seconds(self):
        return self.now

    def sample(self, what, conditions, ms):
        self.turns[what, conditions] += 1
        rng = np.random.default_rng([name(what), conditions.batch, self.turns[what, conditions]])
        speed = 1 + self.drift * np.sin(self.now / 0.3)
        spikes = np.where(rng.random(len(ms)) < 1 / 12, 3, 1)
        noise = np.exp(self.scatter * rng.normal(size=len(ms))) * spikes
        found = np.array(ms) * conditions.batch * speed * noise
        self.now += 0.004 * found.sum()
        return found
