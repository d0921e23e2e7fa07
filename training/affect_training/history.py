"""The history of a training run, as plain data: what was trained, how, and the measures of every epoch."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import keras

from affect_contract.models import single
from affect_contract.preprocess import PREPROCESS_VERSION
from affect_training.modes import Trained
from affect_training.networks.weights import Origin

LIBRARIES = ("affect-serving", "keras", "tensorflow", "numpy", "pillow")

RANDOM_BACKBONE_NOTE = "random backbone: its accuracy stays near chance"


def history_of(trained: Sequence[Trained], origins: dict[str, Origin], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the whole course of a run as plain data; every plot is drawn from it alone.

    Args:
        trained: the networks of the run.
        origins: origin of the initial weights, by backbone; a backbone trained from scratch has none.
        facts: those of `shared_facts`.
    """
    return {
        **facts,
        "models": {single(one.backbone, one.task).name: _record(one, origins) for one in trained},
    }


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run's numbers, by name."""
    versions = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), "keras_backend": keras.backend.backend()} | versions


def shared_facts(data_digest: str, split: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the facts that all networks of a run share: data, split, seed, libraries."""
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
