"""What a version directory says of itself, read without TensorFlow: its signatures and its warm-up records."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.store import SAVED_MODEL_FILE

_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM_BYTES: Final = 4
"""TFRecord: u64 length, u32 checksum of it, the data, u32 checksum of them."""


class SavedModelError(Exception):
    """A file is not what a model server can load; the text says which and why."""


class WarmupRecord(NamedTuple):
    """A request that is replayed before a version is called available."""

    signature: str
    batch_size: int


def read_signatures(directory: Path) -> Mapping[str, pb.SignatureDef]:
    """The signatures of the SavedModel in a version directory.

    Raises:
        SavedModelError: there is none, or it is empty, cut off or something else.
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
    if not graphs or not graphs[0].signature_def:
        raise SavedModelError(f"{path} has no signature: export it again")
    return graphs[0].signature_def


def read_warmup(path: Path) -> Iterator[WarmupRecord]:
    """The records of a warm-up file, in order.

    Raises:
        SavedModelError: it is no TFRecord file of Predict requests, or cut off.
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
        yield WarmupRecord(request.model_spec.signature_name, sizes.pop())


def _records(content: bytes, path: Path) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        begin = start + _LENGTH.size + _CHECKSUM_BYTES
        if begin > len(content):
            raise _cut_off(path)
        (length,) = _LENGTH.unpack_from(content, start)
        start = begin + length + _CHECKSUM_BYTES
        if start > len(content):
            raise _cut_off(path)
        yield content[begin : begin + length]


def _cut_off(path: Path) -> SavedModelError:
    return SavedModelError(f"{path} is cut off or no TFRecord file: export the version again")
