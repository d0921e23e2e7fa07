"""Finding everything in a models directory that would stop TensorFlow Serving or keep a version from being served."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from affect_contract.models import MODELS
from affect_contract.proto.tfserving.v1 import server_files_pb2
from affect_contract.proto.tfserving.v1.model_server_config_pb2 import ModelConfig
from affect_contract.proto.tfserving.v1.serving_pb2 import SignatureDef
from affect_contract.signatures import mismatch, request_mismatch
from affect_registry import store
from affect_registry.model_server_settings import BATCHING_FILE, MONITORING_FILE
from affect_registry.saved_models import SavedModelError, WarmupRecord, read_signatures, read_warmup
from affect_registry.store import PROVENANCE_FILE, WARMUP_FILE, Entry, StoreError

Parsed = TypeVar("Parsed", bound=Message)
Result = TypeVar("Result")

_MAX_WARMUP_RECORDS: Final = 1000
_MINIMA: Final = {"batch_timeout_micros": 0, "max_enqueued_batches": 1, "num_batch_threads": 1}
"""The smallest value that the server accepts, by setting of the batching file."""


def check(root: Path, mount: PurePosixPath | None = None) -> list[str]:
    """Return the problems of a models directory, a sentence each.

    Args:
        root: the models directory.
        mount: the path at which the model server has it, if the paths in `models.config` are to be checked too.
    """
    problems: list[str] = []
    max_batch_size = _run_check(problems, _max_batch_size, root / BATCHING_FILE)
    _run_check(problems, _parse_server_file, root / MONITORING_FILE, server_files_pb2.MonitoringConfig())
    for config in _run_check(problems, _configs, root) or ():
        entry = _run_check(problems, store.parse_entry, config, root)
        if entry is None:
            continue
        _check_base_path(problems, root, entry, mount)
        for version in entry.versions:
            _check_version(problems, entry.name, entry.directory(root) / str(version), max_batch_size)
    return problems


def check_versions(root: Path, entries: store.Entries, versions: Mapping[str, int]) -> list[str]:
    """Return the problems of one version of each of some models, a sentence each."""
    problems: list[str] = []
    batching_file = root / BATCHING_FILE
    max_batch_size = _run_check(problems, _max_batch_size, batching_file) if batching_file.exists() else None
    for name, version in versions.items():
        _check_version(problems, name, entries[name].directory(root) / str(version), max_batch_size)
    return problems


def _check_version(problems: list[str], name: str, directory: Path, max_batch_size: int | None) -> None:
    signatures = _run_check(problems, _checked_signatures, name, directory)
    _run_check(problems, _check_warmup, directory / WARMUP_FILE, signatures, max_batch_size)


def _run_check(problems: list[str], check: Callable[..., Result], *arguments: object) -> Result | None:
    """Return the result of a check; if it finds something wrong, add that to ``problems`` and return None."""
    try:
        return check(*arguments)
    except (StoreError, SavedModelError) as exc:
        problems.append(str(exc))
    except OSError as exc:
        problems.append(f"{exc.filename} cannot be read: {exc.strerror}; check its permissions")
    return None


def _configs(root: Path) -> Sequence[ModelConfig]:
    if not (root / store.CONFIG_FILE).exists():
        raise StoreError(f"{root} has no {store.CONFIG_FILE}: publish a model with affect-train --models {root}")
    configs = store.read_configs(root)
    if not configs:
        raise StoreError(f"{root / store.CONFIG_FILE} names no model: publish one with affect-train --models {root}")
    return configs


def _check_base_path(problems: list[str], root: Path, entry: Entry, mount: PurePosixPath | None) -> None:
    if mount is not None and entry.base_path.parent != mount:
        problems.append(
            f"{root / store.CONFIG_FILE} gives {entry.name} the base_path {entry.base_path}, which is not in {mount}: "
            f"mount the directory at {entry.base_path.parent}, or set the base_path to {mount / entry.base_path.name}"
        )


def _checked_signatures(name: str, directory: Path) -> Mapping[str, SignatureDef]:
    if not directory.is_dir():
        raise StoreError(
            f"{directory} does not exist, but {store.CONFIG_FILE} lists it or is about to: restore it, or remove "
            f"version {directory.name} of {name} from the list"
        )
    signatures = read_signatures(directory)
    difference = mismatch(MODELS[name], signatures) if name in MODELS else None
    if difference:
        raise SavedModelError(f"{directory} is not what the contract says of {name}: {difference}")
    return signatures


def _check_warmup(path: Path, signatures: Mapping[str, SignatureDef] | None, max_batch_size: int | None) -> None:
    """Check the warm-up records against the version's signatures and the largest batch, as far as these are known."""
    if not path.exists():
        if (path.parents[1] / PROVENANCE_FILE).exists():
            raise SavedModelError(f"{path} is missing: export the version again, or its first requests will be slow")
        return
    records = list(read_warmup(path))
    if len(records) > _MAX_WARMUP_RECORDS:
        raise SavedModelError(
            f"{path} holds {len(records):,} records, more than the {_MAX_WARMUP_RECORDS:,} that a server accepts: "
            "export the version again"
        )
    for record in records:
        problem = _record_problem(record, signatures, max_batch_size)
        if problem:
            raise SavedModelError(f"{path} {problem}")


def _record_problem(
    record: WarmupRecord, signatures: Mapping[str, SignatureDef] | None, max_batch_size: int | None
) -> str | None:
    """Return why a record would stop the server, as the end of a sentence; None if it would not."""
    if max_batch_size is not None and record.batch_size > max_batch_size:
        return (
            f"holds a record of {record.batch_size} pictures, more than the {max_batch_size} of max_batch_size in "
            f"{BATCHING_FILE}, which stops the server: raise it, or export the version again"
        )
    if signatures is None:
        return None
    if record.signature not in signatures:
        return f"asks for the signature {record.signature}, which the model lacks: export the version again"
    difference = request_mismatch(record.inputs, signatures[record.signature])
    if difference:
        return f"holds a record that {record.signature} does not accept: {difference}; export the version again"
    return None


def _max_batch_size(path: Path) -> int:
    """Check a batching file, and return the largest batch that it allows."""
    parameters = _parse_server_file(path, server_files_pb2.BatchingParameters())
    sizes = list(parameters.allowed_batch_sizes)
    largest = parameters.max_batch_size.value
    if largest < 1:
        raise StoreError(f"{path} sets no max_batch_size: set one, or remove the file and publish again")
    for name, minimum in _MINIMA.items():
        if parameters.HasField(name) and getattr(parameters, name).value < minimum:
            raise StoreError(f"{path} sets {name} to {getattr(parameters, name).value}: make it {minimum} or more")
    if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != largest):
        raise StoreError(
            f"{path} has the allowed_batch_sizes {sizes}: they must rise from 1 or more and end with max_batch_size "
            f"{largest}"
        )
    if parameters.enable_large_batch_splitting.value and parameters.max_execution_batch_size.value > largest:
        raise StoreError(
            f"{path} sets max_execution_batch_size to {parameters.max_execution_batch_size.value}: make it "
            f"max_batch_size {largest} or less"
        )
    return largest


def _parse_server_file(path: Path, message: Parsed) -> Parsed:
    """Read a settings file of the server into ``message``; as in the server, an unknown name is an error."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise StoreError(f"{path} cannot be read: {exc}; publishing a model writes it") from exc
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as exc:
        raise StoreError(f"{path} is no {type(message).__name__}: {exc}") from exc
