"""The cost of a model: latency, throughput, parameters, training time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.manifest import read_timing
from affect_registry.store import PROVENANCE_FILE

Cost = TypedDict(
    "Cost",
    {
        "latency p50, ms": float | None,
        "latency p95, ms": float | None,
        "throughput, pictures/s": float | None,
        "parameters, thousands": float | None,
        "training, s": float | None,
    },
)
"""The figures of a model, None if unknown; the throughput is that of all models of the run together."""


def cost_of(folder: Path, backbone: str, versions: Mapping[str, int], models: Path | None) -> Cost:
    """Return the cost of one backbone of a run.

    Args:
        folder: folder of the run.
        backbone: the backbone's name.
        versions: the versions that answered, by model name.
        models: the models directory that was served, if it is available.

    Raises:
        EvaluationError: the models directory does not have these versions.
    """
    measured = read_timing(folder)
    latency = measured.get("latency_ms", {}).get(backbone, {})
    counted = [_parameters(models / name / str(version)) for name, version in versions.items()] if models else []
    trained = _training_s(models, max(versions.values()), backbone) if models and versions else None
    return {
        "latency p50, ms": latency.get("p50"),
        "latency p95, ms": latency.get("p95"),
        "throughput, pictures/s": measured.get("pictures_per_s"),
        "parameters, thousands": sum(counted) / 1000 if counted else None,
        "training, s": trained,
    }


def _training_s(models: Path, version: int, backbone: str) -> float | None:
    """Return the seconds that features and heads of a version took; None if the directory has no record of them."""
    path = models / "runs" / str(version) / "history.json"
    if not path.is_file():
        return None
    try:
        trained = [
            one
            for one in json.loads(path.read_text(encoding="utf-8"))["models"].values()
            if one["backbone"] == backbone
        ]
        features = max((one.get("feature_seconds") or 0.0 for one in trained), default=0.0)
        return float(features + sum(one["training_seconds"] for one in trained))
    except (ValueError, KeyError, TypeError) as exc:
        raise EvaluationError(f"{path} is not what affect-train writes: leave out --models") from exc


def _parameters(directory: Path) -> int:
    """Return the number of parameters in the largest task of a model version, backbone and head together."""
    path = directory / PROVENANCE_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return max(int(task["parameters"]) for task in document["tasks"].values())
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise EvaluationError(
            f"{path} does not record what was trained: name the models directory that was served"
        ) from exc
