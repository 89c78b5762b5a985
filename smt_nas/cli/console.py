"""The only room that prints: results to stdout, talk to stderr, in what each stream can take.

A line on a terminal ends between words; in a pipe or a file it has no width. What a stream's
encoding lacks is replaced by ASCII. A stdout that nobody reads ends the command once its work is
saved; a stderr that nobody reads is passed over.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import IO, Annotated, Any, cast

import typer
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from smt_nas.files import to_text

_PLAIN_WIDTH = 160  # of tables that go to a file or a pipe
_USUAL_SIZE = (80, 25)  # of a terminal that does not say
_REPLACE = "smt-nas-replace"  # the name of the error handler of our streams
_ASCII = {
    **{"±": "+-", "×": "x", "·": ".", "—": "-", "–": "-", "…": "...", "≤": "<=", "≥": ">="},  # noqa: RUF001
    **{"→": "->", "µ": "u", "μ": "u", "°": "deg", "“": '"', "”": '"', "‘": "'", "’": "'"},  # noqa: RUF001
    **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),  # of curves, low to high
    **dict.fromkeys("│┃┆┊║╎╏", "|"),
    **dict.fromkeys("─━═╌╍╴╶╸╺", "-"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╇╈┏┓┗┛┣┫┳┻╋╭╮╯╰┡┩", "+"),
    "•": "*",
    "✓": "v",
}
_COMMANDS = ("Next:", "More:")  # before a command that is copied as a whole
# but line ends and tabs: C0, C1, and what turns the direction (https://unicode.org/reports/tr9/)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WORD = re.compile(r"(?:`[^`]*`|\S)+")  # a command in backquotes is one

DEVICE_WORDS = "cpu, gpu, cuda:N, or a name of `smt-nas devices` as people write it."

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def prepare_streams() -> None:
    """Make stdout and stderr take any character, and see to it that they are not closed files.

    A file that is opened later would get the number of a closed stream, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
    codecs.register_error(_REPLACE, _replace_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # None: it was closed
        if reconfigure is not None:
            reconfigure(errors=_REPLACE)


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    """Stand-ins for what cannot be encoded: `+-` for `±`, `\\u0411` for a letter."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return to_encodable(error.object[error.start : error.end], error.encoding), error.end


def _stand_in(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    return character.encode("ascii", "backslashreplace").decode("ascii")


def to_encodable(text: str, encoding: str) -> str:
    """The text, with stand-ins for the characters that an encoding lacks or a terminal obeys."""
    text = escape_controls(to_text(text))
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _can_encode(c, encoding) else _stand_in(c) for c in text)
    return text


def escape_controls(text: str) -> str:
    """The text, with `\\x1b` and the like for what a terminal would obey, not show.

    A name of a user's may hold such: colours, a bell, the order of writing. Lines and tabs stay.
    """
    return _CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def _can_encode(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class _Console(Console):
    """A console that lays out what it can print: stand-ins are wider than what they stand for."""

    def render_str(
        self,
        text: str,
        *,
        style: Any = "",
        justify: Any = None,
        overflow: Any = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: Any = None,
    ) -> Text:
        return super().render_str(
            to_encodable(text, self.encoding),
            style=style,
            justify=justify,
            overflow=overflow,
            emoji=emoji,
            markup=markup,
            highlight=highlight,
            highlighter=highlighter,
        )


class _Stderr:
    """stderr as a file whose reader may be gone: the work goes on unheard."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self.encoding = getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write what can be written."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush it, if it is there."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return _is_terminal(self._stream)

    def fileno(self) -> int:
        """Its number. Raises OSError where it has none."""
        if self._stream is None:
            raise OSError("stderr is closed")
        return self._stream.fileno()


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _terminal_size(stream: IO[str]) -> tuple[int, int]:
    """Columns and lines: what COLUMNS and LINES say, else the terminal, else the usual."""
    try:
        size: tuple[int, int] = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        size = (0, 0)
    words = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    wanted = (int(word) if word.isdecimal() else 0 for word in words)
    columns, lines = (a or b or c for a, b, c in zip(wanted, size, _USUAL_SIZE, strict=True))
    return columns, lines


def make_talk_console() -> Console:
    """A console on stderr to which no text is markup; it wraps nothing where there is no width."""
    stream = cast("IO[str]", _Stderr())
    width, height = _terminal_size(stream) if stream.isatty() else (None, None)
    return _Console(
        file=stream, width=width, height=height, markup=False, emoji=False, highlight=False
    )


def is_live(console: Console) -> bool:
    """Whether lines on it can be drawn anew: a terminal that is not a dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


def print_line(console: Console, text: str, before: str = "", style: str = "") -> None:
    """Print one line of text, after a word in a style; on a terminal it ends between words."""
    width = console.width if console.is_terminal else None
    line = Text(wrap_words(f"{before}{escape_controls(text)}", width))
    line.stylize(style, 0, len(before))
    console.print(line, soft_wrap=True)


def wrap_words(text: str, width: int | None) -> str:
    """Break lines between words, with their indent; a word that is wider stays whole."""
    if width is None:
        return text
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if cell_len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    lines, current = list[str](), ""
    for word in _WORD.findall(line):
        longer = f"{current} {word}" if current else f"{indent}{word}"
        if current and cell_len(longer) > width:
            lines.append(current)
            longer = f"{indent}{word}"
        current = longer
    return "\n".join([*lines, current])


def show(item: RenderableType) -> None:
    """Print a result to stdout."""
    stdout = _stdout()
    width, height = _terminal_size(stdout) if stdout.isatty() else (_PLAIN_WIDTH, None)
    console = _Console(
        file=stdout, width=width, height=height, markup=False, emoji=False, highlight=False
    )
    if stdout.isatty():
        console.print(item)
        return
    with console.capture() as captured:
        console.print(item)
    show_text("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_text(text: str) -> None:
    """Print text to stdout as it is: no wrapping, no markup. Raises BrokenPipeError."""
    stdout = _stdout()
    stdout.write(text if text.endswith("\n") else f"{text}\n")
    stdout.flush()


def _stdout() -> IO[str]:
    """Stdout; one that was closed is like a pipe that nobody reads."""
    if sys.stdout is None:
        raise BrokenPipeError
    return sys.stdout


def show_notes(lines: Iterable[str]) -> None:
    """Print sentences to stdout; a terminal's lines end between words, but in a command to copy."""
    stdout = _stdout()
    width = _terminal_size(stdout)[0] if stdout.isatty() else None
    for line in map(escape_controls, lines):
        show_text(line if line.startswith(_COMMANDS) else wrap_words(line, width))


def abandon() -> None:
    """Drop what stdout still holds: nobody can take it, and Python would complain at its end."""
    if sys.stdout is None:
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: a stdout that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def show_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    show_text(json.dumps(value, indent=2, allow_nan=False))


def say(text: str) -> None:
    """Print one line of talk to stderr."""
    print_line(make_talk_console(), text)


def complain(text: str) -> None:
    """Print one line of error to stderr."""
    print_line(make_talk_console(), text, "error: ", "bold red")
