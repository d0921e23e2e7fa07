"""Publishing: finished SavedModels become a version that `models.config` names."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

from affect_contract.atomic_files import sync_folder
from affect_contract.versions import CANARY, PREVIOUS, STABLE
from affect_registry import promotion, server_files
from affect_registry.store import (
    Entries,
    Entry,
    StoreError,
    locked,
    next_version,
    read,
    write,
)

NOTICE_S: Final = 3.0 * server_files.CONFIG_POLL_S
"""Seconds after which a model server that runs has read a rewrite of the config."""


def publish(
    root: Path,
    staged: Mapping[str, Path],
    *,
    base_path: PurePosixPath | None = None,
    promote: bool = False,
    notice_s: float = NOTICE_S,
) -> int:
    """Move finished SavedModel directories in under one new version number, then name them in the config.

    The renames serve nothing yet; each rewrite of the config is whole and atomic, so a process killed at any
    point leaves either the old models served or the new ones.

    Args:
        root: the models directory.
        staged: SavedModel directory by model name, on the same file system as ``root``.
        base_path: where the model server mounts the models directory; the default keeps what an entry says
            and is the directory's own absolute path for a new one.
        promote: make the new version stable; without it, it becomes stable only where the model is new, and
            canary elsewhere.
        notice_s: seconds between the rewrite that names the version and the one that moves a label to it. A model
            server that has seen the first refuses the second until the version is loaded, and then takes it; one that
            has not would refuse it for ever.

    Returns:
        The version number.

    Raises:
        StoreError: the directory cannot be read or written.
    """
    try:
        with locked(root):
            entries = read(root)
            # From here on the config decides, so that what is renamed in below is not served by being there.
            write(root, entries)
            version = next_version(root)
            for name, directory in staged.items():
                _move_in(directory, root / name / str(version))
            mount = base_path or PurePosixPath(root.resolve())
            server_files.write_missing_files(root)
            steps = publication_steps(entries, staged, version, mount, promote=promote)
            if promote:
                promotion.remember(root, entries, {name: version for name in staged if name in entries})
            for before, step in pairwise([entries, *steps]):
                if _moves_a_label(before, step):
                    time.sleep(notice_s)
                write(root, step)
    except OSError as exc:
        raise StoreError(f"cannot publish to {root}: {exc}") from exc
    return version


def publication_steps(
    entries: Entries, names: Iterable[str], version: int, mount: PurePosixPath, *, promote: bool
) -> Iterator[dict[str, Entry]]:
    """The configs to write, in order: the version is listed, then labelled, then unlabelled ones are dropped.

    A model server refuses a whole file that moves a label to a version it has not loaded yet, so the label
    moves in a rewrite of its own. A model that is new is labelled at once: it has no label to move.
    """
    listed = dict(entries)
    known = [name for name in names if name in entries]
    for name in names:
        if name in entries:
            listed[name] = replace(entries[name], versions=(*entries[name].versions, version))
        else:
            listed[name] = Entry(name, mount / name, (version,), {STABLE: version})
    yield listed
    if not known:
        return
    labelled = listed | {name: _labelled(listed[name], version, promote=promote) for name in known}
    yield labelled
    kept = labelled | {name: promotion.without_unlabelled(labelled[name]) for name in known}
    if kept != labelled:
        yield kept


def _labelled(entry: Entry, version: int, *, promote: bool) -> Entry:
    if promote or STABLE not in entry.labels:
        others = {label: number for label, number in entry.labels.items() if label not in (CANARY, PREVIOUS)}
        return replace(entry, labels=others | {STABLE: version})
    return replace(entry, labels={**entry.labels, CANARY: version})


def _moves_a_label(before: Entries, after: Entries) -> bool:
    return any(
        before[name].labels.get(label, version) != version
        for name, entry in after.items()
        if name in before
        for label, version in entry.labels.items()
    )


def _move_in(staged: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    staged.rename(target)
    sync_folder(target.parent)
