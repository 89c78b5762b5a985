"""A clock moved by the calls it times, and the noise of a real machine."""

import numpy as np

from smt_nas.conditions import Conditions
from smt_nas.profilers.latency.measurement import WatchReport


class FakeClock:
    """Time passes only when a fake call, stream or reading makes it pass."""

    def __init__(self):
        self.now_ms, self.busy_ms = 0.0, 0.0
        self.queue_end_ms = 0.0
        self.longest_queue_ms = 0.0
        self.waits = 0

    def pass_ms(self, ms, busy=1.0):
        self.now_ms += ms
        self.busy_ms += ms * busy

    def submit(self, launch_ms, device_ms):
        """Put work in the GPU's queue."""
        self.pass_ms(launch_ms)
        self.queue_end_ms = max(self.queue_end_ms, self.now_ms) + device_ms
        self.longest_queue_ms = max(self.longest_queue_ms, self.queue_end_ms - self.now_ms)

    def wall_ns(self):
        return round(self.now_ms * 1e6)

    def cpu_ns(self):
        return round(self.busy_ms * 1e6)

    def date(self):
        return f"2026-01-01T00:00:{self.now_ms / 1e3:09.6f}+00:00"

    def stream(self, device):
        return None if device == "cpu" else FakeStream(self)


class FakeStream:
    """A GPU's queue on a fake clock."""

    def __init__(self, clock):
        self.clock = clock

    def mark(self):
        return max(self.clock.queue_end_ms, self.clock.now_ms)

    def wait(self):
        self.clock.waits += 1
        self.clock.now_ms = max(self.clock.now_ms, self.clock.queue_end_ms)

    def between_ms(self, start, end):
        assert end <= self.clock.now_ms, "read before the GPU got there"
        return end - start


class Noise:
    """What a shared machine does to times: drift, bursts of load, jitter, a heavy tail."""

    def __init__(self, seed, drift=0.002, burst=1.4, jitter=0.02, tail=0.03):
        self.rng = np.random.default_rng(seed)
        self.drift, self.burst, self.jitter, self.tail = drift, burst, jitter, tail
        gaps = self.rng.exponential(4000, 200)  # ms between bursts, and how long they last
        lasts = self.rng.exponential(400, 200)
        self.starts = np.cumsum(gaps + lasts) - lasts
        self.ends = self.starts + lasts

    def factor(self, now_ms):
        factor = 1 + self.drift * now_ms / 1e3
        i = np.searchsorted(self.starts, now_ms) - 1
        if i >= 0 and now_ms < self.ends[i]:
            factor *= self.burst
        factor *= np.exp(self.jitter * self.rng.standard_normal())
        if self.rng.random() < self.tail:
            factor *= 1 + 0.2 * self.rng.pareto(1.5)
        return factor


class Quiet:
    """No noise."""

    def factor(self, now_ms):
        return 1.0


class FakeRunnable:
    """A network that takes `ms`; on a GPU after `launch_ms` of the CPU's."""

    def __init__(
        self, clock, ms, noise=None, name="net", device="cpu", launch_ms=0.0, **conditions
    ):
        self.clock, self.ms, self.noise = clock, ms, noise or Quiet()
        self.name, self.device, self.launch_ms = name, device, launch_ms
        self.conditions = Conditions(**({"threads": 1} if device == "cpu" else {}) | conditions)
        self.compile_ms = None
        self.calls = 0
        self.fails_at = None, None  # call, exception
        self.slow_start = 0  # calls that take twice as long
        self.busy = 1.0  # share of its time that it has a CPU

    def first(self):
        self.clock.pass_ms(20 * self.ms)

    def __call__(self):
        self.calls += 1
        at, error = self.fails_at
        if at is not None and self.calls >= at:
            raise error
        ms = self.ms * self.noise.factor(self.clock.now_ms) * (1 + (self.calls <= self.slow_start))
        if self.device == "cpu":
            self.clock.pass_ms(ms, self.busy)
        else:
            self.clock.submit(self.launch_ms, ms)

    def close(self):
        pass


class FakeWatcher:
    """Sees what it is told to see."""

    def __init__(self, concerns=(), loaded=()):
        self.concerns, self.answers = concerns, iter(loaded)
        self.started = self.stopped = 0

    def start(self):
        self.started += 1

    def saw_load(self):
        return next(self.answers, False)

    def stop(self):
        self.stopped += 1
        return WatchReport(tuple(self.concerns), {"seen": True})
