"""Which version is stable: what can become it, the rewrites that make it so, and the record that leads back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from affect_contract.atomic_files import write_atomically
from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.models import MODELS
from affect_contract.versions import CANARY, PREVIOUS, STABLE
from affect_registry.store import Entries, Entry, StoreError, versions_on_disk

RECORD_FILE: Final = "promotions.jsonl"
"""A line for each time that another version became stable, before it did."""

Versions = Mapping[str, int]
"""Version by model name."""


class PromotionSteps(NamedTuple):
    """The configs to write, in order; what must be waited for after each is known where a server can be asked."""

    listed: Entries
    """The new version is named beside the old; no label moves. Until it is loaded nothing else may be written."""
    labelled: Entries
    """Stable is the new version. Until it answers nothing else may be written."""
    kept: Entries
    """What carries no label is not named any more."""


def steps(entries: Entries, targets: Versions, *, keep_old: bool = False) -> PromotionSteps:
    """The rewrites that make each of the ``targets`` stable.

    A model server refuses a whole file that moves a label to a version it has not loaded, and answers nothing for a
    label on one that it has dropped; so each step is one that it can take at once.

    Args:
        entries: what is served now.
        targets: the version that is to be stable, by model.
        keep_old: whether the one that is stable now stays loaded, labelled `PREVIOUS`.

    Raises:
        StoreError: a model would be left without a stable version.
    """
    listed = {
        name: replace(entry, versions=tuple(sorted({*entry.versions, targets[name]}))) if name in targets else entry
        for name, entry in entries.items()
    }
    labelled = {
        name: replace(entry, labels=_labels(entry, targets[name], keep_old=keep_old)) if name in targets else entry
        for name, entry in listed.items()
    }
    _require_stable(_ours(labelled, ()))
    kept = {name: without_unlabelled(entry) if name in targets else entry for name, entry in labelled.items()}
    return PromotionSteps(listed, labelled, kept)


def without_canary(entries: Entries, names: Iterable[str]) -> Entries:
    """The entries with the canaries of some models withdrawn."""
    withdrawn = {}
    for name in names:
        labels = {label: version for label, version in entries[name].labels.items() if label != CANARY}
        withdrawn[name] = without_unlabelled(replace(entries[name], labels=labels))
    return {**entries, **withdrawn}


def without_unlabelled(entry: Entry) -> Entry:
    """The entry with the versions that carry a label, and no others."""
    return replace(entry, versions=entry.labelled_versions)


def canaries(entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """What is tried out, of these backbones or of all."""
    return {name: entry.labels[CANARY] for name, entry in _ours(entries, backbones).items() if CANARY in entry.labels}


def numbered(root: Path, entries: Entries, version: int, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """The models that have a version on disk, and are not stable in it already."""
    return {
        name: version
        for name, entry in _ours(entries, backbones).items()
        if version in versions_on_disk(entry.directory(root)) and entry.labels.get(STABLE) != version
    }


def interrupted(entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """The stable versions of models that name a version without a label, as a change that was killed leaves them.

    To make these stable again finishes the change if its label had moved, and undoes it if not.
    """
    return {
        name: entry.labels[STABLE]
        for name, entry in _ours(entries, backbones).items()
        if STABLE in entry.labels and set(entry.versions) > set(entry.labelled_versions)
    }


def before(root: Path, entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """What was stable before the last promotion that still stands; empty where none is recorded.

    Raises:
        StoreError: the record cannot be read.
    """
    ours = _ours(entries, backbones)
    for promotion in reversed(_recorded(root)):
        standing = {
            name: change["before"]
            for name, change in promotion["models"].items()
            if name in ours and ours[name].labels.get(STABLE) == change["after"]
        }
        if standing:
            return standing
    return {}


def remember(root: Path, entries: Entries, targets: Versions) -> None:
    """Record that the ``targets`` become stable where something else is.

    It is written before the label moves: a record of what has not happened matches nothing that is stable.

    Raises:
        StoreError: the record cannot be read.
    """
    models = {
        name: {"before": entries[name].labels[STABLE], "after": version}
        for name, version in targets.items()
        if entries[name].labels.get(STABLE, version) != version
    }
    if models:
        lines = [*_recorded(root), {"at": datetime.now(UTC).isoformat(timespec="seconds"), "models": models}]
        write_atomically(root / RECORD_FILE, "".join(json.dumps(line) + "\n" for line in lines))


def _labels(entry: Entry, target: int, *, keep_old: bool) -> dict[str, int]:
    labels = {label: version for label, version in entry.labels.items() if (label, version) != (CANARY, target)}
    stable = labels.get(STABLE)
    if not keep_old:
        labels.pop(PREVIOUS, None)
    elif stable is not None and stable != target:
        labels[PREVIOUS] = stable
    return labels | {STABLE: target}


def _require_stable(entries: Entries) -> None:
    for name, entry in entries.items():
        if entry.labels and STABLE not in entry.labels:
            raise StoreError(
                f"{name} has no stable version, and a server that reads labels answers nothing for it: "
                f"promote one of its versions with --version, or label one {STABLE!r} in models.config"
            )


def _ours(entries: Entries, backbones: Iterable[BackboneName]) -> Entries:
    """The entries of this service's models; others may stand beside them and are left alone."""
    wanted = tuple(backbones) or tuple(BACKBONES)
    return {name: entry for name, entry in entries.items() if name in MODELS and MODELS[name].backbone in wanted}


def _recorded(root: Path) -> list[dict[str, Any]]:
    path = root / RECORD_FILE
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as exc:
        raise _no_record(path) from exc
    if not all(_is_promotion(line) for line in lines):
        raise _no_record(path)
    return lines


def _no_record(path: Path) -> StoreError:
    return StoreError(f"{path} is not what affect-models writes: correct it, or remove it and name versions yourself")


def _is_promotion(line: Any) -> bool:
    try:
        return all(isinstance(change[end], int) for change in line["models"].values() for end in ("before", "after"))
    except (TypeError, KeyError, AttributeError):
        return False
