"""What every engine does with the arguments of a map: one at a time, and again after a death."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")


class ArgumentFeed(Generic[_Argument]):
    """Hands out arguments with their positions, and again once where a worker died over one.

    Args:
        arguments: looked at one by one, as they are asked for.
    """

    def __init__(self, arguments: Iterable[_Argument]) -> None:
        self._todo = enumerate(arguments)
        self._given: dict[int, _Argument] = {}
        self._died: set[int] = set()
        self._again: list[int] = []

    def take(self) -> tuple[int, _Argument] | None:
        """The next argument with its position; None where there are no more."""
        if self._again:
            number = self._again.pop()
            return number, self._given[number]
        item = next(self._todo, None)
        if item is not None:
            self._given[item[0]] = item[1]
        return item

    def close(self, number: int) -> None:
        """Forget an argument: it has its answer."""
        del self._given[number]
        self._died.discard(number)

    def retry(self, number: int) -> bool:
        """Hand out an argument once more, as its worker died; False where one had before."""
        if number in self._died:
            return False
        self._died.add(number)
        self._again.append(number)
        return True


def in_order(numbered: Iterable[tuple[int, _Answer]]) -> Iterator[_Answer]:
    """Answers in the order of their positions 0, 1, …, each as soon as those before are there."""
    waiting: dict[int, _Answer] = {}
    shown = 0
    for number, answer in numbered:
        waiting[number] = answer
        while shown in waiting:
            yield waiting.pop(shown)
            shown += 1
