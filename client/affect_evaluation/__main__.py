"""``affect-evaluate``: score a test set through the running service, join parts, score again, compare."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from affect_client.errors import ServiceUnreachable
from affect_contract.commands import CommandParser
from affect_contract.errors import AffectError
from affect_dataset.errors import DatasetError
from affect_evaluation.asking import command as ask_command
from affect_evaluation.comparison.arguments import add_arguments as add_compare_arguments
from affect_evaluation.errors import EvaluationError
from affect_evaluation.remarks import say
from affect_evaluation.run.merge import merge

_DONE, _CANNOT, _INTERRUPTED = 0, 2, 130

Command = Callable[[argparse.Namespace], int]
"""Gives the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Asking is what the command is for, and has no name of its own.
    parser, run = _COMMANDS[words.pop(0)]() if words and words[0] in _COMMANDS else _asking()
    options = parser.parse_args(words)
    try:
        return run(options)
    except (EvaluationError, DatasetError, ServiceUnreachable, AffectError) as exc:
        say(str(exc))
        return _CANNOT
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return _INTERRUPTED


def _asking() -> tuple[CommandParser, Command]:
    parser = CommandParser(
        prog="affect-evaluate",
        description="Ask a running gateway for every picture of a data set's test split, and score its answers.",
        notes="An interrupted command goes on where it stopped when it is run again. Three more commands have a --help "
        "of their own: affect-evaluate merge joins parts that were scored with --shard, affect-evaluate score scores "
        "recorded answers again, and affect-evaluate compare compares runs.",
        examples=(
            "affect-evaluate --data faces --out scores",
            "affect-evaluate --url grpc://127.0.0.1:9090 --data faces --backbones mobilenet_v2 --label canary "
            "--out canary-scores",
            "affect-evaluate --data faces --split all --shard 1/4 --out part-1",
        ),
    )
    ask_command.add_arguments(parser)
    return parser, _ask


def _ask(options: argparse.Namespace) -> int:
    report = _reporter()
    ask_command.run(options)
    report(options.out)
    return _DONE


def _merging() -> tuple[CommandParser, Command]:
    parser = CommandParser(
        prog="affect-evaluate merge",
        description="Join the parts of a run that were scored with --shard, and score the whole.",
        examples=("affect-evaluate merge part-1 part-2 part-3 part-4 --out scores",),
    )
    parser.add_argument("parts", nargs="+", type=Path, metavar="DIR", help="folder of a part")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the whole run")
    return parser, _merge


def _merge(options: argparse.Namespace) -> int:
    report = _reporter()
    merge(options.parts, options.out)
    report(options.out)
    return _DONE


def _scoring() -> tuple[CommandParser, Command]:
    parser = CommandParser(
        prog="affect-evaluate score",
        description="Score the recorded answers of a run again, without the gateway or the data set.",
        examples=("affect-evaluate score scores",),
    )
    parser.add_argument("run", type=Path, metavar="DIR", help="folder of the run")
    return parser, _score


def _score(options: argparse.Namespace) -> int:
    _reporter()(options.run)
    return _DONE


def _comparing() -> tuple[CommandParser, Command]:
    parser = CommandParser(
        prog="affect-evaluate compare",
        description="Compare the models of several runs on the pictures that both answered: each model with the same "
        "backbone in the first run, or else with the first model of all.",
        notes="Exit status: 0, or 1 if a condition of --fail-if holds for one of the models, or 2 if that is unknown.",
        examples=(
            "affect-evaluate compare scores --models models",
            'affect-evaluate compare stable-scores canary-scores --fail-if "valence.ccc < -0.02" '
            '--fail-if "coverage < 0"',
        ),
    )
    add_compare_arguments(parser)
    return parser, _compare


def _compare(options: argparse.Namespace) -> int:
    # Here, since the libraries that score take seconds to load and --help should not.
    from affect_evaluation.comparison import command  # noqa: PLC0415

    return command.run(options)


def _reporter() -> Callable[[Path], None]:
    """Return what scores a run, draws its report and prints the table.

    It is imported before the work begins, so that nothing is missing at its end, and not before options are read: the
    libraries that score and draw take seconds to load.
    """
    from affect_evaluation.report.html_report import finished  # noqa: PLC0415
    from affect_evaluation.report.printing import print_result  # noqa: PLC0415

    return lambda folder: print_result(folder, finished(folder))


_COMMANDS: Final = {"merge": _merging, "score": _scoring, "compare": _comparing}


if __name__ == "__main__":
    sys.exit(main())
