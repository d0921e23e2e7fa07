"""What a version directory says of itself, read without TensorFlow: its signatures and its warm-up records."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import SERVING_SIGNATURE
from affect_registry.store import SAVED_MODEL_FILE

_TAGS: Final = ["serve"]
"""A model server takes the graph with these tags, no more and no fewer."""
_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
"""TFRecord: u64 length, u32 checksum of it, the data, u32 checksum of them."""
_CHECKSUM_OFFSET: Final = 0xA282EAD8
_CASTAGNOLI: Final = 0x82F63B78
_WORD: Final = 0xFFFFFFFF


class SavedModelError(Exception):
    """A file is not what a model server can load; the text says which and why."""


class WarmupRecord(NamedTuple):
    """A request that is replayed before a version is called available."""

    signature: str
    inputs: Mapping[str, pb.TensorProto]
    batch_size: int


def read_signatures(directory: Path) -> Mapping[str, pb.SignatureDef]:
    """The signatures of the graph that a model server takes from the SavedModel in a version directory.

    Raises:
        SavedModelError: there is none, or it is empty, cut off, something else, or not for serving.
    """
    path = directory / SAVED_MODEL_FILE
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise SavedModelError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        graphs = pb.SavedModel.FromString(content).meta_graphs
    except DecodeError as exc:
        raise SavedModelError(f"{path} is cut off or no SavedModel: export it again") from exc
    for graph in graphs:
        if graph.meta_info_def.tags == _TAGS and graph.signature_def:
            return graph.signature_def
    raise SavedModelError(f"{path} has no signature under the tag {_TAGS[0]!r}: export it again")


def read_warmup(path: Path) -> Iterator[WarmupRecord]:
    """The records of a warm-up file, in order.

    Raises:
        SavedModelError: it is no TFRecord file of Predict requests, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise SavedModelError(f"{path} cannot be read: {exc.strerror}") from exc
    for data in _records(content, path):
        try:
            request = pb.PredictionLog.FromString(data).predict_log.request
        except DecodeError as exc:
            raise SavedModelError(f"{path} holds a record that is no PredictionLog: export the version again") from exc
        sizes = {tensor.tensor_shape.dim[0].size for tensor in request.inputs.values() if tensor.tensor_shape.dim}
        if len(sizes) != 1:
            raise SavedModelError(f"{path} holds a record that is no Predict request: export the version again")
        yield WarmupRecord(request.model_spec.signature_name or SERVING_SIGNATURE, request.inputs, sizes.pop())


def _records(content: bytes, path: Path) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        head = _checked(content, start, _LENGTH.size, path)
        start += _LENGTH.size + _CHECKSUM.size
        (length,) = _LENGTH.unpack(head)
        yield _checked(content, start, length, path)
        start += length + _CHECKSUM.size


def _checked(content: bytes, start: int, length: int, path: Path) -> bytes:
    """The bytes of that length, which their checksum follows."""
    end = start + length
    if end + _CHECKSUM.size > len(content):
        raise SavedModelError(f"{path} is cut off or no TFRecord file: export the version again")
    data = content[start:end]
    if _CHECKSUM.unpack_from(content, end) != (checksum(data),):
        raise SavedModelError(f"{path} is damaged or no TFRecord file: export the version again")
    return data


def checksum(data: bytes) -> int:
    """What follows ``data`` in a TFRecord file.

    Source: TensorFlow, tensorflow/core/lib/hash/crc32c.h.
    """
    crc = _WORD
    for byte in data:
        crc = _CRC_BY_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= _WORD
    return ((crc >> 15 | crc << 17) + _CHECKSUM_OFFSET) & _WORD


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc


_CRC_BY_BYTE: Final = tuple(map(_crc_of_byte, range(256)))
