"""What a model costs beside what it reaches."""

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
"""Each None where it is not known; the run's throughput is that of all its models together."""


def cost_of(folder: Path, backbone: str, versions: Mapping[str, int], models: Path | None) -> Cost:
    """The cost of one backbone of one run.

    Args:
        folder: of the run.
        backbone: the backbone's name.
        versions: what answered, by model name.
        models: the models directory that was served, if it is at hand.

    Raises:
        EvaluationError: the models directory does not have those versions.
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
    """Seconds that features and heads of a version took; None where the directory has no record of it."""
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
    """Of all heads, and of the backbone once, in the largest of a version's tasks."""
    path = directory / PROVENANCE_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return max(int(task["parameters"]) for task in document["tasks"].values())
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise EvaluationError(
            f"{path} does not tell what was trained: name the models directory that was served"
        ) from exc
