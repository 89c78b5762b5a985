"""Long work in steps, so that several pieces of it take turns in one process.

Such work is a generator: it stops after each step, and what it returns is its answer. Whoever runs
it goes on with it when it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import TypeVar

_Answer = TypeVar("_Answer")
Steps = Generator[None, None, _Answer]


def finish(steps: Steps[_Answer]) -> _Answer:
    """Make all steps, and return the answer."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer


def enter_each(
    steps: Steps[_Answer], context: Callable[[], AbstractContextManager[object]]
) -> Steps[_Answer]:
    """The same steps, each within a context, which is left while others have their turn.

    Args:
        steps: of the work.
        context: makes it anew for each step.
    """
    try:
        while True:
            with context():
                try:
                    next(steps)
                except StopIteration as end:
                    answer: _Answer = end.value
                    return answer
            yield
    finally:
        steps.close()
