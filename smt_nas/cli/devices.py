"""`devices`: which hardware is known. `doctor`: what this machine can measure."""

from __future__ import annotations

from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app

devices = typer.Typer(invoke_without_command=True, help="List devices, or show one's data sheet.")
app.add_typer(devices, name="devices")


@devices.callback()
def _list(context: typer.Context, as_json: console.AsJson = False) -> None:
    """List the devices that latency is predicted for, and which are here."""
    if context.invoked_subcommand is not None:
        return
    from smt_nas.report.devices import all_devices, devices_table

    rows = all_devices()
    if as_json:
        console.show_json({"schema": 1, "devices": rows})
    else:
        console.show(devices_table(rows))


@devices.command("show")
def show(
    device: Annotated[str, typer.Argument(help=f"{console.DEVICE_WORDS} Or a sheet's YAML.")],
    as_json: console.AsJson = False,
) -> None:
    """Show every figure of a device, with its source.

    Example: smt-nas devices show a100
    """
    from smt_nas.report.devices import describe, sheet_lines, sheet_table, source_lines

    found = describe(device)
    if as_json:
        console.show_json({"schema": 1, **found})
        return
    console.show_notes(sheet_lines(found))
    console.show(sheet_table(found))
    console.show_notes(source_lines(found))


@app.command()
def doctor(as_json: console.AsJson = False) -> None:
    """Say what this machine can measure, and what is missing for the rest."""
    from smt_nas.report.devices import doctor_document, doctor_table, examine

    checks = examine()
    if as_json:
        console.show_json({"schema": 1, "checks": doctor_document(checks)})
    else:
        console.show(doctor_table(checks))
