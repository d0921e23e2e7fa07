"""The document that `affect-evaluate compare --out` writes, and the conditions that releases are judged by on it."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from affect_contract.outputs import SCALAR_NAMES

COMPARISON_FILE: Final = "comparison.json"
EXPRESSION: Final = "expression"
"""The task of the expressions' scores; those of a scalar output have its name."""

_COVERAGE: Final = "coverage"
_CONDITION: Final = re.compile(r"\s*(\w+)(?:\.(\w+))?\s*([<>])\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)\s*", re.IGNORECASE)
_BEYOND: Final[dict[str, Callable[[float, float], bool]]] = {"<": operator.lt, ">": operator.gt}


class ConditionNotJudged(Exception):
    """A comparison lacks the score that a condition is about; the text says which."""


class _Part(BaseModel):
    """The base of all parts: immutable, and documented by the docstrings of the fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Difference(_Part):
    """One score of two models on the pictures that both answered."""

    task: str
    metric: str
    before: float | None
    after: float | None
    change: float | None
    """``after`` less ``before``; None where one of them is undefined."""
    ci95: tuple[float, float] | None
    """The 95 % interval of the change, drawn in pairs."""
    is_real: bool
    """Whether the interval leaves 0 out, so that other pictures would have shown the same direction."""


class ComparedVersions(_Part):
    """The versions that answered, by model name."""

    base: dict[str, int]
    other: dict[str, int]


class ComparedCoverage(_Part):
    """The share of pictures that were answered."""

    before: float
    after: float


class Comparison(_Part):
    """One model against the one it is measured by."""

    base: str
    """The measure, by `contender_name`."""
    other: str
    versions: ComparedVersions
    differences: tuple[Difference, ...]
    coverage: ComparedCoverage
    mended: tuple[str, ...]
    """Pictures whose expression was wrong and is right."""
    spoilt: tuple[str, ...]
    """Pictures whose expression was right and is wrong."""
    changed: tuple[str, ...]
    """Pictures whose predicted expression is another."""


class ComparedRun(_Part):
    """One of the runs that were compared."""

    folder: str
    is_finished: bool
    versions: dict[str, dict[str, int]]
    """The versions that answered, by backbone and model name; a backbone without a recorded answer is not there."""


class ComparisonDocument(_Part):
    """Everything that a comparison found."""

    comparisons: tuple[Comparison, ...]
    costs: dict[str, dict[str, float | None]]
    """What each model costs beside what it reaches, by `contender_name`."""
    runs: tuple[ComparedRun, ...]
    """In the order in which they were named."""


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
            ConditionNotJudged: the score is not there, or undefined.
        """
        beyond = _BEYOND[self.sign]
        if self.task == _COVERAGE:
            return beyond(comparison.coverage.after - comparison.coverage.before, self.limit)
        found = [one for one in comparison.differences if (one.task, one.metric) == (self.task, self.metric)]
        if not found or found[0].change is None or found[0].ci95 is None:
            raise ConditionNotJudged(
                f"{self.text!r} cannot be judged: {comparison.other} and {comparison.base} do not both have a "
                f"{self.task}.{self.metric}"
            )
        low, high = found[0].ci95
        return beyond(found[0].change, self.limit) and beyond(high if self.sign == "<" else low, 0.0)

    def failure(self, comparison: Comparison) -> str | None:
        """Return that a comparison fails, as a sentence; None if it does not.

        Raises:
            ConditionNotJudged: the score is not there, or undefined.
        """
        return f"{comparison.other} fails {self.text!r} against {comparison.base}" if self.fails(comparison) else None


def parse_condition(text: str) -> Condition:
    """Return a condition from its text.

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


def not_finished(folder: object) -> str:
    """Return the sentence that is said of a run that is not finished."""
    return f"{folder} is not finished: the same affect-evaluate command goes on with it"


def contender_name(folder: object, backbone: str) -> str:
    """Return the name of one backbone of one run in a comparison."""
    return f"{folder}:{backbone}"
