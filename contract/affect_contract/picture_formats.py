"""The picture formats that are taken; needs no decoder."""

from pathlib import PurePath
from typing import Final

MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""The formats, by Pillow's name, and the media type of each."""
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
"""The suffixes, in lower case, by which files of those formats are found in a folder."""


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a file's name says that it is a picture of a format that is taken."""
    return path.suffix.lower() in PICTURE_SUFFIXES
