"""``python -m affect_training.imagenet``: ImageNet weights into a folder, for ``affect-train --weights DIR``.

Where there is internet, for where there is none: a container image at its build, or a cluster.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from affect_contract.arguments import names
from affect_contract.backbones import BackboneName, pretrained_backbones
from affect_contract.commands import CommandParser
from affect_training.errors import TrainingError
from affect_training.networks.weights import Origin, Weights, file_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        for backbone in options.backbones:
            print(save(backbone, options.out))  # noqa: T201
    except (TrainingError, OSError) as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def save(backbone: BackboneName, folder: Path) -> Path:
    """Download the weights of one backbone and write them where ``--weights DIR`` looks for them.

    Raises:
        TrainingError: they cannot be had.
        OSError: the folder cannot be written.
    """
    # Here, since Keras takes seconds to import and --help should not.
    from affect_training.networks.backbones import build_base, parts  # noqa: PLC0415

    _, network, _ = parts(build_base(backbone, Weights(Origin.IMAGENET)))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name(backbone)
    # Keras goes by the end of the name, so the unfinished file keeps it.
    unfinished = folder / f".unfinished-{file.name}"
    network.save_weights(unfinished)
    return unfinished.replace(file)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m affect_training.imagenet",
        description="Download ImageNet weights into a folder that affect-train --weights reads, for machines without "
        "internet.",
        examples=("python -m affect_training.imagenet --out weights",),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to put them in; made if it is not there"
    )
    parser.add_argument(
        "--backbones",
        type=names(pretrained_backbones()),
        default=pretrained_backbones(),
        metavar="A,B",
        help=f"networks, separated by commas (default: {','.join(pretrained_backbones())})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
