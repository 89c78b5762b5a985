"""`profile`: what a network costs, by formula and by the counters of others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app


class By(StrEnum):
    """What a row of the cost table is."""

    stage = "stage"
    block = "block"


@app.command()
def profile(
    arch: Annotated[str, typer.Argument(help="A preset (smt_t, smt_s, smt_b, smt_l) or a YAML.")],
    image_size: Annotated[
        int | None, typer.Option(help="Pixels of the square input.", min=32, max=2048)
    ] = None,
    by: Annotated[By, typer.Option(help="What a row of the cost table is.")] = By.stage,
    as_json: console.AsJson = False,
) -> None:
    """Show parameters, MACs, activations and memory of a network, and who counts what.

    Example: smt-nas profile smt_b --by block
    """
    from rich.text import Text

    from smt_nas.arch import load_arch
    from smt_nas.profilers import count
    from smt_nas.report.profile import (
        cost_rows,
        costs_table,
        document,
        witness_notes,
        witness_table,
    )

    network = load_arch(arch)
    if image_size is not None:
        network = network.model_copy(update={"image_size": image_size})
    rows, counts = cost_rows(network, by.value), count(network)
    if as_json:
        console.show_json(document(arch, network, rows, counts))
        return
    console.show(costs_table(arch, network, rows))
    console.show(witness_table(network, counts))
    for line in witness_notes(counts):
        console.show(Text(line))
