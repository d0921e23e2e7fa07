"""From recorded answers to scores, without the service."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_evaluation.run.answers import Answers
from affect_evaluation.run.truth import Prior, affect, expressions, whole
from affect_evaluation.scoring.baselines import majority_class, mean_predictor
from affect_evaluation.scoring.bootstrap import Interval, classification_draws, intervals, regression_draws
from affect_evaluation.scoring.metrics import Classification, Ids, Regression, Scores, classification, regression


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


def score(answers: Mapping[str, Answers], samples: Sequence[Sample]) -> dict[str, ModelScores]:
    """Every backbone's scores, by name.

    Args:
        answers: what `read_answers` reads.
        samples: the pictures that were to be scored.
    """
    true_ids, true_affect = expressions(samples), affect(samples)
    return {name: _model_scores(several, true_ids, true_affect) for name, several in answers.items()}


def score_baselines(prior: Prior, samples: Sequence[Sample]) -> TaskScores:
    """The same scores for answers that look at no picture; none where no picture trains."""
    scores = TaskScores()
    classified, means = majority_class(prior, samples), mean_predictor(prior, samples)
    if classified is not None:
        scores["classification"] = classified
    if means is not None:
        scores["regression"] = means
    return scores


def _model_scores(answers: Answers, true_ids: NDArray[np.int64], true_affect: NDArray[np.float64]) -> ModelScores:
    asked, answered = len(true_ids), len(answers.answered)
    scores = ModelScores(
        coverage=Coverage(asked=asked, answered=answered, share=answered / asked),
        failures=dict(sorted(Counter(answers.failures.values()).items())),
        versions=dict(sorted(answers.versions.items())),
    )
    classified = whole(answers.probabilities)
    if classified.any():
        scores["classification"] = _classified(true_ids[classified], answers.probabilities[classified])
    placed = whole(answers.affect + true_affect)
    if placed.any():
        scores["regression"] = {
            name: _placed(true_affect[placed, column], answers.affect[placed, column])
            for column, name in enumerate(SCALAR_NAMES)
        }
    return scores


def _classified(true: Ids, probabilities: Scores) -> ClassificationScores:
    ci95 = intervals(classification_draws(true, probabilities))
    return ClassificationScores(**classification(true, probabilities), ci95=ci95)


def _placed(true: Scores, predicted: Scores) -> RegressionScores:
    ci95 = intervals(regression_draws(true, predicted))
    return RegressionScores(**regression(true, predicted), ci95=ci95)
