"""Pictures of faces changed in ways that leave their labels true, in the colour space that preprocessing gives."""

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, Field

from affect_contract.preprocess import SIDE

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue: ITU-R BT.601."""

_ERASED: Final = (0.02, 0.20)
"""Smallest and largest share of a picture that is erased (Zhong et al., 2020, arXiv:1708.04896, but less of a face)."""


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; every change is drawn evenly from its range, for each picture anew."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    flip: bool = True
    """Mirror half of the pictures, left to right."""
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The part shown is smaller by up to this share, or larger by up to a third of it."""
    shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.08
    """Of the side, in both directions."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 12.0
    """In degrees, in both directions."""
    colour: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Brightness, contrast and saturation are each multiplied by 1 plus or minus this."""
    erase: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Share of the pictures that lose a rectangle."""

    def apply(self, picture: NDArray[np.uint8], generator: np.random.Generator, side: int) -> NDArray[np.float32]:
        """One changed copy.

        Args:
            picture: uint8 [224, 224, 3], RGB.
            generator: decides the changes.
            side: of the result.

        Returns:
            float32 [side, side, 3], in [0, 255].
        """
        changed = self._colours(self._moved(picture, generator, side), generator)
        if generator.random() < self.erase:
            _erase(changed, generator)
        return changed

    def _moved(self, picture: NDArray[np.uint8], generator: np.random.Generator, side: int) -> NDArray[np.float32]:
        """Zoom, shift, rotation, flip and the new size in one sampling, so that a picture is blurred once."""
        zoom = 1 + self.zoom * generator.uniform(-1.0, 1 / 3)
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation))
        centre = SIDE / 2 + SIDE * generator.uniform(-self.shift, self.shift, 2)
        mirror = -1.0 if self.flip and generator.random() < 0.5 else 1.0  # noqa: PLR2004 - half of them
        step = zoom * SIDE / side
        turn = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn[:, 0] *= mirror
        start = centre - turn @ np.full(2, side / 2)
        matrix = (turn[0, 0], turn[0, 1], start[0], turn[1, 0], turn[1, 1], start[1])
        moved = Image.fromarray(picture).transform(
            (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        return np.asarray(moved, np.float32)

    def _colours(self, picture: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
        brightness, contrast, saturation = (1 + generator.uniform(-self.colour, self.colour, 3)).astype(np.float32)
        picture = picture * brightness
        mean = picture.mean()
        picture = (picture - mean) * contrast + mean
        grey = (picture @ _LUMA)[..., None]
        return np.asarray(np.clip((picture - grey) * saturation + grey, 0, 255), np.float32)


def _erase(picture: NDArray[np.float32], generator: np.random.Generator) -> None:
    side = len(picture)
    area = side**2 * generator.uniform(*_ERASED)
    aspect = np.exp(generator.uniform(-0.7, 0.7))
    height, width = int(np.sqrt(area * aspect)), int(np.sqrt(area / aspect))
    top, left = generator.integers(0, side - height), generator.integers(0, side - width)
    picture[top : top + height, left : left + width] = generator.uniform(0, 255, 3)
