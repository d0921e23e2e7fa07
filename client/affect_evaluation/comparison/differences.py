"""Models against each other on the same pictures: differences with intervals, changed answers, and a gate."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import SCALAR_NAMES
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.answers import Answers, read_answers
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import Truth, affect, expressions, read_truth, whole
from affect_evaluation.scoring.bootstrap import Interval, classification_draws, differences, intervals, regression_draws
from affect_evaluation.scoring.metrics import classification, regression

EXPRESSION: Final = "expression"
_COVERAGE: Final = "coverage"

_CONDITION: Final = re.compile(r"\s*(\w+)(?:\.(\w+))?\s*([<>])\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)\s*", re.IGNORECASE)
_BEYOND: Final[dict[str, Callable[[float, float], bool]]] = {"<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Contender:
    """One backbone of one run."""

    folder: Path
    backbone: str
    truth: Truth
    answers: Answers

    @property
    def name(self) -> str:
        """What it is called in a comparison."""
        return f"{self.folder}:{self.backbone}"


@dataclass(frozen=True)
class Difference:
    """One score of two models on the pictures that both answered."""

    task: str
    metric: str
    before: float | None
    after: float | None
    ci95: Interval | None
    """Of ``after`` less ``before``, drawn in pairs."""

    @property
    def change(self) -> float | None:
        """``after`` less ``before``; None where one of them is undefined."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves 0 out, so that other pictures would have shown the same direction."""
        return self.ci95 is not None and (self.ci95[0] > 0 or self.ci95[1] < 0)


@dataclass(frozen=True)
class Comparison:
    """One model against the one it is measured by."""

    base: Contender
    other: Contender
    differences: tuple[Difference, ...]
    coverage: tuple[float, float]
    """Share of pictures that were answered, before and after."""
    mended: tuple[str, ...]
    """Pictures whose expression was wrong and is right."""
    spoilt: tuple[str, ...]
    """Pictures whose expression was right and is wrong."""
    changed: tuple[str, ...]
    """Pictures whose predicted expression is another."""


@dataclass(frozen=True)
class Condition:
    """When a comparison fails, as ``valence.ccc < -0.02``."""

    text: str
    task: str
    metric: str | None
    sign: str
    limit: float

    def fails(self, comparison: Comparison) -> bool:
        """Whether the change lies beyond the limit, and its interval on the same side of 0.

        Raises:
            EvaluationError: the score is not there, or undefined.
        """
        beyond = _BEYOND[self.sign]
        if self.task == _COVERAGE:
            before, after = comparison.coverage
            return beyond(after - before, self.limit)
        found = [one for one in comparison.differences if (one.task, one.metric) == (self.task, self.metric)]
        if not found or found[0].change is None or found[0].ci95 is None:
            raise EvaluationError(
                f"{self.text!r} cannot be judged: {comparison.other.name} and {comparison.base.name} do not both have "
                f"a {self.task}.{self.metric}"
            )
        low, high = found[0].ci95
        return beyond(found[0].change, self.limit) and beyond(high if self.sign == "<" else low, 0.0)


def parse_condition(text: str) -> Condition:
    """A condition from its text.

    Raises:
        ValueError: it is none.
    """
    match = _CONDITION.fullmatch(text)
    task = match[1].lower() if match else ""
    if not match or task not in (EXPRESSION, *SCALAR_NAMES, _COVERAGE) or (match[2] is None) != (task == _COVERAGE):
        raise ValueError(
            f'{text!r} is no condition: give one like "valence.ccc < -0.02", "expression.accuracy < -0.01" or '
            '"coverage < 0"'
        )
    return Condition(text, task, match[2] and match[2].lower(), match[3], float(match[4]))


def contenders(folders: Sequence[Path]) -> list[Contender]:
    """Every backbone of every run.

    Raises:
        EvaluationError: a folder is no run, or the runs scored different pictures.
    """
    found = []
    for folder in folders:
        truth = read_truth(folder)
        for backbone, answers in read_answers(folder / PREDICTIONS_FILE, truth.samples).items():
            found.append(Contender(folder, backbone, truth, answers))
    if len(found) < 2:  # noqa: PLR2004 - a comparison has two sides
        raise EvaluationError("there is one model only: name runs with two models or more in all")
    for one in found[1:]:
        _require_same_pictures(found[0], one)
    return found


def compare(base: Contender, other: Contender) -> Comparison:
    """``other`` measured by ``base``, on the pictures that both answered."""
    truth = base.truth
    before, after = (one.answers.probabilities.argmax(axis=1) for one in (base, other))
    classified = whole(base.answers.probabilities + other.answers.probabilities)
    true = expressions(truth.samples)
    ids = np.array([sample.id for sample in truth.samples])

    def named(where: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(ids[classified & where].tolist())

    return Comparison(
        base,
        other,
        (*_expression_differences(base, other, classified), *_affect_differences(base, other)),
        (_coverage(base), _coverage(other)),
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
    true = expressions(base.truth.samples)[classified]
    given = [one.answers.probabilities[classified] for one in (base, other)]
    before, after = (classification(true, probabilities) for probabilities in given)
    drawn = [classification_draws(true, probabilities) for probabilities in given]
    found = intervals(differences(drawn[1], drawn[0]))
    return [
        Difference(EXPRESSION, metric, before[metric], after[metric], interval)  # type: ignore[literal-required]
        for metric, interval in found.items()
    ]


def _affect_differences(base: Contender, other: Contender) -> list[Difference]:
    every = affect(base.truth.samples)
    placed = whole(every + base.answers.affect + other.answers.affect)
    if not placed.any():
        return []
    made = []
    for column, name in enumerate(SCALAR_NAMES):
        true = every[placed, column]
        given = [one.answers.affect[placed, column] for one in (base, other)]
        before, after = (regression(true, predicted) for predicted in given)
        drawn = [regression_draws(true, predicted) for predicted in given]
        found = intervals(differences(drawn[1], drawn[0]))
        made += [
            Difference(name, metric, before[metric], after[metric], interval)  # type: ignore[literal-required]
            for metric, interval in found.items()
        ]
    return made


def _coverage(contender: Contender) -> float:
    return len(contender.answers.answered) / len(contender.truth.samples)
