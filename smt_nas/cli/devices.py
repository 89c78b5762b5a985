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
    from smt_nas.report.devices import (
        device_document,
        devices_notes,
        devices_table,
        list_devices,
    )

    entries = list_devices()
    if as_json:
        documents = [device_document(entry) for entry in entries]
        console.show_json({"schema": 1, "devices": documents})
    else:
        console.show(devices_table(entries))
        console.show_notes(devices_notes(entries))


@devices.command("show")
def show(
    device: Annotated[str, typer.Argument(help=f"{console.DEVICE_WORDS} Or a sheet's YAML.")],
    as_json: console.AsJson = False,
) -> None:
    """Show every figure of a device, with its source.

    Example: smt-nas devices show a100
    """
    from smt_nas.report.devices import (
        find_device,
        sheet_document,
        sheet_lines,
        sheet_table,
        source_lines,
    )

    entry = find_device(device)
    if as_json:
        console.show_json({"schema": 1, **sheet_document(entry)})
        return
    console.show_notes(sheet_lines(entry))
    console.show(sheet_table(entry))
    console.show_notes(source_lines(entry))


@app.command()
def doctor(as_json: console.AsJson = False) -> None:
    """Say what this machine can measure, and what is missing for the rest."""
    from smt_nas.report.devices import doctor_document, doctor_table, examine

    checks = examine()
    if as_json:
        console.show_json({"schema": 1, "checks": doctor_document(checks)})
    else:
        console.show(doctor_table(checks))
