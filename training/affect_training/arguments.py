"""The options that ``affect-train`` and ``affect-train features`` share."""

import argparse
import os
from pathlib import Path
from typing import Any, Final

from affect_contract.arguments import names, whole_number
from affect_contract.backbones import BACKBONES, STUDY_BACKBONES
from affect_dataset.split import STUDY_FRACTIONS, Fractions, parse_fractions

_STUDY_FRACTIONS_TEXT: Final = ",".join(f"{one:.2f}" for one in STUDY_FRACTIONS)


def add_basis_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that decide which features of which pictures are used."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="data set: a folder in AffectNet's layout, or a CSV file",
    )
    parser.add_argument(
        "--backbones",
        type=names(BACKBONES),
        default=STUDY_BACKBONES,
        metavar="A,B",
        help=f"networks, separated by commas, of {', '.join(BACKBONES)} (default: {','.join(STUDY_BACKBONES)})",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[BACKBONE=]imagenet|none|DIR",
        help="initial weights: imagenet for Keras's download, none for random ones, or a folder that holds "
        "BACKBONE_imagenet_notop.weights.h5; may be repeated, for one backbone each (default: imagenet)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="seed of random weights, of the order of pictures and of dropout (default: %(default)s)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        metavar="DIR",
        help="folder in which features are kept, for this and later runs (default: %(default)s)",
    )
    group = parser.add_argument_group("split into training, validation and test pictures")
    group.add_argument(
        "--split-file",
        type=Path,
        metavar="FILE",
        help="file that holds the split; a new one is saved there if it does not exist (default: split.csv in the "
        "folder of the data set)",
    )
    group.add_argument(
        "--split-seed", type=whole_number(0), default=0, metavar="N", help="seed of a new split (default: %(default)s)"
    )
    group.add_argument(
        "--fractions",
        type=_fractions,
        default=STUDY_FRACTIONS,
        metavar="A,B,C",
        help=f"shares of training, validation and test pictures in a new split (default: {_STUDY_FRACTIONS_TEXT})",
    )


def basis(options: argparse.Namespace) -> dict[str, Any]:
    """Return their values, as keyword arguments of `affect_training.preparation.Basis`."""
    wanted = ("data", "cache", "backbones", "weights", "seed", "split_file", "split_seed", "fractions")
    return {name: getattr(options, name) for name in wanted}


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affect"


def _fractions(text: str) -> Fractions:
    try:
        return parse_fractions(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
