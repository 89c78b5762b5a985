"""Quantities and budgets: the text a user writes after `--budget`, and what it means.

    2.4GFLOPs  2.0..2.4GMACs  12Mparams  30Mactivations  2GB           amounts
    5ms  5ms@a100:b1:fp16  1500img/s@RTX 4090  5ms@cuda:1:graph        predicted for a device
    smt_t  0.9*smt_s  0.8..0.9*smt_s  0.8*smt_t.latency                shares of a preset's figure

One multiply-accumulate is 1 FLOP, so GFLOPs and GMACs mean the same. 1 GB is 1000 MB. Units are
read in any case; `M` is always mega. One amount is a ceiling, or a floor where more is better.
`parse_budget(str(budget)) == budget`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from smt_nas.arch import PRESETS
from smt_nas.errors import ConfigError, did_you_mean
from smt_nas.files import looks_like_path
from smt_nas.metrics import METRICS

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp-fp16", "amp-bf16")
MODES = ("eager", "compile", "graph", "fused", "onnx", "openvino")
MAX_TEXT = 256  # longer than any budget's canonical form
MAX_BATCH = 65_536

_PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_COUNTS = {"FLOPs": "macs", "MACs": "macs", "params": "params", "activations": "activations"}
_UNITS: dict[str, tuple[str, Decimal]] = {  # unit -> metric, its size in the metric's base unit
    **{
        prefix + noun: (metric, Decimal(f"1e{power}"))
        for noun, metric in _COUNTS.items()
        for prefix, power in _PREFIXES.items()
    },
    **{f"{p}B": ("peak_memory_mb", Decimal(f"1e{_PREFIXES[p] - 6}")) for p in "kMGT"},
    "us": ("latency_ms", Decimal("1e-3")),
    "ms": ("latency_ms", Decimal(1)),
    "s": ("latency_ms", Decimal("1e3")),
    "img/s": ("throughput_ips", Decimal(1)),
    "kimg/s": ("throughput_ips", Decimal("1e3")),
}
_SPELLINGS = {u.casefold(): u for u in _UNITS} | {
    (prefix + noun).casefold().removesuffix("s"): prefix + noun
    for noun in _COUNTS
    for prefix in _PREFIXES
}
_FIGURES = {  # the word after `smt_t.` -> metric
    "flops": "macs",
    "macs": "macs",
    "params": "params",
    "activations": "activations",
    "memory": "peak_memory_mb",
    "latency": "latency_ms",
    "throughput": "throughput_ips",
}
_WORDS = {metric: word for word, metric in _FIGURES.items()}
_PREDICTED = ("latency_ms", "throughput_ips")
_ON_DEVICE = (*_PREDICTED, "peak_memory_mb")

_NUMBER = r"[+-]?(?:(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?|nan|inf(?:inity)?)"
_AMOUNTS = re.compile(
    rf"({_NUMBER})(?:\s*\.\.\s*({_NUMBER}))?\s*(.*)", re.ASCII | re.IGNORECASE | re.DOTALL
)
_PRECISION_LIKE = re.compile(r"(amp-?)?(fp|bf|tf|int)[0-9]*")
_DEVICE = re.compile(r"(?!b[0-9]+$)(?:[a-z0-9][a-z0-9._()+-]{0,79}|cuda:[0-9]+)")
_LEAST, _MOST, _DIGITS = Decimal("1e-9"), Decimal("1e18"), 20


@dataclass(frozen=True)
class Limit:
    """What a budget allows, in the metric's base unit; None where that side is open."""

    metric: str
    low: float | None
    high: float | None

    def holds(self, value: float | None) -> bool:
        """Tell whether a value is inside; one that was not measured never is."""
        if value is None:
            return False
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """Spell the limit in the unit that suits it, e.g. `at most 20 MMACs`."""
        describe = METRICS[self.metric].describe
        if self.high is None:
            return "any" if self.low is None else f"at least {describe(self.low)}"
        if self.low is None:
            return f"at most {describe(self.high)}"
        return f"{describe(self.low)} to {describe(self.high)}"


@dataclass(frozen=True)
class Budget:
    """One budget as it was written. Made by `parse_budget`.

    Attributes:
        metric: name in METRICS.
        amounts: one, or the two ends of a range: in `unit`, or as shares of the preset's figure.
        unit: canonical unit of the amounts; None where they are shares of a preset's figure.
        preset: name in PRESETS; None where the amounts have a unit.
        device: the figure is for, as `spell_device` gives it; None for this machine.
        batch: images per forward; None for the default.
        precision: one of PRECISIONS; None for the default.
        mode: the form, one of MODES; None for the default.
    """

    metric: str
    amounts: tuple[Decimal, ...]
    unit: str | None = None
    preset: str | None = None
    device: str | None = None
    batch: int | None = None
    precision: str | None = None
    mode: str | None = None

    @property
    def low(self) -> float | None:
        """Lower limit in the metric's base unit; None where open, or relative to a preset."""
        return None if self.unit is None else self._limit(_UNITS[self.unit][1]).low

    @property
    def high(self) -> float | None:
        """Upper limit in the metric's base unit; None where open, or relative to a preset."""
        return None if self.unit is None else self._limit(_UNITS[self.unit][1]).high

    @property
    def needs_prediction(self) -> bool:
        """Whether no formula can answer it: a latency, a throughput, or a figure on a device."""
        target = (self.device, self.batch, self.precision, self.mode)
        return self.metric in _PREDICTED or any(part is not None for part in target)

    def _limit(self, size: Decimal) -> Limit:
        """The limit where one unit of the amounts is `size` base units."""
        ends = [float(amount * size) for amount in self.amounts]
        if len(ends) == 2:
            return Limit(self.metric, *ends)
        floor = METRICS[self.metric].direction == "max"
        return Limit(self.metric, ends[0], None) if floor else Limit(self.metric, None, ends[0])

    def __str__(self) -> str:
        """Write the canonical text, e.g. `2.0..2.4GFLOPs` or `0.8*smt_t.latency@a100:b1`."""
        text = "..".join(f"{amount:f}" for amount in self.amounts)
        if self.preset is not None:
            text = self.preset if self.amounts == (Decimal(1),) else f"{text}*{self.preset}"
            text += "" if self.metric == "macs" else f".{_WORDS[self.metric]}"
        batch = None if self.batch is None else f"b{self.batch}"
        parts = (self.device, batch, self.precision, self.mode)
        target = ":".join(p for p in parts if p is not None)
        return f"{text}{self.unit or ''}{'@' if target else ''}{target}"


def parse_budget(text: str) -> Budget:
    """Read one budget.

    Raises:
        ConfigError: `budget '2.4GFLOP5': unknown unit …`, in one line with a way out.
    """
    shown = text if len(text) <= 48 else f"{text[:45]}..."
    try:
        if len(text) > MAX_TEXT:
            raise ConfigError(f"is too long (got {len(text)} characters). Write e.g. 2.4GFLOPs.")
        return _read_budget(" ".join(text.split()))
    except ConfigError as error:
        raise ConfigError(f"budget {shown!r}: {error}") from None


def resolve_budget(budget: Budget, preset_value: Callable[[str, str], float]) -> Limit:
    """Give a budget's limits as numbers.

    Args:
        budget: what to resolve.
        preset_value: figure of a preset, by preset name and metric name, in base units; asked
            only where the budget is relative.
    """
    if budget.preset is not None:
        return budget._limit(Decimal(float(preset_value(budget.preset, budget.metric))))
    return Limit(budget.metric, budget.low, budget.high)


def describe_macs(macs: float, attention_macs: float | None = None) -> str:
    """Say what a MAC count means, e.g. `2.46 GMACs (4.92 GFLOP at 2 FLOPs per MAC)`.

    With `attention_macs`, also the figure of counters that hook modules and so miss the attention
    matmuls.
    """
    prefix = next((p for p in "TGMk" if macs >= 10 ** _PREFIXES[p]), "")
    per = 10 ** _PREFIXES[prefix]
    text = f"{macs / per:.2f} {prefix}MACs ({2 * macs / per:.2f} {prefix}FLOP at 2 FLOPs per MAC"
    if attention_macs is not None:
        text += f"; {(macs - attention_macs) / per:.2f} where attention matmuls are not counted"
    return text + ")"


def _read_budget(text: str) -> Budget:
    """Read a text on one line; complaints do not name it yet."""
    if not text:
        raise ConfigError("is empty. Write e.g. 2.4GFLOPs, 12Mparams or 0.9*smt_s.")
    if "," in text:
        raise ConfigError(
            "a comma has no place in a budget. Write decimals as in 2.4GFLOPs, and repeat "
            "--budget for several."
        )
    body, at, target = text.partition("@")
    body = body.strip()
    parsed = _AMOUNTS.fullmatch(body)
    if "*" in body or parsed is None:
        metric, amounts, preset = _read_relative(body)
        unit = None
    else:
        amounts = _read_amounts(*parsed.groups())
        unit = _read_unit(parsed[3], body)
        metric, preset = _UNITS[unit][0], None
    if at and metric not in _ON_DEVICE:
        raise ConfigError(f"{metric} is the same on every device. Drop '@{target}'.")
    return Budget(metric, amounts, unit, preset, *(parse_target(target) if at else Target()))


def _read_relative(body: str) -> tuple[str, tuple[Decimal, ...], str]:
    """Read `0.8..0.9*smt_t.latency`: metric, shares, preset."""
    share, star, figure = body.rpartition("*")
    name, dot, word = (part.strip().casefold() for part in figure.partition("."))
    amounts: tuple[Decimal, ...] = (Decimal(1),)
    if star:
        parsed = _AMOUNTS.fullmatch(share.strip())
        if parsed is None or parsed[3]:
            raise ConfigError(f"the share must be a number (got {share!r}). Write 0.9*smt_s.")
        amounts = _read_amounts(parsed[1], parsed[2], f"*{figure}")
    if name not in PRESETS:
        what = f"unknown preset {name!r}" if star else f"{body!r} is neither an amount nor a preset"
        known = ", ".join(sorted(PRESETS))
        raise ConfigError(f"{what}. Known: {known}. {did_you_mean(name, PRESETS)}".rstrip())
    if dot and word not in _FIGURES:
        known = f"Known: {', '.join(_FIGURES)}. {did_you_mean(word, _FIGURES)}".rstrip()
        raise ConfigError(f"unknown figure {word!r} of a preset. {known}")
    return _FIGURES[word or "macs"], amounts, name


def _read_amounts(first: str, second: str | None, rest: str) -> tuple[Decimal, ...]:
    """Read one amount or the two ends of a range; `rest` is what follows."""
    if second is None:
        return (_read_amount(first),)
    low, high = _read_amount(first), _read_amount(second)
    if low > high:
        raise ConfigError(f"a range goes from low to high. Did you mean '{second}..{first}{rest}'?")
    return low, high


def _read_amount(text: str) -> Decimal:
    """Read a number that can be a limit."""
    try:
        amount = Decimal(text)
    except InvalidOperation:  # an exponent beyond what decimal stores
        amount = Decimal("NaN")
    if not amount.is_finite() or not _LEAST <= amount <= _MOST:
        raise ConfigError(
            f"the amount must be above 0, from 1e-9 to 1e18 (got {text}). Write e.g. 2.4GFLOPs."
        )
    if len(amount.as_tuple().digits) > _DIGITS:
        raise ConfigError(f"the amount must have at most {_DIGITS} digits. Round it.")
    return amount


def _read_unit(text: str, body: str) -> str:
    """Look up the canonical unit of what stands after the amounts."""
    amount = body[: len(body) - len(text)].strip()
    if text.casefold() in _SPELLINGS:
        return _SPELLINGS[text.casefold()]
    guess = {"": "GFLOPs", "g": "GFLOPs", "m": "Mparams", "k": "kparams", "t": "TFLOPs"}
    if text.casefold() in guess:
        raise ConfigError(f"needs a unit. Did you mean '{amount}{guess[text.casefold()]}'?")
    if text.casefold().partition(".")[0] in PRESETS:
        raise ConfigError(f"a share needs a star. Did you mean '{amount}*{text}'?")
    known = "GFLOPs, GMACs, Mparams, Mactivations, MB, GB, ms, img/s"
    hint = did_you_mean(text, _UNITS)
    raise ConfigError(f"unknown unit {text!r}. Known: {known}. {hint}".rstrip())


class Target(NamedTuple):
    """A device and the conditions after it; None where left open."""

    device: str | None = None
    batch: int | None = None
    precision: str | None = None
    mode: str | None = None


def parse_target(text: str) -> Target:
    """Read `a100:b1:fp16:graph`, in any order.

    The device is any word that could be one: `devices.resolve` knows which there are. Of two words
    such as `b200:b8` the first is the device.

    Raises:
        ConfigError: a part that is none of the four, or one of them twice.
    """
    device, batch, precision, mode = Target()
    for part in _split_target(text):
        is_batch = re.fullmatch(r"b[0-9]+", part) is not None
        if is_batch and batch is not None and device is None:
            device, batch = f"b{batch}", None
        if is_batch and batch is None:
            batch = int(part[1:])
            if not 1 <= batch <= MAX_BATCH:
                raise ConfigError(f"the batch must be from 1 to {MAX_BATCH} (got {batch}).")
        elif part in PRECISIONS and precision is None:
            precision = part
        elif part in MODES and mode is None:
            mode = part
        elif _PRECISION_LIKE.fullmatch(part) and part not in PRECISIONS:
            known = f"Known: {', '.join(PRECISIONS)}. {did_you_mean(part, PRECISIONS)}".rstrip()
            raise ConfigError(f"unknown precision {part!r}. {known}")
        elif _could_be_device(part) and device is None:
            device = part
        else:
            rule = "a target is a device, a batch, a precision and a form, each once"
            raise ConfigError(f"{rule} (got {part!r}). Write e.g. a100:b1:fp16.")
    return Target(device, batch, precision, mode)


def spell_device(text: str) -> str:
    """A device in one word, `rtx-4090` for `RTX 4090`; a path to a sheet stays as it is."""
    plain = text.strip()
    word = plain if looks_like_path(plain) else "-".join(plain.casefold().split())
    return re.sub(r"^cuda:0+(?=[0-9])", "cuda:", word)


def _split_target(text: str) -> list[str]:
    """The words between colons; `cuda:1` is one."""
    words: list[str] = []
    for word in map(spell_device, text.split(":")):
        if words and words[-1] == "cuda" and word.isdecimal():
            words[-1] = spell_device(f"cuda:{word}")
        else:
            words.append(word)
    return words


def _could_be_device(word: str) -> bool:
    if looks_like_path(word):
        return True
    return word not in (*PRECISIONS, *MODES) and bool(_DEVICE.fullmatch(word))
