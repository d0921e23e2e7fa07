"""From recorded answers to scores, without the service."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from affect_client.evaluation.baselines import majority_class, mean_predictor
from affect_client.evaluation.bootstrap import Interval, classification_draws, intervals, regression_draws
from affect_client.evaluation.errors import EvaluationError
from affect_client.evaluation.metrics import Classification, Ids, Regression, Scores, classification, regression
from affect_client.evaluation.predictions import Row, read_rows
from affect_client.evaluation.truth import Prior, affect, expressions
from affect_contract.labels import LABELS
from affect_contract.models import AROUSAL, VALENCE, Backbone
from affect_contract.schemas import Prediction
from affect_dataset.samples import Sample


class TaskScores(TypedDict):
    """Scores by task; a task without a single pair of truth and answer is not there."""

    classification: NotRequired[Classification]
    regression: NotRequired[dict[str, Regression]]


class ClassificationScores(Classification):
    """With intervals."""

    ci95: dict[str, Interval | None]


class RegressionScores(Regression):
    """With intervals."""

    ci95: dict[str, Interval | None]


class Coverage(TypedDict):
    """How many pictures the scores stand for."""

    asked: int
    answered: int
    share: float


class ModelScores(TypedDict):
    """Everything about one backbone; a task without a single pair of truth and answer is not there."""

    classification: NotRequired[ClassificationScores]
    regression: NotRequired[dict[str, RegressionScores]]
    coverage: Coverage
    failures: dict[str, int]
    """Pictures without an answer, by error code."""
    versions: dict[str, int]
    """What answered, by model name."""


@dataclass
class _Answers:
    """One backbone's answers; row i belongs to picture i, and is NaN where there is none."""

    probabilities: NDArray[np.float64]
    affect: NDArray[np.float64]
    versions: dict[str, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)

    @classmethod
    def none(cls, pictures: int) -> "_Answers":
        return cls(np.full((pictures, len(LABELS)), np.nan), np.full((pictures, 2), np.nan))

    def add(self, index: int, row: Row) -> None:
        """Take in a row; a picture that was asked again counts as it did last."""
        if row.error is not None:
            self.failures[index] = row.error.code.value
        elif row.answer is not None:
            self.failures.pop(index, None)
            self.answered.add(index)
            self._fill(index, row.answer)
            self._agree(row.versions)

    def _fill(self, index: int, answer: Prediction) -> None:
        if answer.probabilities is not None:
            # By name: the order of a JSON object means nothing.
            self.probabilities[index] = [answer.probabilities[label] for label in LABELS]
        if answer.valence is not None:
            self.affect[index] = answer.valence, answer.arousal

    def _agree(self, versions: dict[str, int]) -> None:
        for name, version in versions.items():
            if self.versions.setdefault(name, version) != version:
                raise EvaluationError(
                    f"the recorded answers mix versions {self.versions[name]} and {version} of {name}: "
                    "no result may, so start again with another --out"
                )


def score(predictions: Path, samples: Sequence[Sample]) -> dict[str, ModelScores]:
    """Every backbone's scores, by name.

    Args:
        predictions: the run's `predictions.jsonl`.
        samples: the pictures that were to be scored.

    Raises:
        EvaluationError: the file cannot be read, mixes versions, or names other pictures.
    """
    places = {sample.id: index for index, sample in enumerate(samples)}
    answers: dict[Backbone, _Answers] = {}
    for row in read_rows(predictions):
        if row.id not in places:
            raise EvaluationError(f"{predictions} holds the picture {row.id}, which is not to be scored: remove it")
        if row.backbone not in answers:
            answers[row.backbone] = _Answers.none(len(samples))
        answers[row.backbone].add(places[row.id], row)
    true_ids, true_affect = expressions(samples), affect(samples)
    return {name.value: _model_scores(answers[name], true_ids, true_affect) for name in sorted(answers)}


def score_baselines(prior: Prior, samples: Sequence[Sample]) -> TaskScores:
    """The same scores for answers that look at no picture; none where no picture trains."""
    scores = TaskScores()
    classified, means = majority_class(prior, samples), mean_predictor(prior, samples)
    if classified is not None:
        scores["classification"] = classified
    if means is not None:
        scores["regression"] = means
    return scores


def _model_scores(answers: _Answers, true_ids: NDArray[np.int64], true_affect: NDArray[np.float64]) -> ModelScores:
    asked, answered = len(true_ids), len(answers.answered)
    scores = ModelScores(
        coverage=Coverage(asked=asked, answered=answered, share=answered / asked),
        failures=dict(sorted(Counter(answers.failures.values()).items())),
        versions=dict(sorted(answers.versions.items())),
    )
    classified = ~np.isnan(answers.probabilities).any(axis=1)
    if classified.any():
        scores["classification"] = _classified(true_ids[classified], answers.probabilities[classified])
    placed = ~np.isnan(answers.affect + true_affect).any(axis=1)
    if placed.any():
        scores["regression"] = {
            name: _placed(true_affect[placed, column], answers.affect[placed, column])
            for column, name in enumerate((VALENCE, AROUSAL))
        }
    return scores


def _classified(true: Ids, probabilities: Scores) -> ClassificationScores:
    ci95 = intervals(classification_draws(true, probabilities))
    return ClassificationScores(**classification(true, probabilities), ci95=ci95)


def _placed(true: Scores, predicted: Scores) -> RegressionScores:
    ci95 = intervals(regression_draws(true, predicted))
    return RegressionScores(**regression(true, predicted), ci95=ci95)
