"""What a search is asked for, as run.yaml keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from smt_nas.evaluators import EvaluatorChoice, default_evaluator
from smt_nas.search.problem.region import Region
from smt_nas.search.stop_rule import ANY_NUMBER, StopRule
from smt_nas.search.strategies import DEFAULT_STRATEGY


class TopTraining(BaseModel):
    """What is trained once a search is done.

    Attributes:
        top: networks of the front; presets stand beside them.
        data: as `load_source` takes it.
        recipe: name or path; None for the one that suits the images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: Annotated[int, Field(ge=1, le=1000)]
    data: str
    recipe: str | None = None


class Settings(BaseModel):
    """What a search is asked for; enough to go on after a crash.

    Attributes:
        space: name of a shipped space, or path of a YAML.
        budgets: what must hold, e.g. `("2.4GFLOPs", "12Mparams")`.
        objectives: names of METRICS; none means the evaluator's up; latency, MACs, params down.
        device: where latencies are of that name no device, e.g. `a100:b8:fp16`; None for this
            machine's GPU, or its CPU where there is none.
        region: `published` where networks must lie in the region of published designs; None until
            it is decided, and in files of before, where they need not.
        strategy: of STRATEGIES.
        batch: networks that are proposed together, from what was known before; None until it is
            decided: by the strategy, and by what an evaluation costs.
        evaluator: of EVALUATORS, with what is said to it; a word is read too, e.g. `capacity` or
            `mypkg.mymod:fn`. None where the objectives are all formulas.
        timeout: seconds that evaluating one network may take; None for any.
        n: networks to try.
        stop: when to stop before these are tried.
        train_top: networks of the front to train in full afterwards; None for none.
        seed: the same seed gives the same search where latencies are predicted for the same device.
        storage: URL for Optuna; None for a SQLite file in the run directory.
        verify: build, count, run and time the front; `prove` in files of before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = "smt"
    budgets: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    device: str | None = None
    region: Region | None = None
    strategy: str = DEFAULT_STRATEGY
    batch: Annotated[int | None, Field(ge=1, le=10_000)] = None
    evaluator: EvaluatorChoice | None = Field(
        default_factory=lambda: EvaluatorChoice(name=default_evaluator())
    )
    timeout: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    n: Annotated[int, Field(ge=1, le=ANY_NUMBER)] = 128
    stop: StopRule = StopRule()
    train_top: TopTraining | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    storage: str | None = None
    verify: Annotated[bool, Field(validation_alias=AliasChoices("verify", "prove"))] = True

    @model_validator(mode="before")
    @classmethod
    def _read_training(cls, values: Any) -> Any:
        """In files of before, what candidates are trained for stands beside the evaluator."""
        if not isinstance(values, Mapping) or "training" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "training"}
        if values["training"] is None:
            return rest
        return rest | {"evaluator": {"name": rest.get("evaluator"), "config": values["training"]}}
