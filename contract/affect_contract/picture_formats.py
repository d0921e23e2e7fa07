"""The picture formats that are accepted."""

from pathlib import PurePath
from typing import Final

MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""The media types of the formats, by Pillow's name of each format."""
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
"""The suffixes of files of these formats, in lower case."""


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a file has the suffix of one of these formats, in upper or lower case."""
    return path.suffix.lower() in PICTURE_SUFFIXES
