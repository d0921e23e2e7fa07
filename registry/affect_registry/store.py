"""The files of the models directory: the versions on disk, and `models.config`, which alone says what is served.

    MODELS/models.config
    MODELS/mobilenet_v2_affect/1/saved_model.pb

This module only reads and writes files. Whether a server has loaded them is found out by `rollout`.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from google.protobuf import text_format

from affect_contract.atomic_files import write_atomically
from affect_contract.models import MODELS
from affect_contract.proto.tfserving.v1 import model_server_config_pb2 as config_pb2
from affect_contract.versions import STABLE

CONFIG_FILE: Final = "models.config"
SAVED_MODEL_FILE: Final = "saved_model.pb"
WARMUP_FILE: Final = "assets.extra/tf_serving_warmup_requests"
PROVENANCE_FILE: Final = "assets.extra/affect.json"

_LABEL: Final = re.compile(r"[A-Za-z0-9_]+")
_LOCK_FILE: Final = ".lock"
_PLATFORM: Final = "tensorflow"


class StoreError(Exception):
    """The models directory cannot be used as it is; the text says what to do."""


@dataclass(frozen=True)
class Entry:
    """One model's entry in `models.config`."""

    name: str
    base_path: PurePosixPath
    """The absolute path of the model on the model server, which may be another machine."""
    versions: tuple[int, ...]
    """The versions to load, ascending."""
    labels: Mapping[str, int]
    """The labelled versions, by label."""

    @property
    def labelled_versions(self) -> tuple[int, ...]:
        """The versions that carry a label, ascending; others are listed only while a change is under way."""
        return tuple(sorted(set(self.labels.values())))

    def directory(self, root: Path) -> Path:
        """Return the model's directory inside ``root``, wherever the model server mounts it."""
        return root / self.base_path.name


Entries = Mapping[str, Entry]
"""The entries of a `models.config`, by model name."""


def versions_on_disk(directory: Path) -> tuple[int, ...]:
    """Return the version numbers in a model's directory, ascending; empty if there is no directory."""
    if not directory.is_dir():
        return ()
    numbers = (int(path.name) for path in directory.iterdir() if path.name.isdecimal() and path.is_dir())
    return tuple(sorted(number for number in numbers if number > 0))


def read(root: Path) -> dict[str, Entry]:
    """Read the entries of the models directory ``root``.

    Without a `models.config`, the entry of each of the contract's models lists its highest version, labelled stable.

    Raises:
        StoreError: the directory does not exist or cannot be read, or a model server would refuse its `models.config`.
    """
    try:
        if not root.is_dir():
            raise StoreError(
                f"there is no models directory {root}: publish models to it with affect-train --models {root}"
            )
        if not (root / CONFIG_FILE).exists():
            return _default_entries(root)
        return {config.name: parse_entry(config, root) for config in read_configs(root)}
    except OSError as exc:
        raise _unreadable(exc, root) from exc


def read_configs(root: Path) -> Sequence[config_pb2.ModelConfig]:
    """Read the entries of ``root``'s `models.config` unchecked, just as they are written.

    Raises:
        StoreError: the file cannot be read, is no ModelServerConfig, or names a model twice.
    """
    where = root / CONFIG_FILE
    try:
        message = text_format.Parse(where.read_text(encoding="utf-8"), config_pb2.ModelServerConfig())
    except OSError as exc:
        raise _unreadable(exc, root) from exc
    except UnicodeDecodeError as exc:
        raise StoreError(f"{where} cannot be read: {exc}") from exc
    except text_format.ParseError as exc:
        raise StoreError(f"{where} is not a ModelServerConfig that Affect can read: {exc}") from exc
    configs = message.model_config_list.config
    names = [config.name for config in configs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise StoreError(f"{where} names the model {twice[0]!r} twice: keep one of the two entries")
    return configs


def parse_entry(config: config_pb2.ModelConfig, root: Path) -> Entry:
    """Check an entry of ``root``'s `models.config`, and return it.

    A version policy other than ``specific`` is resolved to the versions that are on disk now.

    Raises:
        StoreError: a model server would refuse the entry.
    """
    base_path = PurePosixPath(config.base_path)
    versions = _resolved_versions(config.model_version_policy, root / base_path.name)
    entry = Entry(config.name, base_path, versions, dict(config.version_labels))
    _require_valid(entry, root / CONFIG_FILE)
    if config.model_platform != _PLATFORM:
        raise StoreError(
            f"{root / CONFIG_FILE} gives {entry.name} the model_platform {config.model_platform!r}: "
            f"set it to {_PLATFORM!r}"
        )
    return entry


def render(entries: Entries) -> str:
    """Return the text of a `models.config` with ``entries``, in the order of their names."""
    message = config_pb2.ModelServerConfig()
    for _, entry in sorted(entries.items()):
        message.model_config_list.config.append(
            config_pb2.ModelConfig(
                name=entry.name,
                base_path=str(entry.base_path),
                model_platform=_PLATFORM,
                model_version_policy=config_pb2.ServableVersionPolicy(
                    specific=config_pb2.ServableVersionPolicy.Specific(versions=entry.versions)
                ),
                version_labels=dict(entry.labels),
            )
        )
    return text_format.MessageToString(message)


def write(root: Path, entries: Entries) -> None:
    """Replace `models.config` by one with ``entries``, atomically.

    Raises:
        StoreError: an entry would stop the model server, or the directory cannot be written.
    """
    for entry in entries.values():
        _require_valid(entry, root / CONFIG_FILE)
    try:
        write_atomically(root / CONFIG_FILE, render(entries))
    except OSError as exc:
        raise StoreError(f"{root / CONFIG_FILE} cannot be written: {exc.strerror}") from exc


def next_version(root: Path) -> int:
    """Return a version number larger than any in ``root``, for all models of one publication."""
    listed = (version for entry in read(root).values() for version in entry.versions)
    on_disk = (version for path in root.iterdir() for version in versions_on_disk(path))
    return max((*listed, *on_disk), default=0) + 1


@contextmanager
def locked(root: Path, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of the directory, which excludes every other change; if it has to wait, call ``on_wait`` first."""
    with (root / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unreadable(exc: OSError, root: Path) -> StoreError:
    return StoreError(
        f"{exc.filename} cannot be read: {exc.strerror}; user {os.getuid()} needs to read everything in {root}"
    )


def _default_entries(root: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for name in MODELS:
        versions = versions_on_disk(root / name)
        if versions:
            base_path = PurePosixPath((root / name).resolve())
            entries[name] = Entry(name, base_path, versions[-1:], {STABLE: versions[-1]})
    return entries


def _resolved_versions(policy: config_pb2.ServableVersionPolicy, directory: Path) -> tuple[int, ...]:
    match policy.WhichOneof("policy_choice"):
        case "specific":
            return tuple(sorted(set(policy.specific.versions)))
        case "all":
            return versions_on_disk(directory)
        case _:
            # TensorFlow Serving's default policy is the one latest version.
            return versions_on_disk(directory)[-(policy.latest.num_versions or 1) :]


def _require_valid(entry: Entry, where: Path) -> None:
    if not entry.name:
        raise StoreError(f"{where} has an entry without a name: name the model or remove the entry")
    if not entry.base_path.is_absolute():
        raise StoreError(
            f"{where} gives {entry.name} the relative base_path {str(entry.base_path)!r}: make it absolute"
        )
    if not entry.versions or min(entry.versions) < 1:
        raise StoreError(f"{where} names no version of {entry.name}: list whole numbers from 1, or remove the entry")
    for label, version in entry.labels.items():
        if not _LABEL.fullmatch(label):
            raise StoreError(f"{where} gives {entry.name} the label {label!r}: use only letters, digits and _")
        if version not in entry.versions:
            raise StoreError(
                f"{where} labels version {version} of {entry.name} {label!r} without listing that version: "
                "add it under model_version_policy or move the label"
            )
