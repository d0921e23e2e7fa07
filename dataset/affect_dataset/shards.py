"""Shards: the parts into which a data set is divided among several jobs."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Item = TypeVar("Item")

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""The variable in which Kubernetes puts the index of a pod of an Indexed Job, from 0."""

_TEXT: Final = re.compile(r"(\d+)/(\d+)", re.ASCII)
_INDEXED: Final = re.compile(r"index/(\d+)", re.ASCII)


@dataclass(frozen=True, order=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return every ``count``-th of ordered items, from the ``number``-th on."""
        return list(items[self.number - 1 :: self.count])

    def contains(self, digest: str) -> bool:
        """Whether the picture with this hex digest belongs to the part; other pictures do not matter."""
        return int(digest, 16) % self.count == self.number - 1


WHOLE: Final = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """Parse a shard written ``I/N``.

    Raises:
        ValueError: the text is no shard.
    """
    match = _TEXT.fullmatch(text)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return Shard(int(match[1]), int(match[2]))
    raise ValueError(f"{text!r} is no shard: give I/N, such as 1/4 to 4/4 for four parts")


def add_shard_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the option ``--shard``, whose help begins with ``purpose``."""
    parser.add_argument(
        "--shard", type=_argument, default=WHOLE, metavar="I/N",
        help=f"{purpose}: the I-th of N parts; in a pod of a Kubernetes Indexed Job, index/N takes I from the pod "
        "(default: %(default)s, everything)",
    )  # fmt: skip


def _argument(text: str) -> Shard:
    indexed = _INDEXED.fullmatch(text)
    try:
        return _of_this_pod(text, int(indexed[1])) if indexed else parse_shard(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _of_this_pod(text: str, count: int) -> Shard:
    index = os.environ.get(INDEX_VARIABLE)
    if index is None:
        raise ValueError(f"{text!r} is for the pods of an Indexed Job, and {INDEX_VARIABLE} is not set: give I/{count}")
    if not (index.isascii() and index.isdecimal() and int(index) < count):
        raise ValueError(
            f"{text!r}: {INDEX_VARIABLE} is {index!r}, not one of 0 to {count - 1}: give the Job {count} completions"
        )
    return Shard(int(index) + 1, count)
