"""`recipes`: how networks are trained."""

from __future__ import annotations

from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app

recipes = typer.Typer(invoke_without_command=True, help="List training recipes, or show one.")
app.add_typer(recipes, name="recipes")


@recipes.callback()
def _list(context: typer.Context, as_json: console.AsJson = False) -> None:
    """List the shipped training recipes."""
    if context.invoked_subcommand is not None:
        return
    from smt_nas.report.train.recipes import recipes_document, recipes_table
    from smt_nas.train.recipe import load_recipe, recipe_names

    shipped = {name: load_recipe(name) for name in recipe_names()}
    if as_json:
        console.show_json(recipes_document(shipped))
    else:
        console.show(recipes_table(shipped))


@recipes.command("show")
def show(
    recipe: Annotated[str, typer.Argument(help="A name of `smt-nas recipes`, or a YAML.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value first: optimizer.lr=1e-3. Repeat."),
    ] = None,
    as_json: console.AsJson = False,
) -> None:
    """Show every value of a recipe, as YAML that `smt-nas train --recipe` reads.

    Example: smt-nas recipes show imagenet1k
    """
    from smt_nas.train.recipe import load_recipe

    values = load_recipe(recipe, change or ())
    if as_json:
        console.show_json({"schema": 1, "name": recipe, "recipe": values.model_dump(mode="json")})
    else:
        console.show_text(values.to_yaml())
