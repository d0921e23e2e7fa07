"""Print remarks of the evaluation's commands to stderr; results go to stdout."""

import sys


def print_remark(line: str) -> None:
    """Print a remark after the name of the command."""
    print(f"affect-evaluate: {line}", file=sys.stderr)  # noqa: T201
