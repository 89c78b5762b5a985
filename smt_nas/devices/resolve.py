"""`resolve`: the one grammar of devices, everywhere a device is named.

    cpu  gpu  cuda  cuda:1                     of this machine
    a100  RTX 4090  A100-SXM4-80GB  Tesla T4   a sheet, by any of its names (`registry.load_sheet`)
    sheets/mine.yaml                           a sheet of one's own

Conditions stand after it in budgets and in `search --device`: `a100:b8:fp16` (`parse_device`).
"""

from __future__ import annotations

import re
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.budgets import Target, parse_target, spell_device
from smt_nas.conditions import Precision
from smt_nas.devices.registry import (
    all_sheets,
    load_sheet,
    local_sheet,
    local_sheets,
    locate,
)
from smt_nas.devices.sheet import Kind, Sheet
from smt_nas.errors import ConfigError, MeasurementError

CPU, GPU = "cpu", "gpu"
_OWN = re.compile(r"cpu|gpu|cuda(?::(?P<index>[0-9]+))?")


class DeviceRef(BaseModel):
    """A device that was named. Kept in run.yaml, all but its sheet.

    Attributes:
        label: what the user wrote, in one word.
        device: key of its sheet; empty where there is none.
        name: as its maker calls it.
        kind: `gpu` or `cpu`.
        here: as torch names it where this machine has it, `cpu` or `cuda:0`; None where it is not
            here. Whether torch can use it is for torch to say (`runtime.torch_device`).
        precisions: those it can compute in.
        sheet: what it can do; None where NVML does not tell, and of a device read from a file.
        reason: why there is no sheet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    device: str
    name: str
    kind: Kind
    here: str | None
    precisions: tuple[Precision, ...]
    sheet: Sheet | None = Field(default=None, exclude=True, repr=False)
    reason: str = Field(default="", exclude=True, repr=False)

    @classmethod
    def of_sheet(cls, label: str, sheet: Sheet, here: str | None) -> DeviceRef:
        """A device that a sheet describes."""
        return cls(
            label=label,
            device=sheet.key,
            name=sheet.name,
            kind=sheet.kind,
            here=here,
            precisions=tuple(p for p in get_args(Precision) if sheet.peak(p) is not None),
            sheet=sheet,
        )

    @property
    def is_own(self) -> bool:
        """Whether it was named as this machine's, not by what it is."""
        return _OWN.fullmatch(self.label) is not None

    def require_sheet(self) -> Sheet:
        """Its sheet. Raises MeasurementError where there is none."""
        if self.sheet is None:
            raise MeasurementError(self.reason)
        return self.sheet

    def require_here(self) -> str:
        """As torch names it. Raises MeasurementError where this machine does not have it."""
        if self.here is None:
            raise MeasurementError(
                f"{self.label}: is not in this machine (it has {', '.join(local_sheets())}). Name "
                "one of these, or run this where the device is."
            )
        return self.here


def resolve(text: str | None = None) -> DeviceRef:
    """The device that a user means.

    Args:
        text: as in the grammar above; None for this machine's GPU, else its CPU.

    Raises:
        UnknownName: no such device; tells the three nearest.
        ConfigError: the file is no sheet, several devices bear the name, or conditions follow it.
        MeasurementError: it is a slice of a GPU.
    """
    if text is None:
        gpu = resolve(GPU)
        return resolve(CPU) if gpu.sheet is None else gpu
    label = spell_device(text)
    own = _OWN.fullmatch(label)
    if own is not None:
        return _resolve_own(label, CPU if label == CPU else f"cuda:{int(own['index'] or 0)}")
    _refuse_conditions(label)
    sheet = load_sheet(text.strip())
    return DeviceRef.of_sheet(label, sheet, locate(sheet))


def parse_device(text: str) -> Target:
    """Read `a100:b8:fp16`: a device for `resolve`, and conditions; None where left open.

    Raises:
        ConfigError: a part that is none of these, or one of them twice.
    """
    target = parse_target(text)
    device, batch = split_batch(target.device, target.batch)
    return target._replace(device=device, batch=batch)


def split_batch(device: str | None, batch: int | None) -> tuple[str | None, int | None]:
    """Device and batch of a target: `b200` alone is the GPU; after a device it is a batch."""
    word = f"b{batch}"
    if device is None and batch is not None and any(word in s.names for s in all_sheets()):
        return word, None
    return device, batch


def _resolve_own(label: str, device: str) -> DeviceRef:
    try:
        return DeviceRef.of_sheet(label, local_sheet(device), device)
    except MeasurementError as error:  # torch may use a GPU that NVML does not describe
        return DeviceRef(
            label=label,
            device="",
            name=label,
            kind="gpu",
            here=device,
            precisions=(),
            reason=str(error),
        )


def _refuse_conditions(label: str) -> None:
    """Where a device stands alone, what follows it would be passed over."""
    try:
        target = parse_target(label)
    except ConfigError:  # no conditions, then: a name that nobody bears
        return
    if target.device is not None and any(part is not None for part in target[1:]):
        raise ConfigError(
            f"device: must stand alone here (got {label!r}). Name {target.device}: conditions "
            "follow a device in budgets and in `search --device`, elsewhere they are options."
        )
