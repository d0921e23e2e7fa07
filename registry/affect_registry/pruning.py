"""Version directories that nobody needs any more."""

import shutil
from pathlib import Path
from typing import Final

from affect_contract.atomic_files import sync_folder
from affect_contract.models import MODELS
from affect_registry import promotion, store

_BIN: Final = ".pruned"
"""Where a directory is moved before it is deleted: half a version must never look like a whole one."""


def superfluous(root: Path, keep: int) -> list[Path]:
    """The version directories that may go, in the order of their models and numbers.

    Those named in `models.config` stay, the ``keep`` newest of each model, and what a rollback would go back to. At
    least one is kept, so that no number is given twice.

    Raises:
        StoreError: the directory or its record cannot be read.
    """
    entries = store.read(root)
    back = promotion.before(root, entries)
    found = []
    for name in MODELS:
        directory = entries[name].directory(root) if name in entries else root / name
        versions = store.versions_on_disk(directory)
        needed = {*versions[-keep:], back.get(name), *(entries[name].versions if name in entries else ())}
        found += [directory / str(version) for version in versions if version not in needed]
    return found


def prune(root: Path, keep: int) -> list[Path]:
    """Delete what is `superfluous`; gives what was. The caller holds the lock.

    Raises:
        StoreError: it cannot be found out.
        OSError: it cannot be deleted.
    """
    bin_ = root / _BIN
    shutil.rmtree(bin_, ignore_errors=True)  # what a killed call left
    found = superfluous(root, keep)
    for directory in found:
        bin_.mkdir(exist_ok=True)
        moved = bin_ / f"{directory.parent.name}-{directory.name}"
        directory.rename(moved)
        sync_folder(directory.parent)
        shutil.rmtree(moved)
    shutil.rmtree(bin_, ignore_errors=True)
    return found
