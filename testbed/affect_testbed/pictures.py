"""Make pictures for tests, and picture files with chosen headers."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def patches(width: int = 224, height: int = 224, *, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Draw coloured patches: their structure survives scaling, and pictures of different seeds differ."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    """Encode an image as a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size but holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def webp_header(kind: bytes, width: int, height: int) -> bytes:
    """Return a WebP in one of its three layouts that declares a size but holds no pixels."""
    if kind == b"VP8 ":
        chunk = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    elif kind == b"VP8L":
        chunk = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
    else:
        chunk = b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    riff = b"WEBP" + kind + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(riff)) + riff


def animated(file_format: str) -> bytes:
    """Encode an animation of two different frames."""
    return encoded(patches(32, 32), file_format, save_all=True, append_images=[patches(32, 32, seed=1)])
