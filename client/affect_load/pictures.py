"""The pictures that users send: those of a folder, or synthetic faces of several sizes."""

import io
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np

from affect_contract.labels import Expression
from affect_contract.picture_formats import PICTURE_SUFFIXES, has_picture_suffix
from affect_contract.preprocess import SIDE
from affect_dataset.faces.synthetic import draw_face

_DRAWN: Final = ((SIDE, 12), (480, 6), (1080, 3), (2160, 1))
"""Sides in pixels, and the number of pictures of each: crops of the network's size, and photographs."""


class NoPictures(Exception):
    """A folder holds no picture; the message says what to do."""


def pictures(folder: str) -> list[bytes]:
    """Return encoded pictures, in an order that mixes their sizes.

    Args:
        folder: the folder of the pictures; empty for synthetic faces, which are the same every time.

    Raises:
        NoPictures: ``folder`` holds none.
    """
    if not folder:
        return _drawn()
    found = [file for file in sorted(Path(folder).rglob("*")) if has_picture_suffix(file)]
    if not found:
        raise NoPictures(
            f"{folder} holds no picture ({', '.join(PICTURE_SUFFIXES)}): name another folder, or none for drawn ones"
        )
    return [file.read_bytes() for file in found]


def _drawn() -> list[bytes]:
    rng = np.random.default_rng(0)
    sides = [side for side, count in _DRAWN for _ in range(count)]
    rng.shuffle(sides)
    return [_jpeg(expression, side, rng) for side, expression in zip(sides, cycle(Expression), strict=False)]


def _jpeg(expression: Expression, side: int, rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    draw_face(expression, 0.0, 0.0, rng).resize((side, side)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
