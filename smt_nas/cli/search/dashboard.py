"""`dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.search import options

Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="On this machine. Default: a free one.")
]


@app.command()
def dashboard(run: options.Run, storage: options.Storage = None, port: Port = None) -> None:
    """Show a run's trials in a browser, also while it runs (optuna-dashboard). Ctrl-C ends it.

    Example: smt-nas dashboard runs/smt-2.4GFLOPs
    """
    from smt_nas.search.run_directory import RunDirectory
    from smt_nas.search.watch.dashboard import serve_dashboard

    server, address = serve_dashboard(RunDirectory.open(run, storage), port)
    with server:
        console.show_text(address)
        console.say("Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say("Ended.")
