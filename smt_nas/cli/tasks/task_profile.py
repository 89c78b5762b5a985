"""`profile --task`: costs of detectors and segmenters, by formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from smt_nas.cli import console

if TYPE_CHECKING:
    from smt_nas.costs.heads import HeadEntry

_OF_TASKS = frozenset(("networks", "task", "head", "input_size", "as_json"))


def show_task_costs(
    context: typer.Context,
    networks: Sequence[str],
    head: HeadEntry,
    input_size: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Print the costs of networks with a head.

    Raises:
        ConfigError: an option that has no meaning for a formula, or a size that no network takes.
        UnknownName: a network that is no SMT.
    """
    from smt_nas.arch import load_arch
    from smt_nas.costs.heads import count_task
    from smt_nas.report.profile.task_costs import task_table

    _refuse_other_options(context)
    counted = {name: count_task(load_arch(name), head, None, input_size) for name in networks}
    if as_json:
        rows = [{"network": name, **costs.as_dict()} for name, costs in counted.items()]
        console.show_json({"networks": rows})
        return
    for number, (name, costs) in enumerate(counted.items()):
        if number:
            console.show_text("")
        console.show(task_table(name, costs))


def _refuse_other_options(context: typer.Context) -> None:
    from smt_nas.errors import ConfigError

    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in _OF_TASKS and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(
                f"{parameter.opts[0]}: must be left out with --task, which counts by formula and "
                f"measures nothing (got {context.params[name]}). Drop it; "
                "--input says the size of the image."
            )
