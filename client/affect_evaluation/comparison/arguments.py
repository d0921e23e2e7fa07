"""The options of ``affect-evaluate compare``, apart from the command, whose libraries take seconds to load."""

import argparse
from pathlib import Path

from affect_contract.comparison import COMPARISON_FILE, Condition, parse_condition


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-evaluate compare``."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="DIR", help="folder of a run; the others are compared with the first"
    )
    parser.add_argument(
        "--fail-if",
        action="append",
        type=_condition,
        default=[],
        metavar="CONDITION",
        help="exit with 1 if a score has changed by so much and the 95 %% interval of the change leaves 0 out: "
        '"valence.ccc < -0.02", "expression.accuracy < -0.01", "arousal.rmse > 0.01", or "coverage < 0"; may be '
        "repeated (default: none)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="models directory, to show the number of parameters and the training time too (default: none)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder to write {COMPARISON_FILE} to (default: none, only print)"
    )


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
