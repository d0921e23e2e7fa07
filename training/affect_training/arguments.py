"""Arguments of ``affect-train``'s commands, and what they may be."""

import argparse
import os
from pathlib import Path
from typing import Any

from affect_contract.arguments import fraction, names, whole_number
from affect_contract.backbones import BACKBONES, STUDY_BACKBONES


def add_basis_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which features of which pictures are meant."""
    parser.add_argument("--data", type=Path, required=True, help="data set: AffectNet's layout, or a CSV")
    parser.add_argument(
        "--backbones",
        type=names(BACKBONES),
        default=STUDY_BACKBONES,
        metavar="A,B",
        help=f"of {', '.join(BACKBONES)} (default: {','.join(STUDY_BACKBONES)})",
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
        "--seed", type=whole_number(0), default=0, help="of random weights, heads, order and dropout (default: 0)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        help="folder of cached features (default: %(default)s)",
    )
    group = parser.add_argument_group("split")
    group.add_argument("--split-file", type=Path, help="read the split from, or save it to, this file")
    group.add_argument("--split-seed", type=whole_number(0), default=0, help="of a new split (default: 0)")
    group.add_argument(
        "--fractions",
        type=_fractions,
        default=(0.70, 0.15, 0.15),
        metavar="A,B,C",
        help="train, validation, test of a new split (default: 0.70,0.15,0.15)",
    )


def basis(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of them, as keyword arguments of `affect_training.preparation.Basis`."""
    wanted = ("data", "cache", "backbones", "weights", "seed", "split_file", "split_seed", "fractions")
    return {name: getattr(options, name) for name in wanted}


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affect"


def _fractions(text: str) -> tuple[float, float, float]:
    parts = tuple(fraction(part) for part in text.split(","))
    if len(parts) != 3 or abs(sum(parts) - 1) > 1e-9 or 0 in parts:  # noqa: PLR2004 - train, validation, test
        raise argparse.ArgumentTypeError(f"{text!r}: give three fractions above 0 that sum to 1")
    return (parts[0], parts[1], parts[2])
