"""From recorded answers to `metrics.json`, without the service."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affect_client.evaluation.baselines import majority_class, mean_predictor
from affect_client.evaluation.metrics import classification, regression
from affect_client.evaluation.predictions import Row, read_rows
from affect_client.evaluation.truth import affect, expressions
from affect_contract.labels import LABELS
from affect_contract.models import AROUSAL, VALENCE, Task
from affect_dataset.samples import Sample

Scored = dict[str, Any]


def score(predictions: Path, samples: Sequence[Sample]) -> dict[str, Scored]:
    """Every backbone's scores, by name.

    Args:
        predictions: the run's `predictions.jsonl`.
        samples: the pictures that were to be scored.
    """
    by_id = {sample.id: sample for sample in samples}
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(predictions):
        rows[row["backbone"]].append(row)
    return {backbone: _score_backbone(rows[backbone], by_id) for backbone in sorted(rows)}


def score_baselines(training: Sequence[Sample], samples: Sequence[Sample]) -> Scored:
    """The same scores for answers that look at no picture."""
    scored: Scored = {Task.CLASSIFICATION.value: majority_class(training, samples)}
    if len(affect(training)) and len(affect(samples)):
        scored[Task.REGRESSION.value] = mean_predictor(training, samples)
    return scored


def _score_backbone(rows: list[Row], by_id: dict[str, Sample]) -> Scored:
    # In the order of the ids, so that sums do not depend on the order in which answers came.
    answered = sorted((row for row in rows if "answer" in row), key=lambda row: str(row["id"]))
    scored: Scored = {
        "coverage": {"asked": len(by_id), "answered": len(answered), "share": len(answered) / len(by_id)},
        "failures": _failures(rows),
        "versions": answered[0]["versions"] if answered else {},
    }
    classified = [row for row in answered if row["answer"]["probabilities"] is not None]
    if classified:
        # By name: the order of a JSON object means nothing.
        probabilities = [[row["answer"]["probabilities"][label] for label in LABELS] for row in classified]
        true = expressions([by_id[row["id"]] for row in classified])
        scored[Task.CLASSIFICATION.value] = classification(true, np.array(probabilities, np.float64))
    placed = [row for row in answered if row["answer"]["valence"] is not None and by_id[row["id"]].valence is not None]
    if placed:
        pairs = affect([by_id[row["id"]] for row in placed])
        scored[Task.REGRESSION.value] = {
            name: regression(pairs[:, column], np.array([row["answer"][name] for row in placed], np.float64))
            for column, name in enumerate((VALENCE, AROUSAL))
        }
    return scored


def _failures(rows: list[Row]) -> dict[str, int]:
    codes = [row["error"]["code"] for row in rows if "error" in row]
    return {code: codes.count(code) for code in sorted(set(codes))}
