"""`spaces`: which networks are allowed."""

from __future__ import annotations

from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app

spaces = typer.Typer(invoke_without_command=True, help="List search spaces, or show one.")
app.add_typer(spaces, name="spaces")


@spaces.callback()
def _list(context: typer.Context, as_json: console.AsJson = False) -> None:
    """List the shipped search spaces."""
    if context.invoked_subcommand is not None:
        return
    from smt_nas.report.spaces import all_spaces, spaces_table

    rows = all_spaces()
    if as_json:
        console.show_json({"schema": 1, "spaces": rows})
    else:
        console.show(spaces_table(rows))


@spaces.command("show")
def show(
    space: Annotated[str, typer.Argument(help="A name of `smt-nas spaces`, or a YAML.")],
    as_json: console.AsJson = False,
) -> None:
    """Show genes, size, and the range of costs of a space."""
    from smt_nas.report.spaces import costs_table, describe, genes_table

    space_info = describe(space)
    if as_json:
        console.show_json({"schema": 1, **space_info})
        return
    console.show_text(
        f"Space {space_info['name']}: {space_info['size']:.3e} networks. {space_info['about']}"
    )
    console.show(genes_table(space_info))
    console.show(costs_table(space_info))
