"""Score the answers of a run by backbone, with intervals, coverage and baselines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_evaluation.run.answers import Answers
from affect_evaluation.run.truth import Prior, complete_rows, expression_ids, scalar_values
from affect_evaluation.scoring.baselines import majority_class, mean_predictor
from affect_evaluation.scoring.bootstrap import Interval, classification_draws, intervals, regression_draws
from affect_evaluation.scoring.metrics import Classification, Ids, Regression, Scores, classification, regression


class TaskScores(TypedDict):
    """Scores by task; a task is missing if no picture has both a label and an answer."""

    classification: NotRequired[Classification]
    regression: NotRequired[dict[str, Regression]]


class ClassificationScores(Classification):
    """The scores of expressions with their confidence intervals."""

    ci95: dict[str, Interval | None]


class RegressionScores(Regression):
    """The scores of one scalar output with their confidence intervals."""

    ci95: dict[str, Interval | None]


class Coverage(TypedDict):
    """Number of pictures in the run, and how many of them were answered."""

    asked: int
    answered: int
    share: float


class ModelScores(TypedDict):
    """All results of one backbone; a task is missing if no picture has both a label and an answer."""

    classification: NotRequired[ClassificationScores]
    regression: NotRequired[dict[str, RegressionScores]]
    coverage: Coverage
    failures: dict[str, int]
    """Number of pictures without an answer, by error code."""
    versions: dict[str, int]
    """Versions that answered, by model name."""


def score(answers: Mapping[str, Answers], samples: Sequence[Sample]) -> dict[str, ModelScores]:
    """Compute the scores of every backbone, by its name.

    Args:
        answers: the answers by backbone, as `read_answers` returns them.
        samples: the pictures of the run.
    """
    true_ids, true_affect = expression_ids(samples), scalar_values(samples)
    return {name: _model_scores(one, true_ids, true_affect) for name, one in answers.items()}


def score_baselines(prior: Prior, samples: Sequence[Sample]) -> TaskScores:
    """Compute the scores of the baselines; a task without labels in the training split is missing."""
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
    classified = complete_rows(answers.probabilities)
    if classified.any():
        scores["classification"] = _classification_scores(true_ids[classified], answers.probabilities[classified])
    with_scalars = complete_rows(answers.affect + true_affect)
    if with_scalars.any():
        scores["regression"] = {
            name: _regression_scores(true_affect[with_scalars, column], answers.affect[with_scalars, column])
            for column, name in enumerate(SCALAR_NAMES)
        }
    return scores


def _classification_scores(true: Ids, probabilities: Scores) -> ClassificationScores:
    ci95 = intervals(classification_draws(true, probabilities))
    return ClassificationScores(**classification(true, probabilities), ci95=ci95)


def _regression_scores(true: Scores, predicted: Scores) -> RegressionScores:
    ci95 = intervals(regression_draws(true, predicted))
    return RegressionScores(**regression(true, predicted), ci95=ci95)
