"""`DeviceName`: how people, data sheets and drivers spell a device, as one value to compare.

    RTX 4090 · rtx4090 · NVIDIA GeForce RTX 4090              rtx 4090
    A100-SXM4-80GB · NVIDIA A100 SXM4 80 GB                   a100, form sxm4, 80 GB
    NVIDIA H100 80GB HBM3                                     h100, 80 GB, memory hbm3
    GPU 0: NVIDIA L40S (UUID: GPU-…)                          l40s

Makers' words do not tell devices apart and are dropped. Every other word counts: an RTX 4090 Laptop
is no RTX 4090. The form, the size and the kind of memory tell variants of one model apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIGNS = re.compile(r"\((?:r|tm|c)\)|[®™©]")
_LISTED = re.compile(r"^\W*gpu\W+[0-9]+\W*:|\(\W*uuid\W*:[^)]*\)?\s*$")  # by `nvidia-smi -L`
_ON_BUS = re.compile(r"^.*\bcorporation\b[^\[]*\[([^\]]+)\].*$")  # by `lspci`
_KIT = re.compile(r"\b(?:engineering reference )?(?:developer kit|devkit)\b")
_GLUED = (  # what some write as one word
    (re.compile(r"\brtx(?=pro|[0-9])"), "rtx "),
    (re.compile(r"\bpro(?=[0-9])"), "pro "),
    (re.compile(r"(?<=[0-9])(?=sxm|pcie|max)"), " "),
    (re.compile(r"\bmax q\b"), "maxq"),
    (re.compile(r"\b([0-9]+) ?g(?:i?b)?\b"), r"\1gb"),
)
_EMPTY_WORDS = frozenset(
    ("nvidia", "geforce", "tesla", "quadro", "gpu", "tensor", "core", "generation")
)
_FORM = re.compile(r"sxm[0-9]?|pcie")
_MEMORY = re.compile(r"([0-9]+)gb")
_MEMORY_KIND = re.compile(r"hbm[0-9]?e?|gddr[0-9]x?")
_SLICE = re.compile(r"\smig\s.*")


def make_key(*words: str) -> str:
    """A name that can stand in a budget and in a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).casefold()).strip("-")[:40].rstrip("-")


@dataclass(frozen=True)
class DeviceName:
    """A name, taken apart.

    Attributes:
        model: its words in order, without those below.
        form: `pcie`, `sxm` or `sxm4`; None where the name does not say.
        memory_gb: of one board.
        memory_kind: e.g. `hbm3`.
        mig: it is of a slice of a GPU (multi-instance GPU).
    """

    model: tuple[str, ...]
    form: str | None = None
    memory_gb: int | None = None
    memory_kind: str | None = None
    mig: bool = False

    @classmethod
    def parse(cls, text: str) -> DeviceName:
        """Take a name apart; any text has one."""
        bare = _ON_BUS.sub(r"\1", _LISTED.sub(" ", text.casefold()))
        plain = " ".join(re.findall(r"[a-z0-9]+", _SIGNS.sub(" ", bare)))
        whole = _KIT.sub("", _SLICE.sub("", f"{plain} ")).strip()
        for pattern, spelling in _GLUED:
            whole = pattern.sub(spelling, whole)
        form = memory_gb = memory_kind = None
        model = []
        for word in whole.split():
            if _FORM.fullmatch(word):
                form = word
            elif size := _MEMORY.fullmatch(word):
                memory_gb = int(size[1])
            elif _MEMORY_KIND.fullmatch(word):
                memory_kind = word
            elif word not in _EMPTY_WORDS:
                model.append(word)
        return cls(tuple(model), form, memory_gb, memory_kind, mig=" mig " in f" {plain} ")

    @property
    def whole(self) -> DeviceName:
        """The same of the GPU that it is a slice of."""
        return DeviceName(self.model, self.form, self.memory_gb, self.memory_kind)

    @property
    def spelling(self) -> str:
        """All of it in one spelling, for the distance between names."""
        size = None if self.memory_gb is None else f"{self.memory_gb}gb"
        words = (*self.model, self.form, size, self.memory_kind)
        return " ".join(word for word in words if word is not None)


def is_named(wanted: DeviceName, names: list[DeviceName], memory_gb: float | None) -> bool:
    """Whether a device of these names is meant: the same model, and nothing that contradicts.

    Args:
        wanted: what somebody wrote; the order of its words does not count.
        names: of the device.
        memory_gb: of the device, as sold.
    """
    models = [sorted(name.model) for name in names]
    if not wanted.model or wanted.mig or sorted(wanted.model) not in models:
        return False
    sizes = {name.memory_gb for name in names} | {None if memory_gb is None else round(memory_gb)}
    kinds = {name.memory_kind for name in names} - {None}
    return (
        (wanted.memory_gb is None or wanted.memory_gb in sizes)
        and (wanted.memory_kind is None or not kinds or wanted.memory_kind in kinds)
        and _has_form(wanted.form, {name.form for name in names if name.form is not None})
    )


def _has_form(wanted: str | None, forms: set[str]) -> bool:
    """Whether a device of these forms may have this one; a card of no form is a PCIe card."""
    if wanted is None or wanted in forms:
        return True
    if not forms:
        return wanted == "pcie"
    sockets = {form for form in forms if form.startswith("sxm")}
    return wanted.startswith("sxm") and (wanted == "sxm" or sockets == {"sxm"}) and bool(sockets)
