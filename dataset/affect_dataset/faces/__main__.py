"""``python -m affect_dataset.faces``: synthetic faces in AffectNet's layout.

python -m affect_dataset.faces --out DIR --count N [--seed S]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from affect_contract.arguments import whole_number
from affect_dataset.faces.synthetic import write_faces
from affect_dataset.samples import DatasetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        write_faces(options.out, options.count, seed=options.seed)
    except DatasetError as exc:
        print(f"faces: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m affect_dataset.faces", description="Draw synthetic faces.")
    parser.add_argument("--out", type=Path, required=True, help="new folder, in AffectNet's layout")
    parser.add_argument("--count", type=whole_number(1), required=True, help="how many faces")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="default: 0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
