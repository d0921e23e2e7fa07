"""The command ``python -m affect_dataset.faces``, which draws a data set of synthetic faces.

python -m affect_dataset.faces --out DIR --count N [--seed S]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from affect_dataset.errors import DatasetError
from affect_dataset.faces.synthetic import write_faces


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        write_faces(options.out, options.count, seed=options.seed)
    except DatasetError as exc:
        print(f"faces: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m affect_dataset.faces",
        description="Draw synthetic faces, in which expression, valence and arousal move brows, eyes and mouth, and "
        "write them with their labels in AffectNet's layout.",
        examples=("python -m affect_dataset.faces --out faces --count 1600",),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; it must not hold anything yet"
    )
    parser.add_argument("--count", type=whole_number(1), required=True, metavar="N", help="how many faces to draw")
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="seed of the drawing; the same seed and count give the same faces (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
