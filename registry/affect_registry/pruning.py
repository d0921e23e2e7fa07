"""Pruning: deleting the version directories that are no longer needed."""

import shutil
from pathlib import Path
from typing import Final

from affect_contract.atomic_files import sync_folder
from affect_contract.models import MODELS
from affect_registry import promotion, store

_BIN: Final = ".pruned"
"""Directories are moved here before they are deleted, so that half a version never looks like a whole one."""


def prunable_versions(root: Path, keep: int) -> list[Path]:
    """Return the version directories that can be deleted, ordered by model and number.

    A version stays if `models.config` names it, if it is among the ``keep`` newest of its model (``keep`` is at least
    1, so that no number is ever used twice), or if a rollback would return to it.

    Raises:
        StoreError: the directory or its record cannot be read.
    """
    entries = store.read(root)
    rollback_targets = promotion.previously_stable(root, entries)
    found = []
    for name in MODELS:
        directory = entries[name].directory(root) if name in entries else root / name
        versions = store.versions_on_disk(directory)
        needed = {*versions[-keep:], rollback_targets.get(name), *(entries[name].versions if name in entries else ())}
        found += [directory / str(version) for version in versions if version not in needed]
    return found


def prune(root: Path, keep: int) -> list[Path]:
    """Delete the `prunable_versions`, and return their directories. The caller holds the lock.

    Raises:
        StoreError: the directory or its record cannot be read.
        OSError: a version cannot be deleted.
    """
    bin_ = root / _BIN
    shutil.rmtree(bin_, ignore_errors=True)  # left over by a call that was killed
    found = prunable_versions(root, keep)
    for directory in found:
        bin_.mkdir(exist_ok=True)
        moved = bin_ / f"{directory.parent.name}-{directory.name}"
        directory.rename(moved)
        sync_folder(directory.parent)
        shutil.rmtree(moved)
    shutil.rmtree(bin_, ignore_errors=True)
    return found
