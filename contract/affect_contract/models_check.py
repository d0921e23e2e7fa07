"""Everything in a models directory that would stop a TensorFlow Serving, or keep a version from being served."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from affect_contract import store
from affect_contract.models import MODELS
from affect_contract.proto.tfserving.v1 import server_files_pb2
from affect_contract.saved_models import SavedModelError, read_signatures, read_warmup
from affect_contract.server_files import BATCHING_FILE, MONITORING_FILE
from affect_contract.signatures import mismatch
from affect_contract.store import PROVENANCE_FILE, WARMUP_FILE, Entry, StoreError

Parsed = TypeVar("Parsed", bound=Message)


def check(root: Path, mount: PurePosixPath | None = None) -> list[str]:
    """What is wrong, a sentence each; empty where nothing is.

    Args:
        root: the models directory.
        mount: where the model server sees it, if that is to be held against `models.config` too.
    """
    problems = [
        *_problem(_largest_batch, root / BATCHING_FILE),
        *_problem(_parsed, root / MONITORING_FILE, server_files_pb2.MonitoringConfig()),
        *_problem(_entries, root),
    ]
    if problems:
        return problems
    limit = _largest_batch(root / BATCHING_FILE)
    return [problem for entry in _entries(root).values() for problem in _entry_problems(root, entry, mount, limit)]


def _problem(check: Callable[..., object], *arguments: object) -> Iterator[str]:
    """What a check finds wrong, if anything."""
    try:
        check(*arguments)
    except (StoreError, SavedModelError) as exc:
        yield str(exc)


def _entries(root: Path) -> store.Entries:
    if not (root / store.CONFIG_FILE).exists():
        raise StoreError(f"{root} has no {store.CONFIG_FILE}: publish a model with affect-train --models {root}")
    entries = store.read(root)
    if not entries:
        raise StoreError(f"{root / store.CONFIG_FILE} names no model: publish one with affect-train --models {root}")
    return entries


def _entry_problems(root: Path, entry: Entry, mount: PurePosixPath | None, limit: int) -> Iterator[str]:
    if mount is not None and entry.base_path.parent != mount:
        yield (
            f"{root / store.CONFIG_FILE} gives {entry.name} the base_path {entry.base_path}, which is not in {mount}: "
            f"publish with --base-path {mount}, or mount the directory at {entry.base_path.parent}"
        )
    for version in entry.versions:
        directory = entry.directory(root) / str(version)
        yield from _problem(_check_version, entry.name, directory)
        yield from _problem(_check_warmup, directory / WARMUP_FILE, limit)


def _check_version(name: str, directory: Path) -> None:
    signatures = read_signatures(directory)
    difference = mismatch(MODELS[name], signatures) if name in MODELS else None
    if difference:
        raise SavedModelError(f"{directory} is not what the contract says of {name}: {difference}")


def _check_warmup(path: Path, limit: int) -> None:
    if not path.exists():
        if (path.parents[1] / PROVENANCE_FILE).exists():
            raise SavedModelError(f"{path} is missing: export the version again, or its first requests will be slow")
        return
    for record in read_warmup(path):
        if record.batch_size > limit:
            raise SavedModelError(
                f"{path} holds a record of {record.batch_size} pictures, more than the {limit} of max_batch_size in "
                f"{BATCHING_FILE}, which stops the server: raise it, or export the version again"
            )


def _largest_batch(path: Path) -> int:
    parameters = _parsed(path, server_files_pb2.BatchingParameters())
    sizes = list(parameters.allowed_batch_sizes)
    largest = parameters.max_batch_size.value
    if largest < 1:
        raise StoreError(f"{path} sets no max_batch_size: set one, or remove the file and publish again")
    if sizes and (sizes != sorted(set(sizes)) or sizes[-1] != largest):
        raise StoreError(
            f"{path} has the allowed_batch_sizes {sizes}: they must rise and end with max_batch_size {largest}"
        )
    return largest


def _parsed(path: Path, message: Parsed) -> Parsed:
    """A settings file of the server; it may set more than is known here."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise StoreError(f"{path} cannot be read: {exc}; publishing a model writes it") from exc
    try:
        return text_format.Parse(text, message, allow_unknown_field=True)
    except text_format.ParseError as exc:
        raise StoreError(f"{path} is no {type(message).__name__}: {exc}") from exc
