"""Types of the commands' arguments: each turns a word into a value, or refuses it and says what to give.

All raise `argparse.ArgumentTypeError`, which argparse prints after the name of the option.
"""

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final, TypeVar

MAX_PORT: Final = 65535

_Name = TypeVar("_Name", bound=str)


def whole_number(lowest: int) -> Callable[[str], int]:
    """Return the type of whole numbers from ``lowest``, written in ASCII digits."""

    def parse(text: str) -> int:
        try:
            number = int(text) if text.isascii() and text.isdecimal() else None
        except ValueError:  # Python converts no more than some thousand digits.
            number = None
        if number is None or number < lowest:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from {lowest}")
        return number

    return parse


def positive_number(text: str) -> float:
    """Return a finite number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def seconds(text: str) -> float:
    """Return a finite time above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number of seconds above 0")


def fraction(text: str) -> float:
    """Return a number from 0 to below 1."""
    return _number(text, lambda number: 0 <= number < 1, "a number from 0 to below 1")


def port(text: str) -> int:
    """Return the number of a port that a server can be started on."""
    number = whole_number(1)(text)
    if number > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r}: ports end at {MAX_PORT}")
    return number


def absolute_path(text: str) -> PurePosixPath:
    """Return an absolute path on a machine that may be another one."""
    path = PurePosixPath(text)
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r}: give an absolute path")
    return path


def names(choices: Iterable[_Name]) -> Callable[[str], tuple[_Name, ...]]:
    """Return the type of names separated by commas, each one of ``choices``; a repeated name counts once."""
    by_name = {str(choice): choice for choice in choices}

    def parse(text: str) -> tuple[_Name, ...]:
        given = list(filter(None, text.split(","))) or [text]
        unknown = [name for name in given if name not in by_name]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r}: choose from {', '.join(by_name)}")
        return tuple(by_name[name] for name in dict.fromkeys(given))

    return parse


def _number(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number):
        raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}")
    return number
