"""Publishing: finished SavedModels become a version that `models.config` names."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from affect_contract import server_files
from affect_contract.files import sync_folder
from affect_contract.store import CANARY, STABLE, Entries, Entry, StoreError, locked, next_version, read, write


def publish(
    root: Path, staged: Mapping[str, Path], *, base_path: PurePosixPath | None = None, promote: bool = False
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
            server_files.write_missing(root)
            for step in publication_steps(entries, staged, version, mount, promote=promote):
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
    kept = labelled | {name: _without_unlabelled(labelled[name]) for name in known}
    if kept != labelled:
        yield kept


def _labelled(entry: Entry, version: int, *, promote: bool) -> Entry:
    if promote or STABLE not in entry.labels:
        others = {label: number for label, number in entry.labels.items() if label != CANARY}
        return replace(entry, labels=others | {STABLE: version})
    return replace(entry, labels={**entry.labels, CANARY: version})


def _without_unlabelled(entry: Entry) -> Entry:
    named = set(entry.labels.values())
    return replace(entry, versions=tuple(version for version in entry.versions if version in named))


def _move_in(staged: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    staged.rename(target)
    sync_folder(target.parent)
