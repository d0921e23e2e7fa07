"""The provenance inside a version directory, `assets.extra/affect.json`: the data, recipe and scores behind it."""

from pathlib import Path
from typing import Any

from affect_contract.atomic_files import write_json
from affect_contract.models import ServedModel, single
from affect_registry.store import PROVENANCE_FILE


def write_provenance(directory: Path, model: ServedModel, document: dict[str, Any]) -> None:
    """Write a version directory's provenance.

    Args:
        directory: the version directory.
        model: the servable in it.
        document: the run's `history`.
    """
    parts = (document["models"][single(model.backbone, task).name] for task in model.tasks)
    facts = {key: value for key, value in document.items() if key != "models"}
    path = directory / PROVENANCE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"model": model.name, **facts, "tasks": {part["task"]: _summary(part) for part in parts}})


def _summary(part: dict[str, Any]) -> dict[str, Any]:
    """Reduce a network's record to the epoch whose weights were kept."""
    metrics = {name: value for name, value in part["epochs"][part["kept_epoch"] - 1].items() if name != "seconds"}
    return {
        **{key: part[key] for key in ("recipe", "weights", "note", "parameters", "calibration")},
        "metrics": metrics,
    }
