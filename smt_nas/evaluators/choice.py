"""`EvaluatorChoice`: an evaluator by its name and its config, as settings and run.yaml have it.

A choice is small, can be compared, and is what travels to worker processes: each makes its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.evaluators.configs import EvaluatorConfig
from smt_nas.evaluators.entries import EVALUATORS, EvaluatorEntry, default_evaluator
from smt_nas.yaml import validated

if TYPE_CHECKING:
    from smt_nas.evaluators.base import Evaluator

_TARGET = "target"  # field of a config that users write as the evaluator itself: mypkg.mymod:fn
_IMPLIED = ("seed", _TARGET)  # fields that no option of their own sets
_MADE = 4  # evaluators that a worker keeps


class EvaluatorChoice(BaseModel):
    """Which evaluator, and what is said to it.

    Reads a plain word too: a name of EVALUATORS, or `mypkg.mymod:fn`. Any other word is that of an
    evaluator which a program handed in, and is written so.

    Attributes:
        name: of EVALUATORS, or that of an evaluator which was handed in.
        config: of the entry's config model; None where it has none.
        handed_in: made by a program; the registry cannot make it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: EvaluatorConfig | None = None
    handed_in: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_word(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, config = _split_word(value)
        entry = EVALUATORS.get(name)
        if entry is None or set(entry.needs) - config.keys():
            return {"name": value, "handed_in": True}
        return {"name": name, "config": config or None}

    @field_validator("config", mode="before")
    @classmethod
    def _read_config(cls, value: Any, info: ValidationInfo) -> Any:
        entry = EVALUATORS.get(info.data.get("name", ""))
        if value is None or entry is None or isinstance(value, BaseModel):
            return value
        if entry.config is None:
            raise ValueError(f"evaluator {info.data['name']} takes no config. Drop it.")
        return validated(entry.config, value, f"evaluator {info.data['name']}")

    @model_validator(mode="after")
    def _fits_its_entry(self) -> Self:
        entry = EVALUATORS.get(self.name)
        if self.handed_in or entry is None:
            return self
        if self.config is None and entry.needs:
            raise ValueError(f"evaluator {self.name}: {entry.needs[0]} is missing. Add it.")
        return self

    @model_serializer
    def _write(self) -> Any:
        if self.handed_in:
            return {"name": self.name, "handed_in": True}
        return self.name if self.config is None else {"name": self.name, "config": self.given}

    @property
    def entry(self) -> EvaluatorEntry:
        """Its row.

        Raises:
            ConfigError: a program handed it in.
            UnknownName: there is none of that name.
        """
        if self.handed_in and self.name in EVALUATORS:
            raise ConfigError(f"evaluator {self.name}: was handed in by a program (got none).")
        return find_entry(self.name)

    @property
    def given(self) -> dict[str, Any]:
        """What was said to it, as JSON has it; defaults that nobody named are left out."""
        if self.config is None:
            return {}
        return self.config.model_dump(mode="json", exclude_unset=True)

    @property
    def training(self) -> dict[str, Any]:
        """What was said beside how it is written: the trainings of one that trains."""
        own = (_TARGET, _find_argument(self.name))
        return {name: value for name, value in self.given.items() if name not in own}

    @property
    def word(self) -> str:
        """How a user writes it: its name, the function's, or `supernet:RUN`."""
        argument = _find_argument(self.name)
        if argument and self.config is not None:
            return f"{self.name}:{getattr(self.config, argument)}"
        return str(getattr(self.config, _TARGET, self.name))

    @property
    def kind(self) -> str:
        """What the trials of a study depend on beside the fingerprint: no folder that may move."""
        return self.name if _find_argument(self.name) else self.word

    @property
    def options(self) -> tuple[str, ...]:
        """Options that say something to it, e.g. `--data`."""
        fields = set() if self.config is None else self.config.model_fields_set
        implied = (*_IMPLIED, _find_argument(self.name))
        return tuple(flag(name) for name in sorted(fields) if name not in implied)


def find_entry(name: str) -> EvaluatorEntry:
    """The row of a name. Raises UnknownName, with the nearest."""
    if name not in EVALUATORS:
        raise _unknown(name)
    return EVALUATORS[name]


def make_evaluator(choice: EvaluatorChoice | str) -> Evaluator:
    """Make an evaluator, by its choice or by a word: `joint`, `mypkg.mymod:fn`.

    Raises:
        UnknownName: no such evaluator.
        ConfigError: it needs to be told more, or what it was told is not allowed.
    """
    if isinstance(choice, str):
        choice = choose_evaluator(choice)
    return choice.entry.make(choice.config)


@lru_cache(_MADE)
def worker_evaluator(choice: EvaluatorChoice) -> Evaluator:
    """The evaluator of a worker process, made once."""
    return make_evaluator(choice)


def choose_evaluator(
    word: str | None = None, options: Mapping[str, Any] | None = None, seed: int = 0
) -> EvaluatorChoice:
    """The evaluator that a user means.

    Args:
        word: name of EVALUATORS, or `mypkg.mymod:fn`; None for what the options mean, or the
            default.
        options: by field of config; None, or left out, where not given.
        seed: of evaluators that take one.

    Raises:
        UnknownName: no such evaluator.
        ConfigError: an option that is not for it, one that it needs, or a value that is not
            allowed.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    name, config = _split_word(word or _chosen_by(given))
    entry = find_entry(name)
    if entry.written and not config:
        raise _lacks_argument(name, entry) if entry.argument else _unknown(name)
    for option in given:
        if not entry.takes(option):
            raise ConfigError(_not_for(option, name, word is not None))
    for field in entry.needs:
        if field not in {**config, **given}:
            raise ConfigError(_lacks(name, entry, field))
    if entry.config is None or not (config or given or entry.needs):
        return EvaluatorChoice(name=name)
    if entry.takes("seed"):
        config["seed"] = seed
    return EvaluatorChoice(name=name, config=validated(entry.config, config | given, "search"))


def flag(field: str) -> str:
    """The option that sets a field of a config: `--image-size`."""
    return f"--{field.replace('_', '-')}"


def list_evaluators(names: Iterable[str]) -> str:
    """`joint, supernet:RUN, or your own function, mypkg.mymod:fn`: as users write them."""
    entries = [(name, EVALUATORS[name]) for name in names]
    plain = [entry.written or name for name, entry in entries if _is_plain(entry)]
    others = [entry.written for _, entry in entries if not _is_plain(entry)]
    return ", ".join([*plain, *(f"or {written}" for written in others)])


def _is_plain(entry: EvaluatorEntry) -> bool:
    """Whether users write its name, with an argument or not."""
    return not entry.written or bool(entry.argument)


def _unknown(name: str) -> UnknownName:
    plain = [entry.written or n for n, entry in EVALUATORS.items() if _is_plain(entry)]
    others = [entry.written for entry in EVALUATORS.values() if not _is_plain(entry)]
    return UnknownName("evaluator", name, plain, f"Or {', '.join(others)}.")


def _find_argument(name: str) -> str:
    """The field that is written after the name and a colon; empty where there is none."""
    entry = EVALUATORS.get(name)
    return "" if entry is None else entry.argument


def _split_word(word: str) -> tuple[str, dict[str, Any]]:
    """Name and config of what a user wrote."""
    if ":" not in word:
        return word, {}
    name, _, value = word.partition(":")
    if argument := _find_argument(name):
        return name, {argument: value} if value else {}
    return next(n for n, e in EVALUATORS.items() if e.takes(_TARGET)), {_TARGET: word}


def _chosen_by(given: Mapping[str, Any]) -> str:
    names = (n for n, e in EVALUATORS.items() if e.chosen_by in given)
    return next(names, default_evaluator())


def _not_for(option: str, name: str, named: bool) -> str:
    owners = {n: e for n, e in EVALUATORS.items() if e.takes(option)}
    where = f"{flag(option)}: is for evaluator {', '.join(owners)}"
    means = next((e.chosen_by for e in owners.values() if e.chosen_by), None)
    if named or means is None or means == option:
        return f"{where} (got {name}). Drop one."
    return f"{where} (got no {flag(means)}). Add it."


def _lacks_argument(name: str, entry: EvaluatorEntry) -> ConfigError:
    assert entry.config is not None
    (example, *_) = entry.config.model_fields[entry.argument].examples or [""]
    return ConfigError(
        f"evaluator {name}: must be written {entry.written} (got {name}). E.g. {name}:{example}."
    )


def _lacks(name: str, entry: EvaluatorEntry, field: str) -> str:
    assert entry.config is not None
    examples = entry.config.model_fields[field].examples or []
    example = f" E.g. `smt-nas search {flag(field)} {examples[0]}`." if examples else ""
    return f"evaluator {name}: needs {flag(field)} (got none).{example}"
