"""The app: command groups, `--version`, `--debug`, and errors in one line."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import smt_nas
from smt_nas.cli import console
from smt_nas.errors import SmtNasError

INTERRUPTED = 130  # as shells report SIGINT
UNREAD = 141  # as shells report SIGPIPE


class _Group(TyperGroup):
    """Turns the errors a user can mend into one line and exit 1."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; its help has room for words at 80 columns."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _shorten_types(command, ctx)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of all commands, likewise."""
        _shorten_types(self, ctx)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SmtNasError as error:
            if ctx.params.get("debug"):
                raise
            console.complain(str(error))
            raise typer.Exit(1) from error
        except MemoryError as error:
            if ctx.params.get("debug"):
                raise
            console.complain("the machine's memory is full. Free some, or search smaller networks.")
            raise typer.Exit(1) from error
        except BrokenPipeError:  # `smt-nas front RUN | head`, `>&-`
            console.abandon()
            raise typer.Exit(UNREAD) from None
        except KeyboardInterrupt:  # where nothing is kept, or all is kept already
            console.say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:  # a full disk behind `smt-nas front RUN > file`
            if ctx.params.get("debug"):
                raise
            console.abandon()
            console.complain(f"{error.filename or 'output'}: {error.strerror or error}.")
            raise typer.Exit(1) from error


def _shorten_types(command: Any, ctx: Any) -> None:
    """Name what options take: nothing for a flag, `<int>` where a range follows; in groups too."""
    for parameter in command.params:
        display_type = getattr(parameter, "display_type", None)  # of typer since 0.25
        is_option = parameter.param_type_name == "option"
        if display_type is not None and is_option and parameter.metavar is None:
            taken = (display_type(ctx) or "").replace(" range", "").replace("list[str]", "str")
            parameter.metavar = "" if parameter.is_flag else taken
    for inner in getattr(command, "commands", {}).values():
        _shorten_types(inner, ctx)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find, prove and hand over the best SMT network for your hardware and budget.",
    epilog="Start with: smt-nas search --budget 2.4GFLOPs",
)


def _version(wanted: bool) -> None:
    if wanted:
        console.show_text(f"smt-nas {smt_nas.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    console.prepare_streams()
    try:
        app(prog_name="smt-nas")  # as messages call it, however it was started
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
