"""A terminal: commands run in this process, tables as 80 columns show them."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from smt_nas.cli.app import app
from smt_nas.cli.console import make_talk_console
from tests.fakes.waiting import WATCHDOG_S

ROOT = Path(__file__).resolve().parents[2]
_OF_TERMINALS = (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM",
    "PYTHONIOENCODING",
    "LC_ALL",
)


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


def run_in_terminal(words, columns=80, env=None, on_output=None, cwd=None):
    """Run a program on a pseudo-terminal of so many columns.

    `on_output(text so far, process id)` may act on what is there, e.g. send Ctrl-C.

    Returns: its text, as the terminal got it, with `\\n` at the ends of lines; its exit code.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in _OF_TERMINALS}
    environment |= {"TERM": "xterm", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment | (env or {}),
        cwd=cwd,
        start_new_session=True,
        # a shell starts what it puts in the background with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(follower)
    read, end = b"", time.monotonic() + WATCHDOG_S
    try:
        while time.monotonic() < end:
            if not select.select([leader], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(leader, 65536)
            except OSError:  # Linux: the program has ended
                piece = b""
            if not piece:
                code = process.wait(WATCHDOG_S)
                return read.decode().replace("\r\n", "\n"), code
            read += piece
            if on_output is not None:
                on_output(read.decode(errors="replace"), process.pid)
        raise TimeoutError(read.decode(errors="replace"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(leader)


def seen(text):
    """What a terminal shows in the end, without colours: lines that were drawn anew are gone."""
    lines = [""]
    for piece in re.split(r"(\n|\r|\x1b\[[0-9;?]*[A-Za-z])", text):
        if piece == "\n":
            lines.append("")
        elif piece == "\x1b[2K":
            lines[-1] = ""
        elif piece == "\x1b[1A":
            lines.pop()
        elif not piece.startswith(("\r", "\x1b")):
            lines[-1] += piece
    return lines


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self):
        return self.now


class Bars:
    """Stands for rich's progress where there is no terminal."""

    disable = True

    def __init__(self):
        self.console = make_talk_console()

    def add_task(self, title, **fields):
        return title

    def update(self, task, **fields):
        pass

    def remove_task(self, task):
        pass
