"""The initial weights of backbones: where they come from, and a check that they are there before any work starts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affect_contract.backbones import BACKBONES, BackboneName, pretrained_backbones
from affect_training.errors import TrainingError


class Origin(StrEnum):
    """The places that initial weights can come from."""

    IMAGENET = "imagenet"
    """Keras's own download, kept in its cache."""
    FOLDER = "folder"
    """A file in a folder, for machines without internet; never falls through to a download."""
    NONE = "none"
    """Random weights, drawn from the seed."""


@dataclass(frozen=True)
class Weights:
    """The initial weights of one backbone."""

    origin: Origin
    folder: Path | None = None

    def file(self, backbone: BackboneName) -> Path:
        """Return the weights file of ``backbone``; only for `Origin.FOLDER`."""
        if self.folder is None:
            raise ValueError("only weights from a folder have a file")
        return self.folder / file_name(backbone)


def file_name(backbone: BackboneName) -> str:
    """Return the name of the file in which a folder holds a backbone's ImageNet weights."""
    return f"{backbone}_imagenet_notop.weights.h5"


def parse(arguments: Sequence[str], backbones: Iterable[BackboneName]) -> dict[BackboneName, Weights]:
    """Turn ``[BACKBONE=]imagenet|none|DIR`` arguments into the weights of each pretrained backbone.

    A later argument wins over an earlier one; one without a backbone is meant for all.

    Raises:
        TrainingError: an argument for a backbone that is unknown or takes no weights.
    """
    chosen: dict[BackboneName, Weights] = {
        backbone: Weights(Origin.IMAGENET) for backbone in backbones if BACKBONES[backbone].is_pretrained
    }
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator:
            chosen |= dict.fromkeys(chosen, _one(argument))
        elif name in pretrained_backbones():
            if name in chosen:
                chosen[name] = _one(value)
        else:
            takers = ", ".join(pretrained_backbones())
            raise TrainingError(f"--weights {argument}: {name!r} takes no weights; the backbones that do are {takers}")
    return chosen


def _one(value: str) -> Weights:
    if value in {Origin.IMAGENET, Origin.NONE}:
        return Weights(Origin(value))
    return Weights(Origin.FOLDER, Path(value))


def require_files(chosen: dict[BackboneName, Weights]) -> None:
    """Check that every weights file that should lie in a folder is there.

    Raises:
        TrainingError: the first one that is not.
    """
    for backbone, weights in chosen.items():
        if weights.origin is Origin.FOLDER and not weights.file(backbone).is_file():
            raise TrainingError(
                f"there is no {weights.file(backbone)}: put the ImageNet weights of {backbone} there, or give "
                f"--weights {backbone}=imagenet to download them or --weights {backbone}=none to do without"
            )


def digest(arrays: Iterable[NDArray[np.generic]]) -> str:
    """Return the hex SHA-256 over the bytes, shapes and dtypes of weight arrays, in order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
