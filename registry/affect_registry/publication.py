"""Publication: moving finished SavedModels into the models directory as a version that `models.config` lists."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

from affect_contract.atomic_files import sync_folder
from affect_contract.versions import CANARY, PREVIOUS, STABLE
from affect_registry import model_server_settings, promotion
from affect_registry.store import (
    Entries,
    Entry,
    StoreError,
    locked,
    next_version,
    read,
    write,
)

RELOAD_WAIT_S: Final = 3.0 * model_server_settings.CONFIG_POLL_S
"""Seconds within which a running model server has read a rewrite of the config."""


def publish(
    root: Path,
    staged: Mapping[str, Path],
    *,
    base_path: PurePosixPath | None = None,
    promote: bool = False,
    reload_wait_s: float = RELOAD_WAIT_S,
) -> int:
    """Move finished SavedModel directories into ``root`` under one new version number, then list them in the config.

    The moves do not serve anything yet, and each rewrite of the config is atomic; so whenever the process is killed,
    either the old models are served or the new ones.

    Args:
        root: the models directory.
        staged: the finished SavedModel directories by model name, on the same file system as ``root``.
        base_path: the path at which the model server mounts the models directory. By default an entry keeps its path,
            and a new one gets the directory's own absolute path.
        promote: whether the new version becomes stable. Otherwise it becomes stable only for new models, and canary for
            the others.
        reload_wait_s: seconds between the rewrite that lists the version and the one that moves a label to it. A model
            server that has read the first refuses the second until the version is loaded, and then follows it; one that
            has not would refuse it for ever.

    Returns:
        The new version number.

    Raises:
        StoreError: the directory cannot be read or written.
    """
    try:
        with locked(root):
            entries = read(root)
            # From here on the config decides what is served; without it, moving a version in would serve it.
            write(root, entries)
            version = next_version(root)
            for name, directory in staged.items():
                _move_in(directory, root / name / str(version))
            mount = base_path or PurePosixPath(root.resolve())
            model_server_settings.write_missing_files(root)
            steps = publication_steps(entries, staged, version, mount, promote=promote)
            if promote:
                promotion.record_promotion(root, entries, {name: version for name in staged if name in entries})
            for before, step in pairwise([entries, *steps]):
                if _moves_a_label(before, step):
                    time.sleep(reload_wait_s)
                write(root, step)
    except OSError as exc:
        raise StoreError(f"cannot publish to {root}: {exc}") from exc
    return version


def publication_steps(
    entries: Entries, names: Iterable[str], version: int, mount: PurePosixPath, *, promote: bool
) -> Iterator[dict[str, Entry]]:
    """Yield the configs to write, in order: list the version, label it, drop the versions that have no label.

    A model server refuses a whole file that moves a label to a version it has not loaded yet, so the label
    moves in a rewrite of its own. A new model is labelled at once, since it has no label that could move.
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
    kept = labelled | {name: promotion.without_unlabelled_versions(labelled[name]) for name in known}
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
