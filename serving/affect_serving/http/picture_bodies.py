"""The pictures in an HTTP request's body: raw, in a multipart form, or base64 in JSON; no temporary file is written."""

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pydantic
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from affect_contract.errors import InvalidImage, InvalidRequest, TooLarge, UnsupportedMediaType
from affect_contract.picture_formats import MEDIA_TYPES
from affect_contract.schemas import EncodedPicture
from affect_serving.http.body import Body
from affect_serving.settings import Settings

PICTURE_PART: Final = "image"
PICTURES_PART: Final = "images"

RAW_TYPES: Final = tuple(MEDIA_TYPES.values())
FORM_TYPE: Final = "multipart/form-data"
JSON_TYPE: Final = "application/json"
_ANY_BYTES: Final = "application/octet-stream"
"""The type that form libraries declare for a part whose type they do not know."""

PICTURE_PATH: Final = "/predict"
BATCH_PATH: Final = "/predict/batch"

_PART_OVERHEAD: Final = 16 * 2**10
"""Bytes allowed for the headers and boundaries of one part of a form."""
_MAX_HEADER_BYTES: Final = 8 * 2**10
_BASE64_PIECE: Final = 64 * 2**10


@dataclass
class Part:
    """One part of a multipart form."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        """The name of the form field; empty where the part has none."""
        _, options = parse_options_header(self.headers.get(b"content-disposition", b""))
        return options.get(b"name", b"").decode("utf-8", "replace")

    @property
    def media_type(self) -> str:
        """The declared media type, in lower case and without parameters; empty where none is declared."""
        return _bare_type(self.headers.get(b"content-type", b"").decode("latin-1"))


def body_limit(path: str, content_type: str, settings: Settings) -> int:
    """Return the most bytes that a body sent to ``path`` as ``content_type`` may have."""
    one = settings.max_image_bytes + _PART_OVERHEAD
    if path == BATCH_PATH:
        return settings.max_batch_images * one
    media_type = _bare_type(content_type)
    if media_type == JSON_TYPE:
        return settings.max_image_bytes * 4 // 3 + _PART_OVERHEAD
    return one if media_type == FORM_TYPE else settings.max_image_bytes


async def one_picture(content_type: str, body: Body) -> bytes:
    """Read the encoded picture of a ``POST /predict``.

    Raises:
        AffectError: the body is too large, too slow, of a type that is not accepted, or without a picture.
    """
    media_type = _bare_type(content_type)
    if media_type == FORM_TYPE:
        parts = await _form(content_type, body, PICTURE_PART, most=1)
        return bytes(parts[0].data)
    if media_type == JSON_TYPE:
        return await body.parsed(_from_json)
    if media_type and media_type not in RAW_TYPES:
        raise _unsupported(media_type)
    picture = await body.read()
    if not picture:
        raise InvalidImage("the body is empty: send the bytes of a JPEG, PNG or WebP file")
    return picture


async def several_pictures(content_type: str, body: Body, most: int) -> list[bytes]:
    """Read the encoded pictures of a ``POST /predict/batch``, in order.

    Raises:
        AffectError: the body is too large, too slow, of a type that is not accepted, or without pictures.
    """
    media_type = _bare_type(content_type)
    if media_type != FORM_TYPE:
        raise UnsupportedMediaType(
            f"a batch is sent as {FORM_TYPE} with parts named {PICTURES_PART!r}, not as {media_type or 'a raw body'}"
        )
    return [bytes(part.data) for part in await _form(content_type, body, PICTURES_PART, most=most)]


def _bare_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _unsupported(media_type: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"{media_type} is not taken: send {', '.join(RAW_TYPES)}, {FORM_TYPE} or {JSON_TYPE} as Content-Type"
    )


def _from_json(body: bytes) -> bytes:
    try:
        document = EncodedPicture.model_validate_json(body)
    except pydantic.ValidationError as exc:
        problem = exc.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidRequest(f'the JSON must be {{"image": "<base64>"}}: {problem}') from exc
    try:
        return _from_base64(document.image)
    except ValueError as exc:
        raise InvalidRequest(f'the value of "image" is not base64: {exc}') from exc


def _from_base64(text: str) -> bytes:
    """Decode base64 text piece by piece, since other threads cannot run while a piece is decoded.

    Raises:
        ValueError: the text is not base64.
    """
    pieces: list[bytes] = []
    for start in range(0, len(text), _BASE64_PIECE):
        if pieces and len(pieces[-1]) < _BASE64_PIECE // 4 * 3:
            raise ValueError("padding in the middle")
        pieces.append(binascii.a2b_base64(text[start : start + _BASE64_PIECE], strict_mode=True))
    return b"".join(pieces)


async def _form(content_type: str, body: Body, wanted: str, *, most: int) -> list[Part]:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidRequest(f"the Content-Type {FORM_TYPE} names no boundary: let your HTTP library set it")
    parts = await body.parsed(lambda form: _parse(form, boundary, 2 * most))
    pictures = [part for part in parts if part.name == wanted]
    if not pictures:
        names = ", ".join(sorted({repr(part.name) for part in parts})) or "none"
        raise InvalidRequest(f"the form has no part named {wanted!r} (it has {names}): name the picture so")
    if len(pictures) > most:
        raise _too_many(len(pictures), most)
    for part in pictures:
        if part.media_type and part.media_type not in (*RAW_TYPES, _ANY_BYTES):
            raise _unsupported(part.media_type)
    return pictures


def _too_many(count: int, most: int) -> InvalidRequest | TooLarge:
    if most == 1:
        return InvalidRequest(f"the form has {count} parts named {PICTURE_PART!r}: send one, or use /predict/batch")
    return TooLarge(f"{count} pictures are more than the {most} of one batch: send several batches")


def _parse(body: bytes, boundary: bytes, most_parts: int) -> list[Part]:
    """Parse the body of a multipart form, and return its parts in order."""
    collector = _Collector(most_parts)
    try:
        parser = MultipartParser(boundary, collector.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as exc:
        raise InvalidRequest(f"the form cannot be read: {exc}") from exc
    return collector.parts


class _Collector:
    """Collects the parts of a form from the parser's callbacks."""

    def __init__(self, most_parts: int) -> None:
        self.parts: list[Part] = []
        self._most = most_parts
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.parts[-1].data.extend(data[start:end]),
            "on_header_field": lambda data, start, end: self._extend(self._name, data[start:end]),
            "on_header_value": lambda data, start, end: self._extend(self._value, data[start:end]),
            "on_header_end": self._end_header,
        }

    def _begin(self) -> None:
        if len(self.parts) == self._most:
            raise InvalidRequest(f"the form has more than {self._most} parts: send pictures alone")
        self.parts.append(Part())

    def _extend(self, text: bytearray, more: bytes) -> None:
        text.extend(more)
        if len(text) > _MAX_HEADER_BYTES:
            raise InvalidRequest("a header of the form is too long: send pictures alone")

    def _end_header(self) -> None:
        self.parts[-1].headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()
