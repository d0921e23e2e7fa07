"""What a run leaves behind about itself: its history, and the provenance inside each SavedModel."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from affect_contract.files import write_atomically
from affect_contract.models import ServedModel, single
from affect_contract.preprocess import PREPROCESS_VERSION
from affect_contract.store import PROVENANCE_FILE
from affect_training.stages import Trained
from affect_training.weights import Origin

LIBRARIES = ("affect-serving", "keras", "tensorflow", "numpy", "pillow")

RANDOM_BACKBONE_NOTE = "random backbone: its accuracy stays near chance"


def history(trained: Sequence[Trained], origins: dict[str, Origin], facts: dict[str, Any]) -> dict[str, Any]:
    """The whole course of a run, as plain data; every plot is drawn from it alone.

    Args:
        trained: the networks of the run.
        origins: origin of the initial weights, by backbone; a backbone trained from scratch has none.
        facts: what all networks share, for example data digest, split and seed.
    """
    return {
        **facts,
        "models": {single(one.backbone, one.task).name: _record(one, origins) for one in trained},
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document for people and programs to read."""
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def write_provenance(directory: Path, model: ServedModel, document: dict[str, Any]) -> None:
    """Say inside a version directory what trained it.

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


def library_versions() -> dict[str, str]:
    """Versions of what decides a run's numbers, by name."""
    versions = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), "keras_backend": keras.backend.backend()} | versions


def shared_facts(data_digest: str, split: dict[str, Any], seed: int) -> dict[str, Any]:
    """What every network of a run has in common."""
    return {
        "data_digest": data_digest,
        "split": split,
        "seed": seed,
        "preprocess_version": PREPROCESS_VERSION,
        "libraries": library_versions(),
    }


def _record(one: Trained, origins: dict[str, Origin]) -> dict[str, Any]:
    origin = origins.get(one.backbone)
    return {
        "backbone": one.backbone,
        "task": one.task,
        "recipe": asdict(one.recipe),
        "weights": origin or "trained from scratch",
        "note": RANDOM_BACKBONE_NOTE if origin is Origin.NONE else None,
        "parameters": int(one.base.count_params() + one.head.count_params()),
        "feature_seconds": one.feature_seconds,
        "pictures_extracted": one.pictures_extracted,
        "training_seconds": one.training_seconds,
        "calibration": None if one.calibration is None else asdict(one.calibration),
        "kept_epoch": one.kept + 1,
        "epochs": one.epochs,
    }


def _summary(part: dict[str, Any]) -> dict[str, Any]:
    """A network's record with the epochs reduced to the one whose weights were kept."""
    metrics = {name: value for name, value in part["epochs"][part["kept_epoch"] - 1].items() if name != "seconds"}
    return {
        **{key: part[key] for key in ("recipe", "weights", "note", "parameters", "calibration")},
        "metrics": metrics,
    }
