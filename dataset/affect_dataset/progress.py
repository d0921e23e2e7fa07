"""The protocol by which progress over a data set is shown, with `tqdm` for example, or not shown."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """A function that shows progress over an iterable, such as ``tqdm``."""

    def __call__(self, iterable: Iterable[Item], *, total: int, desc: str, unit: str) -> Iterable[Item]:
        """Yield the items of ``iterable``, and show how many of ``total`` have been taken."""


def silent(iterable: Iterable[Item], *, total: int, desc: str, unit: str) -> Iterable[Item]:  # noqa: ARG001
    """Return ``iterable`` itself, and show no progress."""
    return iterable
