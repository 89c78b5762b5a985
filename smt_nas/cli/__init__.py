"""Words and flags: one file a command group; each command reads, calls the library, shows."""

from smt_nas.cli import (  # noqa: F401  # they register commands
    bench,
    calibrate,
    devices,
    eval,
    experiment,
    export,
    profile,
    recipes,
    search,
    spaces,
    supernet,
    train,
    validate,
)
from smt_nas.cli.app import main

__all__ = ["main"]
