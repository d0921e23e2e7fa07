"""AffectNet's own layout: `images/ID.jpg`, `annotations/ID_exp.npy`, `ID_val.npy`, `ID_aro.npy`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from affect_contract.picture_formats import has_picture_suffix
from affect_dataset.errors import DatasetError
from affect_dataset.layouts.annotations import NpyAnnotation
from affect_dataset.rows import Row, Rows
from affect_dataset.samples import Split

_IMAGES = "images"
_ANNOTATIONS = "annotations"
_EXPRESSION = "_exp.npy"


def is_affectnet(folder: Path) -> bool:
    """Whether a folder has AffectNet's two subfolders."""
    return (folder / _IMAGES).is_dir() and (folder / _ANNOTATIONS).is_dir()


def affectnet_rows(folder: Path, *, prefix: str = "", fixed_split: Split | None = None) -> Rows:
    """Return a row for each picture, and one for each annotated id that has no picture.

    Args:
        folder: holds `images` and `annotations`.
        prefix: put before each id.
        fixed_split: the part of the split that all its pictures belong to, if the data set fixes it.

    Raises:
        DatasetError: there are no pictures.
        OSError: the folders cannot be listed.
    """
    files = _names(folder / _IMAGES)
    annotated = {name.removesuffix(_EXPRESSION) for name in _names(folder / _ANNOTATIONS) if name.endswith(_EXPRESSION)}
    pictures = [name for name in files if has_picture_suffix(PurePath(name)) or PurePath(name).stem in annotated]
    if not pictures:
        raise DatasetError(f"there are no pictures in {folder / _IMAGES}: expected files ID.jpg (or .png, .webp)")
    absent = annotated.difference(PurePath(name).stem for name in pictures)
    names = [*pictures, *(f"{name}.jpg" for name in sorted(absent))]
    return Rows(len(names), _rows(folder, names, prefix, fixed_split))


def _rows(folder: Path, names: Sequence[str], prefix: str, fixed_split: Split | None) -> Iterator[Row]:
    images, annotations = folder / _IMAGES, folder / _ANNOTATIONS
    stems, whole = Counter(PurePath(name).stem for name in names), set(names)
    for name in names:
        stem = PurePath(name).stem
        # Two files of one id share annotations; their whole names then keep their ids apart.
        identity = stem if stems[stem] == 1 and stem not in whole else name
        expression, valence, arousal = (
            NpyAnnotation(annotations, f"{stem}_{part}.npy") for part in ("exp", "val", "aro")
        )
        yield Row(f"{prefix}{identity}", images / name, expression, valence, arousal, fixed_split)


def _names(folder: Path) -> list[str]:
    # Hidden files belong to an operating system, such as the ._ID.jpg that macOS leaves beside ID.jpg.
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 - only names are needed
