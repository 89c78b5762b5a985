"""The options of engines: where networks are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from smt_nas.runtime.engines.engine_choice import Workers

_OF_RAY = {"address": "ray_address", "cpus": "trial_cpus", "gpus": "trial_gpus"}


def choose_workers(given: dict[str, Any]) -> Workers:
    """Where networks are evaluated, by the options' names. Raises UnknownName."""
    from smt_nas.errors import UnknownName
    from smt_nas.runtime.engines.engine_choice import DEFAULT, ENGINES, EngineChoice
    from smt_nas.runtime.engines.ray_engine import RayOptions

    name: str = given["engine"]
    workers: int | None = given["workers"]
    options = {field: given[word] for field, word in _OF_RAY.items() if given[word] is not None}
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    for field in options:
        flag = f"--{_OF_RAY[field].replace('_', '-')}"
        if name == DEFAULT:
            raise typer.BadParameter("is for --engine ray (got local). Add it.", param_hint=flag)
        if field != "address" and not 0 <= options[field] < 1e6:
            raise typer.BadParameter("must not be negative.", param_hint=flag)
    return workers if name == DEFAULT else EngineChoice(name, workers, ray=RayOptions(**options))
