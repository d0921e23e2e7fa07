"""Synthetic faces: drawn pictures in which expression, valence and arousal move brows, eyes and mouth.

They let every part of the project run on a machine that has no data set. A model trained on them has learned nothing
about real faces.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, Expression
from affect_dataset.errors import DatasetError
from affect_dataset.faces.drawing import draw
from affect_dataset.faces.features import TYPICAL_AFFECT, features_of
from affect_dataset.progress import Progress, silent

_SPREAD = 0.15
"""Standard deviation of valence and arousal around those typical of their expression."""
_JPEG_QUALITY = 92


def draw_face(
    expression: Expression, valence: float, arousal: float, rng: np.random.Generator, *, side: int = 224
) -> Image.Image:
    """Draw one face; the same arguments and generator state give the same picture.

    Args:
        expression: moves brows, eyes and mouth most.
        valence: in [-1, 1]; bends the mouth.
        arousal: in [-1, 1]; opens eyes and mouth, lifts the brows.
        rng: draws person, pose, light and noise.
        side: width and height in pixels.
    """
    return draw(features_of(expression, valence, arousal), rng, side)


def write_faces(out: Path, count: int, *, seed: int = 0, progress: Progress = silent) -> None:
    """Write ``count`` faces in AffectNet's layout, expressions in equal numbers.

    Args:
        out: a folder that is empty, or not there; it appears whole or not at all.
        count: number of faces.
        seed: the same seed gives the same faces.
        progress: wraps the loop over the faces.

    Raises:
        DatasetError: the folder holds something already, or cannot be written.
    """
    try:
        # The folder is renamed into place, and "." has no name.
        place = out.resolve()
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise DatasetError(f"{out} is not empty: name a new folder for the synthetic faces")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(place) as partial:
            for number in progress(range(count), total=count, desc="faces", unit="picture"):
                _write_face(partial, number, np.random.default_rng((seed, number)))
    except OSError as exc:
        raise DatasetError(f"{out} cannot be written: {exc.strerror}") from exc


@contextmanager
def _replacing(place: Path) -> Iterator[Path]:
    """Yield an empty folder in AffectNet's layout, renamed to ``place`` when it is filled, or removed on an error."""
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for folder in ("images", "annotations"):
            (partial / folder).mkdir()
        yield partial
        # mkdtemp makes folders that only their owner can read.
        partial.chmod(0o755)
        partial.replace(place)
    except BaseException:
        shutil.rmtree(partial)
        raise


def _write_face(folder: Path, number: int, rng: np.random.Generator) -> None:
    expression = Expression(number % len(Expression))
    valence, arousal = np.clip(rng.normal(TYPICAL_AFFECT[expression], _SPREAD), AFFECT_MIN, AFFECT_MAX).round(4)
    picture = draw_face(expression, float(valence), float(arousal), rng)
    picture.save(folder / "images" / f"{number}.jpg", quality=_JPEG_QUALITY)
    for part, value in (("exp", int(expression)), ("val", valence), ("aro", arousal)):
        np.save(folder / "annotations" / f"{number}_{part}.npy", np.array(str(value)), allow_pickle=False)
