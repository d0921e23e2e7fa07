"""Reading the signatures and the warm-up records of a version directory, without TensorFlow."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import SERVING_SIGNATURE
from affect_registry.store import SAVED_MODEL_FILE

_TAGS: Final = ["serve"]
"""A model server loads the graph that has exactly these tags."""
_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
"""A TFRecord is a u64 length, a u32 checksum of the length, the data, and a u32 checksum of the data."""
_CRC_MASK_DELTA: Final = 0xA282EAD8
_CASTAGNOLI_POLYNOMIAL: Final = 0x82F63B78
_UINT32_MASK: Final = 0xFFFFFFFF


class SavedModelError(Exception):
    """A file that a model server could not load; the text names it and says why."""


class WarmupRecord(NamedTuple):
    """A request that the model server replays before it calls a version available."""

    signature: str
    inputs: Mapping[str, pb.TensorProto]
    batch_size: int


def read_signatures(directory: Path) -> Mapping[str, pb.SignatureDef]:
    """Return the signatures of the graph that a model server would load from a version directory.

    Raises:
        SavedModelError: there is no SavedModel, or it is empty, cut off, of another kind, or not for serving.
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
    """Yield the records of a warm-up file, in order.

    Raises:
        SavedModelError: the file is no TFRecord file of Predict requests, or is damaged.
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
        head = _verified(content, start, _LENGTH.size, path)
        start += _LENGTH.size + _CHECKSUM.size
        (length,) = _LENGTH.unpack(head)
        yield _verified(content, start, length, path)
        start += length + _CHECKSUM.size


def _verified(content: bytes, start: int, length: int, path: Path) -> bytes:
    """Return ``length`` bytes from ``start`` on, verified with the checksum that follows them."""
    end = start + length
    if end + _CHECKSUM.size > len(content):
        raise SavedModelError(f"{path} is cut off or no TFRecord file: export the version again")
    data = content[start:end]
    if _CHECKSUM.unpack_from(content, end) != (masked_crc32c(data),):
        raise SavedModelError(f"{path} is damaged or no TFRecord file: export the version again")
    return data


def masked_crc32c(data: bytes) -> int:
    """Return the checksum that follows ``data`` in a TFRecord file.

    Source: TensorFlow, tensorflow/core/lib/hash/crc32c.h.
    """
    crc = _UINT32_MASK
    for byte in data:
        crc = _CRC_BY_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= _UINT32_MASK
    return ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & _UINT32_MASK


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (_CASTAGNOLI_POLYNOMIAL if crc & 1 else 0)
    return crc


_CRC_BY_BYTE: Final = tuple(map(_crc_of_byte, range(256)))
