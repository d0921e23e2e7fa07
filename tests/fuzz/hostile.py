"""Pictures made to hurt: bombs, malformed chunks, polyglots, enormous sides, thousands of frames, EXIF tricks."""

import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from affect_testbed.pictures import encoded, patches, png_header, webp_header

JPEG = encoded(patches(48, 32), "JPEG")
PNG = encoded(patches(48, 32), "PNG")
WEBP = encoded(patches(48, 32), "WEBP")


def chunk(kind: bytes, body: bytes, *, length: int | None = None) -> bytes:
    """A PNG's chunk, which may lie about its length."""
    size = len(body) if length is None else length
    return struct.pack(">I", size) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(made: bytes) -> bytes:
    """A PNG with a chunk more, before its pixels."""
    return PNG[:33] + made + PNG[33:]


def with_exif(tiff: bytes) -> bytes:
    """A JPEG with this as its EXIF data."""
    body = b"Exif\x00\x00" + tiff
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def ifd(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Little-endian TIFF data of one directory: tag, type, count, value or offset."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def many_scans(count: int, side: int) -> bytes:
    """A progressive JPEG that ends with the same scan again and again, each over all its pixels."""
    whole = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = [match.start() for match in re.finditer(b"\xff\xda", whole)][-1]
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def png_of_zeros(side: int) -> bytes:
    """A PNG of one colour: some kilobytes that become ``side`` squared pixels."""
    return encoded(Image.new("1", (side, side)), "PNG")


def many_frames(file_format: str, count: int) -> bytes:
    """An animation; no two frames alike, since encoders leave those out."""
    first, *rest = (Image.new("RGB", (2, 2), (number % 256, number // 256, 0)) for number in range(count))
    return encoded(first, file_format, save_all=True, append_images=rest)


def many_pictures(count: int) -> bytes:
    """A phone's JPEG with further pictures behind it."""
    others = [patches(8, 8, seed=seed % 5) for seed in range(count)]
    buffer = io.BytesIO()
    patches(48, 32).save(buffer, "MPO", save_all=True, append_images=others)
    return buffer.getvalue()


def refused() -> Iterator[tuple[str, bytes]]:
    """Those that get a refusal, each with its name."""
    yield "png of 3.6 gigapixels", png_header(60_000, 60_000)
    yield "png of 2^31 - 1 squared", png_header(2**31 - 1, 2**31 - 1)
    yield "png of no width", png_header(0, 100)
    yield "png bomb over the limit", png_of_zeros(6_400)
    yield "jpeg of 65,500 squared", JPEG.replace(b"\x08\x00\x20\x00\x30\x03", b"\x08\xff\xdc\xff\xdc\x03", 1)
    yield "webp of 2^24 squared", webp_header(b"VP8X", 2**24, 2**24)
    yield "jpeg of a thousand scans", many_scans(1_000, 1_000)
    yield "apng of two thousand frames", many_frames("PNG", 2_000)
    yield "webp of a thousand frames", many_frames("WEBP", 1_000)
    yield "png chunk longer than the file", with_chunk(chunk(b"tEXt", b"x", length=2**31 - 1))
    yield "png chunk of negative length", with_chunk(chunk(b"tEXt", b"x", length=2**32 - 1))
    yield "gif in a jpeg's clothes", b"GIF89a" + JPEG
    yield "html", b"<html><body>" + JPEG
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"


def taken() -> Iterator[tuple[str, bytes]]:
    """Those that are pictures all the same; what they carry besides changes nothing of them."""
    yield "jpeg and zip", JPEG + b"PK\x03\x04" + b"\x00" * 64
    yield "jpeg with a script in its comment", JPEG[:2] + b"\xff\xfe\x00\x14<?php system(); ?>" + JPEG[2:]
    yield "png and html", PNG + b"<script>alert(1)</script>"
    yield "webp and more", WEBP + b"\x00" * 3
    yield "png text bomb", with_chunk(chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(900_000))))
    yield "png chunk of no known kind", with_chunk(chunk(b"abCd", b"x" * 1_000))
    yield "jpeg and more of them", JPEG * 10
    yield "orientation 0", with_exif(ifd((0x0112, 3, 1, 0)))
    yield "orientation 9", with_exif(ifd((0x0112, 3, 1, 9)))
    yield "orientation as text", with_exif(ifd((0x0112, 2, 4, 0x00363636)))
    yield "four thousand million orientations", with_exif(ifd((0x0112, 3, 2**32 - 1, 0)))
    yield "orientation beyond the end", with_exif(ifd((0x0112, 5, 1, 2**32 - 1)))
    yield "exif that leads back to itself", with_exif(ifd((0x8769, 4, 1, 8), following=8))
    yield "exif of another byte order", with_exif(b"XX*\x00\x08\x00\x00\x00")
    yield "exif cut off", with_exif(ifd((0x0112, 3, 1, 6))[:12])


def untouched(name: str) -> bytes:
    """What a picture that is taken must be read as."""
    return PNG if name.startswith("png") else WEBP if name.startswith("webp") else JPEG
