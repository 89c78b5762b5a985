"""A deployed file made ready to be timed: a `Runnable` like a network's, run by its own runtime.

The rules are those of `prepare`: inputs that rotate, as many threads as the conditions say, nothing
but the call inside the time. The form of the conditions means nothing to a file.
"""

from __future__ import annotations

import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError, one_line
from smt_nas.profilers.memory_estimate import image_shape
from smt_nas.profilers.network_loader import Network
from smt_nas.runtime.backends import LoadedGraph, find_backend, load_graph
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.torch_settings import apply_torch_settings

_SETS = 4  # inputs that rotate, as on a CPU always


class DeployedRunnable:
    """A deployed file under conditions."""

    def __init__(self, network: Network, conditions: Conditions, device: str) -> None:
        assert network.file is not None
        self.name = network.name
        self.device = "cpu"
        self.conditions = conditions
        self.compile_ms: float | None = None
        _check(network, conditions, device)
        threads = conditions.threads or available_cores()
        self._graph: LoadedGraph | None = load_graph(network.file, threads, conditions.precision)
        self.runtime = self._graph.describe()
        shape = image_shape(network, conditions)
        try:
            self._graph.check_shape(shape)
        except MeasurementError as error:
            raise MeasurementError(
                f"{network.name}: {error}. Choose --batch and --image-size so, or export it anew."
            ) from error
        first = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self._images = [first.roll(i, dims=-1).numpy() for i in range(_SETS)]
        self._turn = 0

    def first(self) -> None:
        """The first call."""
        try:
            self()
        except Exception as error:  # runtimes have errors of their own
            raise MeasurementError(
                f"{self.name} {self.conditions} on {self.device}: cannot be run (got "
                f"{one_line(error)}). Export it again."
            ) from error

    def __call__(self) -> None:
        """One call on the next input."""
        assert self._graph is not None, "called after close"
        images = self._images[self._turn]
        self._turn = (self._turn + 1) % len(self._images)
        with apply_torch_settings(self.conditions, torch.device("cpu")):
            self._graph.call(images)

    def close(self) -> None:
        """Give the memory back."""
        self._graph, self._images = None, []


def _check(network: Network, conditions: Conditions, device: str) -> None:
    """Refuse conditions that a file cannot be run under. Raises MeasurementError."""
    assert network.file is not None
    backend = find_backend(network.file)
    refused = {
        f"--gpu {device}: is not for a deployed file, which runs on the CPU": device != "cpu",
        f"--form {conditions.mode}: is not for a deployed file": conditions.mode != "eager",
        "--channels-last: is not for a deployed file": conditions.channels_last,
        "--train: is not for a deployed file": conditions.train,
        f"--threads {conditions.threads}: its runtime takes its own number of threads": (
            backend is not None
            and not backend.sets_threads
            and conditions.threads not in (None, available_cores())
        ),
    }
    for reason, is_so in refused.items():
        if is_so:
            raise MeasurementError(f"{network.name}: {reason}. Leave it out.")
