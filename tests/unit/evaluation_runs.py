"""Folders as finished runs of `affect-evaluate` leave them, with scores as good as they are told to be."""

from pathlib import Path

import numpy as np

from affect_contract.errors import ErrorCode
from affect_contract.labels import LABELS
from affect_contract.schemas import AnsweringModel, Failure, Prediction
from affect_evaluation.run.manifest import Session, add_sessions, claim, identity, write_timing
from affect_evaluation.run.predictions import PREDICTIONS_FILE, AnswerLog, RecordedAnswer
from affect_evaluation.run.truth import Prior, Truth

FACTS = {"data_digest": "d", "split": "test", "split_seed": 0, "fractions": [0.7, 0.15, 0.15], "excluded": {}}


def write_run(
    folder: Path, pictures, *, right=0.6, noise=0.2, backbones=("mobilenet_v2",), failures=0, seed=0, version=1,
    finished=True,
) -> Path:  # fmt: skip
    """A run whose expressions are right with some chance, and whose valence has some noise."""
    claim(folder, identity("d", "test", pictures, []))
    Truth.of(pictures, Prior.of(pictures), FACTS).write(folder)
    with AnswerLog(folder / PREDICTIONS_FILE) as log:
        for backbone in backbones:
            random = np.random.default_rng(seed)
            for number, sample in enumerate(pictures):
                log.append(row(sample, backbone, random, right, noise, number < failures, version))
    add_sessions(folder, [Session(started="2026-01-01", seconds=2.0, answered=len(pictures), url="u", host="h")])
    if finished:
        write_timing(folder, {backbone: [5.0] for backbone in backbones})
    return folder


def row(sample, backbone, random, right, noise, fails, version):
    best = int(sample.expression) if random.random() < right else (int(sample.expression) + 1) % 8
    affect = np.clip((sample.valence or 0.0) + random.normal(0, noise), -1, 1)
    if fails:
        error = Failure(code=ErrorCode.INVALID_IMAGE, detail="why")
        return RecordedAnswer(id=sample.id, backbone=backbone, error=error, latency_ms=1.0)
    model = AnsweringModel(backbone=backbone, versions={f"{backbone}_affect": version})
    answer = Prediction(
        expression=LABELS[best], expression_id=best, confidence=0.65,
        probabilities={label: 0.65 if label == LABELS[best] else 0.05 for label in LABELS},
        valence=affect, arousal=-affect, model=model, request_id="r",
    )  # fmt: skip
    return RecordedAnswer(id=sample.id, backbone=backbone, answer=answer, versions=model.versions, latency_ms=5.0)
