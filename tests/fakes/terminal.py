"""A terminal: commands run in this process, tables as 80 columns show them."""

from rich.console import Console
from typer.testing import CliRunner

from smt_nas.cli.app import app


def invoke(*words, code=0):
    """Run a command; its result, once it ended with the code expected."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == code, result.output
    return result


def printed(table):
    """Its text at 80 columns, where nothing may be cut."""
    console = Console(width=80, color_system=None, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def cells(table):
    """The cells of each line of a table at 80 columns, below its headings."""
    lines = printed(table).splitlines()
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
