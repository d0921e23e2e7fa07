"""Arguments of ``affect-train``'s commands, and what they may be."""

import argparse
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from affect_contract.models import Backbone


def add_basis_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which features of which pictures are meant."""
    parser.add_argument("--data", type=Path, required=True, help="data set: AffectNet's layout, or a CSV")
    parser.add_argument(
        "--backbones",
        type=several(Backbone),
        default=(Backbone.MOBILENET_V2, Backbone.DENSENET121),
        metavar="A,B",
        help=f"of {', '.join(Backbone)} (default: mobilenet_v2,densenet121)",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[BACKBONE=]imagenet|none|DIR",
        help="initial weights: Keras's download (the default), random, or a folder with "
        "BACKBONE_imagenet_notop.weights.h5; repeat for several backbones",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, help="of random weights, heads, order and dropout (default: 0)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        help="folder of cached features (default: %(default)s)",
    )
    group = parser.add_argument_group("split")
    group.add_argument("--split-file", type=Path, help="read the split from, or save it to, this file")
    group.add_argument("--split-seed", type=whole(0), default=0, help="of a new split (default: 0)")
    group.add_argument(
        "--fractions",
        type=_fractions,
        default=(0.70, 0.15, 0.15),
        metavar="A,B,C",
        help="train, validation, test of a new split (default: 0.70,0.15,0.15)",
    )


def basis(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of them, as keyword arguments of `affect_training.preparation.Basis`."""
    names = ("data", "cache", "backbones", "weights", "seed", "split_file", "split_seed", "fractions")
    return {name: getattr(options, name) for name in names}


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affect"


def several(choices: type[StrEnum]) -> Any:
    """Names, separated by commas."""

    def parse(text: str) -> tuple[StrEnum, ...]:
        names = tuple(dict.fromkeys(name for name in text.split(",") if name))
        unknown = [name for name in names if name not in set(choices)]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(choices)}")
        return tuple(choices(name) for name in names)

    return parse


def whole(lowest: int) -> Any:
    """A whole number from ``lowest``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from {lowest}")
        return int(text)

    return parse


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}") from None


def positive(text: str) -> float:
    """A number above 0."""
    number = _number(text, "a number above 0")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return number


def fraction(text: str) -> float:
    """A number from 0 to below 1."""
    number = _number(text, "a number from 0 to below 1")
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to below 1")
    return number


def _fractions(text: str) -> tuple[float, float, float]:
    parts = tuple(fraction(part) for part in text.split(","))
    if len(parts) != 3 or abs(sum(parts) - 1) > 1e-9 or 0 in parts:  # noqa: PLR2004 - train, validation, test
        raise argparse.ArgumentTypeError(f"{text!r}: give three fractions above 0 that sum to 1")
    return (parts[0], parts[1], parts[2])
