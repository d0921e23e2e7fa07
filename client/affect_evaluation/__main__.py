"""``affect-evaluate``: score a test set through the running service, join parts, score again, compare."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from affect_client.errors import ServiceUnreachable
from affect_contract.errors import AffectError
from affect_dataset.samples import DatasetError
from affect_evaluation.asking import command as ask_command
from affect_evaluation.comparison import command as compare_command
from affect_evaluation.errors import EvaluationError
from affect_evaluation.report.html_report import finished
from affect_evaluation.report.printing import print_result, say
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


def _asking() -> tuple[argparse.ArgumentParser, Command]:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-evaluate",
        description="Score a data set through a running gateway.",
        epilog="The same command goes on where an interrupted one stopped. Others: affect-evaluate merge, which joins "
        "parts scored with --shard; affect-evaluate score, which scores recorded answers again; affect-evaluate "
        "compare, which holds runs against each other. Each has --help.",
    )
    ask_command.add_arguments(parser)
    return parser, _ask


def _ask(options: argparse.Namespace) -> int:
    ask_command.run(options)
    return _DONE


def _merging() -> tuple[argparse.ArgumentParser, Command]:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="affect-evaluate merge", description="Join the parts of a run, and score the whole."
    )
    parser.add_argument("parts", nargs="+", type=Path, metavar="PART", help="folder of a part")
    parser.add_argument("--out", type=Path, required=True, help="folder for the whole")
    return parser, _merge


def _merge(options: argparse.Namespace) -> int:
    merge(options.parts, options.out)
    print_result(options.out, finished(options.out))
    return _DONE


def _scoring() -> tuple[argparse.ArgumentParser, Command]:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-evaluate score",
        description="Score recorded answers again, without the service or the data set.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    return parser, _score


def _score(options: argparse.Namespace) -> int:
    print_result(options.run, finished(options.run))
    return _DONE


def _comparing() -> tuple[argparse.ArgumentParser, Command]:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-evaluate compare",
        description="Hold runs against each other on the pictures that both answered: each model against the same "
        "backbone of the first run, or against the first model of all.",
    )
    compare_command.add_arguments(parser)
    return parser, compare_command.run


_COMMANDS: Final = {"merge": _merging, "score": _scoring, "compare": _comparing}


if __name__ == "__main__":
    sys.exit(main())
