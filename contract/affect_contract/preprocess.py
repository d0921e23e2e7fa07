"""Decoding a picture into the input of a model: the one definition for training, serving, evaluation and clients.

The whole picture is resized to `SIDE` x `SIDE`, whatever its proportions; a picture of that size keeps its pixels.
Colour profiles are ignored, as TensorFlow's decoders ignore them.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from affect_contract.errors import InvalidImage, TooLarge
from affect_contract.picture_formats import MEDIA_TYPES

PREPROCESS_VERSION: Final = 1
"""Increased by every change that alters any output value; cached features and exported models record it."""

SIDE: Final = 224
CHANNELS: Final = 3
SHAPE: Final = (SIDE, SIDE, CHANNELS)

MAX_IMAGE_BYTES: Final = 10 * 2**20
MAX_PIXELS: Final = 40_000_000
HARD_MAX_PIXELS: Final = 178_956_970
"""The largest picture that Pillow opens."""

_JPEG_MAGIC: Final = b"\xff\xd8"
_START_OF_SCAN: Final = b"\xff\xda"
_MAX_SCANS: Final = 30
"""The most scans in a JPEG, with those of thumbnails and further pictures; encoders write about ten for a picture."""
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_WHITE: Final = (255, 255, 255, 255)
_OPAQUE_MODES: Final = ("RGB", "L", "1", "CMYK", "YCbCr")

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns a picture upright, by its EXIF orientation (EXIF 2.32, tag 0x0112)."""


def preprocess(data: bytes, *, max_bytes: int = MAX_IMAGE_BYTES, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP picture into the input of every backbone.

    The EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become RGB; transparent pixels are laid
    on white; the resize is bilinear with antialiasing.

    Args:
        data: the encoded picture; its format is found from the bytes.
        max_bytes: the most bytes that are accepted.
        max_pixels: the most pixels that are accepted, at most `HARD_MAX_PIXELS`; they are read from the header, before
            anything is decoded.

    Returns:
        uint8 [224, 224, 3], RGB, C-contiguous.

    Raises:
        TooLarge: the picture has more than ``max_bytes`` bytes or ``max_pixels`` pixels.
        InvalidImage: it is empty, of another format, animated, truncated, corrupt, or a JPEG with too many scans.
    """
    if not data:
        raise InvalidImage("the picture is empty: send the bytes of a JPEG, PNG or WebP file")
    if len(data) > max_bytes:
        raise TooLarge(f"the picture has {len(data):,} bytes, more than the {max_bytes:,} accepted: send a smaller one")
    _check_scans(data)
    with _translated_faults(max_pixels):
        _check_declared_size(data, max_pixels)
        image: Image.Image = Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES))
        _check_pixels(image.width, image.height, max_pixels)
        _refuse_animation(image)
        orientation = _orientation(image)
        image.load()
        image = _to_rgb(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if image.size != (SIDE, SIDE):
        # Pillow's bilinear filter widens as it shrinks a picture, which is the antialiasing.
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.uint8)


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG with many scans: each can be 60 bytes and still keeps a processor busy for 25 ms."""
    if data[:2] == _JPEG_MAGIC and (scans := data.count(_START_OF_SCAN)) > _MAX_SCANS:
        raise InvalidImage(f"the JPEG has {scans:,} scans, more than the {_MAX_SCANS} accepted: save it again")


@contextmanager
def _translated_faults(max_pixels: int) -> Iterator[None]:
    """Turn what Pillow raises on hostile or broken bytes into the contract's errors."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many_pixels(max_pixels) from exc
    except UnidentifiedImageError as exc:
        raise InvalidImage("this is no JPEG, PNG or WebP picture: send the bytes of one") from exc
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error) as exc:
        raise InvalidImage("the picture is truncated or corrupt: send the whole file") from exc


def _too_many_pixels(max_pixels: int) -> TooLarge:
    return TooLarge(f"the picture has more than the {max_pixels:,} pixels accepted: scale it down first")


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _too_many_pixels(max_pixels)


def _check_declared_size(data: bytes, max_pixels: int) -> None:
    """Check the size in the first chunk of a PNG or WebP, before Pillow reads on or allocates the whole canvas.

    Source: PNG (third edition), section 11.2.1; RFC 9649, sections 2.5 to 2.7 (lossy, lossless, extended WebP).
    """
    if data[:8] == _PNG_MAGIC and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        width, height = _webp_canvas(data)
    else:
        return
    _check_pixels(width, height, max_pixels)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case _:
            return 0, 0


def _refuse_animation(image: Image.Image) -> None:
    # A phone's JPEG may hold further pictures (format MPO); its first one is the photograph.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InvalidImage("the picture is animated: send one still picture")


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, or None; broken EXIF data counts as none, as in browsers."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error):
        return None
    return value if isinstance(value, int) else None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bit_grey(image)
    if image.mode in _OPAQUE_MODES and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    """Keep the high byte of a 16-bit grey picture, as Pillow itself does for 16-bit colour."""
    deep = np.asarray(image)
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(deep == transparent, 0, 255).astype(np.uint8)))
    return grey
