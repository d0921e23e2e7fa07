"""The parser of every command, so that all of them answer ``--help`` and ``--version`` alike."""

import argparse
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Final

DISTRIBUTION: Final = "affect-serving"

_WIDTH: Final = 78
_BEFORE_OPTIONS: Final = re.compile(r" (?=--)")


class CommandParser(argparse.ArgumentParser):
    """A parser that takes options by their whole names, knows ``--version`` and ends its help with examples.

    Args:
        description: what the command does, in sentences.
        examples: command lines that this parser accepts, each on one line.
        notes: what else a user has to know; it stands between the options and the examples.
        has_version: False for a command whose own ``--version`` means something else.
        options: of `argparse.ArgumentParser`; ``prog`` is one of them, except in a subcommand.
    """

    def __init__(
        self, *, description: str, examples: Sequence[str], notes: str = "", has_version: bool = True, **options: Any
    ) -> None:
        super().__init__(
            description=description, epilog=notes, allow_abbrev=False, formatter_class=_WholeWords, **options
        )
        self.examples = tuple(examples)
        if has_version:
            self.add_argument("--version", action=_PrintVersion)

    def format_help(self) -> str:
        """Return argparse's help, which wraps its text, and the examples, which stay as they have to be typed."""
        examples = "\n".join(map(_broken, self.examples))
        return f"{super().format_help()}\nexamples:\n{examples}\n"


class _WholeWords(argparse.HelpFormatter):
    """Wraps texts without breaking ``affect-train`` or ``--split-file`` at a hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width))


def print_version(command: str) -> None:
    """Print the name of a command and the version of the distribution that it belongs to."""
    # Here, since every start of every command would pay for the import.
    from importlib.metadata import version  # noqa: PLC0415

    print(f"{command} {version(DISTRIBUTION)}")  # noqa: T201


class _PrintVersion(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **_: object) -> None:
        text = "print the program's version and exit"
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=text)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print_version(parser.prog)
        parser.exit()


def _broken(example: str) -> str:
    """Break a long command line before its options, with the backslashes that a shell needs."""
    first, *options = _BEFORE_OPTIONS.split(example)
    lines = [f"  {first}"]
    for option in options:
        if len(lines[-1]) + len(option) < _WIDTH:
            lines[-1] += f" {option}"
        else:
            lines.append(f"      {option}")
    return " \\\n".join(lines)
