"""Remarks of the evaluation's commands, on stderr; results are on stdout."""

import sys


def say(line: str) -> None:
    """Print a remark."""
    print(f"affect-evaluate: {line}", file=sys.stderr)  # noqa: T201
