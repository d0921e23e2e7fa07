"""Types of the commands' arguments."""

import argparse
import math

from affect_contract.models import Backbone


def seconds(text: str) -> float:
    """A time above 0.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number of seconds above 0")
    return number


def count(text: str) -> int:
    """A whole number from 1.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1")
    return int(text)


def backbones(text: str) -> tuple[Backbone, ...]:
    """Names of backbones, separated by commas.

    Raises:
        argparse.ArgumentTypeError: one is none.
    """
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in set(Backbone)]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: choose from {', '.join(Backbone)}")
    return tuple(Backbone(name) for name in names)
