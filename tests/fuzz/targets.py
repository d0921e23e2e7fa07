"""What takes bytes from outside, as functions that hold it to its promise: a result, or its one error."""

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from affect_contract.errors import AffectError
from affect_contract.preprocess import SHAPE, preprocess
from affect_contract.proto.affect.v1 import affect_pb2
from affect_dataset.errors import DatasetError
from affect_dataset.layouts.annotations import UnusableRow, parse_npy
from affect_dataset.layouts.csv_table import csv_rows
from affect_registry import store
from affect_serving.core.predictor import select_version
from affect_serving.http.body import Body
from affect_serving.http.picture_bodies import one_picture, several_pictures

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
MAX_PIXELS = 1_000_000
BOUNDARY = "b"
PARTS = 32


class Whole(Body):
    """A body that is there already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data


def picture(data: bytes) -> None:
    with contextlib.suppress(AffectError):
        assert preprocess(data, max_pixels=MAX_PIXELS).shape == SHAPE


def form(data: bytes) -> None:
    declared = f"multipart/form-data; boundary={BOUNDARY}"
    with contextlib.suppress(AffectError):
        assert len(asyncio.run(several_pictures(declared, Whole(data), PARTS))) <= PARTS


def content_type(data: bytes) -> None:
    with contextlib.suppress(AffectError):
        asyncio.run(several_pictures(f"multipart/form-data; {data.decode('latin-1')}", Whole(b"--b--\r\n"), PARTS))


def json_document(data: bytes) -> None:
    with contextlib.suppress(AffectError):
        assert isinstance(asyncio.run(one_picture("application/json", Whole(data))), bytes)


def rpc_message(data: bytes) -> None:
    with contextlib.suppress(AffectError, DecodeError):
        item = affect_pb2.StreamRequest.FromString(data)
        choice = item.request.WhichOneof("choice")
        select_version(
            item.request.version if choice == "version" else None, item.request.label if choice == "label" else None
        )


def npy(data: bytes) -> None:
    with contextlib.suppress(UnusableRow):
        assert isinstance(parse_npy(data), str)


def csv(data: bytes) -> None:
    table = _folder() / "table.csv"
    table.write_bytes(data)
    with contextlib.suppress(DatasetError):
        list(csv_rows(table).rows)


def models_config(data: bytes) -> None:
    (_folder() / "models.config").write_bytes(data)
    with contextlib.suppress(store.StoreError):
        store.read(_folder())


class Target(NamedTuple):
    """A reader, and the folder of the corpus that it begins with."""

    ask: Callable[[bytes], None]
    corpus: str

    def seeds(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted((CORPUS / self.corpus).iterdir())]


TARGETS = {
    "picture": Target(picture, "pictures"),
    "form": Target(form, "forms"),
    "content_type": Target(content_type, "content_types"),
    "json": Target(json_document, "json"),
    "rpc": Target(rpc_message, "rpc"),
    "npy": Target(npy, "npy"),
    "csv": Target(csv, "csv"),
    "models_config": Target(models_config, "models_config"),
}


@cache
def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="affect-fuzz-"))
    atexit.register(shutil.rmtree, made)
    return made
