"""A part of a test set, so that several jobs share it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Item = TypeVar("Item")

_TEXT: Final = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, order=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Every ``count``-th of ordered items, beginning with the ``number``-th."""
        return list(items[self.number - 1 :: self.count])


WHOLE: Final = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """A shard from ``I/N``.

    Raises:
        ValueError: it is none.
    """
    match = _TEXT.fullmatch(text)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return Shard(int(match[1]), int(match[2]))
    raise ValueError(f"{text!r} is no part: give one like 1/4, up to 4/4")
