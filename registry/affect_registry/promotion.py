"""Promotion: which versions can become stable, the rewrites of `models.config` that it takes, and its record."""

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
"""One line for each promotion, written before the versions become stable."""

Versions = Mapping[str, int]
"""One version of each of some models, by model name."""


class PromotionSteps(NamedTuple):
    """The configs to write, in order. `rollout` waits after each until the servers have followed it."""

    listed: Entries
    """The new version is listed beside the old one, and no label moves. The next step must wait until it is loaded."""
    labelled: Entries
    """The new version is labelled stable. The next step must wait until it answers as stable."""
    kept: Entries
    """Versions without a label are no longer listed."""


def steps(entries: Entries, targets: Versions, *, keep_old: bool = False) -> PromotionSteps:
    """Return the rewrites that make each of the ``targets`` stable.

    A model server refuses a whole file that moves a label to a version it has not loaded, and answers nothing for a
    label on a version that it has dropped; so it can follow each of these steps at once.

    Args:
        entries: the entries as they are now.
        targets: the version that becomes stable, by model.
        keep_old: whether the version that is stable now stays loaded, labelled `PREVIOUS`.

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
    _require_stable(_entries_of(labelled, ()))
    kept = {name: without_unlabelled_versions(entry) if name in targets else entry for name, entry in labelled.items()}
    return PromotionSteps(listed, labelled, kept)


def without_canaries(entries: Entries, names: Iterable[str]) -> Entries:
    """Return the entries with the canaries of some models withdrawn."""
    withdrawn = {}
    for name in names:
        labels = {label: version for label, version in entries[name].labels.items() if label != CANARY}
        withdrawn[name] = without_unlabelled_versions(replace(entries[name], labels=labels))
    return {**entries, **withdrawn}


def without_unlabelled_versions(entry: Entry) -> Entry:
    """Return an entry with only those of its versions that carry a label."""
    return replace(entry, versions=entry.labelled_versions)


def canaries(entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """Return the canary version of each model that has one, of these backbones or of all."""
    return {
        name: entry.labels[CANARY] for name, entry in _entries_of(entries, backbones).items() if CANARY in entry.labels
    }


def with_version(root: Path, entries: Entries, version: int, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """Return ``version`` for each model that has it on disk and whose stable version is another."""
    return {
        name: version
        for name, entry in _entries_of(entries, backbones).items()
        if version in versions_on_disk(entry.directory(root)) and entry.labels.get(STABLE) != version
    }


def interrupted(entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """Return the stable versions of models that also list a version without a label, as a killed change leaves them.

    Making these versions stable once more finishes the change if it had moved the label, and undoes it if not.
    """
    return {
        name: entry.labels[STABLE]
        for name, entry in _entries_of(entries, backbones).items()
        if STABLE in entry.labels and set(entry.versions) > set(entry.labelled_versions)
    }


def previously_stable(root: Path, entries: Entries, backbones: Iterable[BackboneName] = ()) -> dict[str, int]:
    """Return the versions that were stable before the last promotion still in force; empty if none is recorded.

    Raises:
        StoreError: the record cannot be read.
    """
    chosen = _entries_of(entries, backbones)
    for promotion in reversed(_read_record(root)):
        previous = {
            name: change["before"]
            for name, change in promotion["models"].items()
            if name in chosen and chosen[name].labels.get(STABLE) == change["after"]
        }
        if previous:
            return previous
    return {}


def record_promotion(root: Path, entries: Entries, targets: Versions) -> None:
    """Record the ``targets`` that become stable instead of another version.

    The record is written before the label moves. If the label then does not move, the record matches no stable version,
    and is ignored.

    Raises:
        StoreError: the record cannot be read.
    """
    models = {
        name: {"before": entries[name].labels[STABLE], "after": version}
        for name, version in targets.items()
        if entries[name].labels.get(STABLE, version) != version
    }
    if models:
        lines = [*_read_record(root), {"at": datetime.now(UTC).isoformat(timespec="seconds"), "models": models}]
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


def _entries_of(entries: Entries, backbones: Iterable[BackboneName]) -> Entries:
    """Return the entries of Affect's own models, of these backbones or of all; `models.config` may have others too."""
    wanted = tuple(backbones) or tuple(BACKBONES)
    return {name: entry for name, entry in entries.items() if name in MODELS and MODELS[name].backbone in wanted}


def _read_record(root: Path) -> list[dict[str, Any]]:
    path = root / RECORD_FILE
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as exc:
        raise _unreadable_record(path) from exc
    if not all(_is_promotion(line) for line in lines):
        raise _unreadable_record(path)
    return lines


def _unreadable_record(path: Path) -> StoreError:
    return StoreError(
        f"{path} is no record that affect-models wrote: correct it, or remove it and name the version with --version"
    )


def _is_promotion(line: Any) -> bool:
    try:
        return all(isinstance(change[end], int) for change in line["models"].values() for end in ("before", "after"))
    except (TypeError, KeyError, AttributeError):
        return False
