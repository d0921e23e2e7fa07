"""``python -m affect_training.imagenet``: ImageNet weights into a folder, for ``affect-train --weights DIR``.

Where there is internet, for where there is none: a container image at its build, or a cluster.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from affect_contract.arguments import names
from affect_contract.backbones import BackboneName, pretrained_backbones
from affect_training.errors import TrainingError
from affect_training.networks.backbones import build_base, parts
from affect_training.networks.weights import Origin, Weights, file_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m affect_training.imagenet", description="Download ImageNet weights."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to put them into")
    parser.add_argument(
        "--backbones",
        type=names(pretrained_backbones()),
        default=pretrained_backbones(),
        metavar="A,B",
        help=f"which (default: {','.join(pretrained_backbones())})",
    )
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
    _, network, _ = parts(build_base(backbone, Weights(Origin.IMAGENET)))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name(backbone)
    # Keras goes by the end of the name, so the unfinished file keeps it.
    unfinished = folder / f".unfinished-{file.name}"
    network.save_weights(unfinished)
    return unfinished.replace(file)


if __name__ == "__main__":
    sys.exit(main())
