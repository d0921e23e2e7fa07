"""Compare models on the same pictures: differences of their scores with intervals, and changed predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affect_contract.comparison import (
    EXPRESSION,
    ComparedCoverage,
    ComparedVersions,
    Comparison,
    Difference,
    contender_name,
    unfinished_message,
)
from affect_contract.outputs import SCALAR_NAMES
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.answers import Answers, read_answers
from affect_evaluation.run.manifest import read_timing
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import Truth, complete_rows, expression_ids, read_truth, scalar_values
from affect_evaluation.scoring.bootstrap import Interval, classification_draws, differences, intervals, regression_draws
from affect_evaluation.scoring.metrics import classification, regression


@dataclass(frozen=True)
class Contender:
    """One backbone of one run, with its recorded answers."""

    folder: Path
    backbone: str
    truth: Truth
    answers: Answers

    @property
    def name(self) -> str:
        """The name under which it appears in a comparison."""
        return contender_name(self.folder, self.backbone)


def contenders(folders: Sequence[Path]) -> list[Contender]:
    """Read every backbone of every run.

    Raises:
        EvaluationError: a folder holds no run, the runs scored different pictures, or there is only one model.
    """
    found = []
    for folder in folders:
        truth = read_truth(folder)
        for backbone, answers in read_answers(folder / PREDICTIONS_FILE, truth.samples).items():
            found.append(Contender(folder, backbone, truth, answers))
    if len(found) < 2:  # noqa: PLR2004 - a comparison has two sides
        for folder in folders:
            if not read_timing(folder):
                raise EvaluationError(unfinished_message(folder))
        raise EvaluationError("there is one model only: name runs with two models or more in all")
    for one in found[1:]:
        _require_same_pictures(found[0], one)
    return found


def compare(base: Contender, other: Contender) -> Comparison:
    """Compare ``other`` with ``base`` on the pictures that both answered."""
    truth = base.truth
    before, after = (one.answers.probabilities.argmax(axis=1) for one in (base, other))
    classified = complete_rows(base.answers.probabilities + other.answers.probabilities)
    true = expression_ids(truth.samples)
    ids = np.array([sample.id for sample in truth.samples])

    def named(where: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(ids[classified & where].tolist())

    return Comparison(
        base=base.name,
        other=other.name,
        versions=ComparedVersions(base=base.answers.versions, other=other.answers.versions),
        differences=(*_expression_differences(base, other, classified), *_affect_differences(base, other)),
        coverage=ComparedCoverage(before=_coverage(base), after=_coverage(other)),
        mended=named((before != true) & (after == true)),
        spoilt=named((before == true) & (after != true)),
        changed=named(before != after),
    )


def _require_same_pictures(one: Contender, other: Contender) -> None:
    if [sample.digest for sample in one.truth.samples] != [sample.digest for sample in other.truth.samples]:
        raise EvaluationError(
            f"{one.folder} and {other.folder} scored different pictures: score the same split of the same data"
        )


def _expression_differences(base: Contender, other: Contender, classified: NDArray[np.bool_]) -> list[Difference]:
    if not classified.any():
        return []
    true = expression_ids(base.truth.samples)[classified]
    given = [one.answers.probabilities[classified] for one in (base, other)]
    before, after = (classification(true, probabilities) for probabilities in given)
    drawn = [classification_draws(true, probabilities) for probabilities in given]
    found = intervals(differences(drawn[1], drawn[0]))
    return [
        _difference(EXPRESSION, metric, before[metric], after[metric], interval)  # type: ignore[literal-required]
        for metric, interval in found.items()
    ]


def _affect_differences(base: Contender, other: Contender) -> list[Difference]:
    true_scalars = scalar_values(base.truth.samples)
    with_scalars = complete_rows(true_scalars + base.answers.affect + other.answers.affect)
    if not with_scalars.any():
        return []
    made = []
    for column, name in enumerate(SCALAR_NAMES):
        true = true_scalars[with_scalars, column]
        given = [one.answers.affect[with_scalars, column] for one in (base, other)]
        before, after = (regression(true, predicted) for predicted in given)
        drawn = [regression_draws(true, predicted) for predicted in given]
        found = intervals(differences(drawn[1], drawn[0]))
        made += [
            _difference(name, metric, before[metric], after[metric], interval)  # type: ignore[literal-required]
            for metric, interval in found.items()
        ]
    return made


def _difference(
    task: str, metric: str, before: float | None, after: float | None, interval: Interval | None
) -> Difference:
    return Difference(
        task=task,
        metric=metric,
        before=before,
        after=after,
        change=None if before is None or after is None else after - before,
        ci95=None if interval is None else (interval[0], interval[1]),
        is_real=interval is not None and (interval[0] > 0 or interval[1] < 0),
    )


def _coverage(contender: Contender) -> float:
    return len(contender.answers.answered) / len(contender.truth.samples)
