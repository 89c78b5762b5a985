"""`Target`: a device and the conditions that a latency is of; which one a user means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from smt_nas.budgets import parse_target
from smt_nas.conditions import Conditions, Precision
from smt_nas.devices.device import Device, load_device, local_device
from smt_nas.devices.registry import is_here
from smt_nas.errors import ConfigError, MeasurementError

CPU, GPU = "cpu", "gpu"  # what this machine's own devices are called
_LOCAL = {CPU: "cpu", GPU: "cuda:0"}
_BATCH = {"throughput_ips": {"gpu": 64, "cpu": 1}}  # by metric and kind; 1 elsewhere


class Place(BaseModel):
    """A device as a search calls it.

    Attributes:
        label: what the user wrote; `cpu` or `gpu` for this machine's own.
        device: key of its sheet.
        name: as its maker calls it.
        kind: `gpu` or `cpu`.
        here: `cpu` or `cuda:0` where this machine is that device; None where it is not.
        precisions: those it can compute in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    device: str
    name: str
    kind: Literal["gpu", "cpu"]
    here: str | None
    precisions: tuple[Precision, ...]


class Target(BaseModel):
    """A device and the conditions under which its latency counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: Place
    conditions: Conditions

    def __str__(self) -> str:
        """Write it as budgets do after `@`, e.g. `a100:b1:fp16`."""
        return f"{self.place.label}:b{self.conditions.batch}:{self.conditions.precision}"

    @property
    def words(self) -> str:
        """Write it for a sentence, e.g. `a100 (b1 fp16)`."""
        return f"{self.place.label} (b{self.conditions.batch} {self.conditions.precision})"


BEFORE_DEVICES = Target(  # of run directories that do not say: all were timed like this
    place=Place(
        label=CPU, device="", name="this CPU", kind="cpu", here="cpu", precisions=("fp32",)
    ),
    conditions=Conditions(threads=1),
)

Find = Callable[[str | None], Place]
"""From what a user wrote, or None for this machine's own device, to the device."""


@dataclass
class Devices:
    """The devices that a search names, each loaded once. A `Find`.

    Attributes:
        loaded: by label.
    """

    loaded: dict[str, Device] = field(default_factory=dict)

    def __call__(self, name: str | None) -> Place:
        """Find a device.

        Raises:
            UnknownName: neither a sheet nor a device of this machine.
            MeasurementError: this machine has no GPU (`gpu`).
        """
        label, device = _device(name)
        self.loaded[label] = device
        sheet = device.sheet
        return Place(
            label=label,
            device=sheet.key,
            name=sheet.name,
            kind=sheet.kind,
            here=_LOCAL.get(label) or is_here(sheet),
            precisions=tuple(p for p in get_args(Precision) if sheet.peak(p) is not None),
        )


def _device(name: str | None) -> tuple[str, Device]:
    """What a user means, with its label; this machine's GPU, else its CPU, by default."""
    if name is None:
        try:
            return _device(GPU)
        except MeasurementError:
            return _device(CPU)
    return name, local_device(_LOCAL[name]) if name in _LOCAL else load_device(name)


@dataclass(frozen=True)
class Default:
    """What `--device` says: where latencies without a device of their own are of.

    Attributes:
        place: the device.
        batch, precision: None where they were left open.
    """

    place: Place
    batch: int | None = None
    precision: str | None = None

    @classmethod
    def read(cls, text: str | None, find: Find) -> Default:
        """Read `a100`, `a100:b8:fp16` or None. Raises ConfigError."""
        device, batch, precision = (None, None, None) if text is None else _parts(text)
        return cls(find(device), batch, precision)

    def target(self, metric: str) -> Target:
        """The target of a metric that names none."""
        return target(self.place, metric, self.batch, self.precision)


def target(place: Place, metric: str, batch: int | None, precision: str | None) -> Target:
    """A target, with what was left open filled in.

    One thread on a CPU: with more, a busy neighbour makes a forward several times slower.

    Raises:
        ConfigError: the device cannot compute in that precision.
    """
    if precision is not None and precision not in place.precisions:
        raise ConfigError(
            f"{place.label}: cannot compute in {precision}. It can: {', '.join(place.precisions)}."
        )
    conditions = Conditions(
        batch=batch or _BATCH.get(metric, {}).get(place.kind, 1),
        precision=precision or "fp32",
        threads=1 if place.kind == "cpu" else None,
    )
    return Target(place=place, conditions=conditions)


def _parts(text: str) -> tuple[str | None, int | None, str | None]:
    try:
        return parse_target(text)
    except ConfigError as error:
        raise ConfigError(f"--device {text}: {error}") from None
