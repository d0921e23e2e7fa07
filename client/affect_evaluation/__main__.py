"""``affect-evaluate``: score a test set through a running gateway, merge parts, score again, compare runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from affect_client.errors import ServiceUnreachable
from affect_contract.commands import CommandParser
from affect_contract.errors import AffectError
from affect_dataset.errors import DatasetError
from affect_evaluation.comparison.arguments import add_arguments as add_compare_arguments
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference import command as inference_command
from affect_evaluation.remarks import print_remark
from affect_evaluation.run.merge import merge

_DONE, _CANNOT, _INTERRUPTED = 0, 2, 130

Command = Callable[[argparse.Namespace], int]
"""Runs a command, and returns its exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Without the name of another command, it scores a test set.
    parser, run = _COMMANDS[arguments.pop(0)]() if arguments and arguments[0] in _COMMANDS else _inference_parser()
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except (EvaluationError, DatasetError, ServiceUnreachable, AffectError) as exc:
        print_remark(str(exc))
        return _CANNOT
    except KeyboardInterrupt:
        print_remark("stopped; the same command goes on from here")
        return _INTERRUPTED


def _inference_parser() -> tuple[CommandParser, Command]:
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
    inference_command.add_arguments(parser)
    return parser, _infer


def _infer(options: argparse.Namespace) -> int:
    report = _reporter()
    inference_command.run(options)
    report(options.out)
    return _DONE


def _merge_parser() -> tuple[CommandParser, Command]:
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


def _score_parser() -> tuple[CommandParser, Command]:
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


def _compare_parser() -> tuple[CommandParser, Command]:
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
    # Imported here, since the libraries that score take seconds to load and --help should not.
    from affect_evaluation.comparison import command  # noqa: PLC0415

    return command.run(options)


def _reporter() -> Callable[[Path], None]:
    """Return a function that scores a run, writes its report and prints the table.

    Its libraries are imported before the work begins, so that a missing one is noticed then, but after the options are
    parsed, since they take seconds to load.
    """
    from affect_evaluation.report.html_report import write_result_and_report  # noqa: PLC0415
    from affect_evaluation.report.printing import print_result  # noqa: PLC0415

    return lambda folder: print_result(folder, write_result_and_report(folder))


_COMMANDS: Final = {"merge": _merge_parser, "score": _score_parser, "compare": _compare_parser}


if __name__ == "__main__":
    sys.exit(main())
