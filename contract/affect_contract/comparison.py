"""The document that `affect-evaluate compare --out` writes, and the conditions by which it judges a release."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from affect_contract.outputs import SCALAR_NAMES

COMPARISON_FILE: Final = "comparison.json"
EXPRESSION: Final = "expression"
"""The task of the scores of expressions; the task of a scalar output's scores is the name of the output."""

_COVERAGE: Final = "coverage"
_CONDITION: Final = re.compile(r"\s*(\w+)(?:\.(\w+))?\s*([<>])\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)\s*", re.IGNORECASE)
_BEYOND: Final[dict[str, Callable[[float, float], bool]]] = {"<": operator.lt, ">": operator.gt}


class ConditionNotJudged(Exception):
    """A comparison lacks the score that a condition needs; the text says which."""


class _Part(BaseModel):
    """The base of all parts of the document: immutable, and documented by the docstrings of the fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Difference(_Part):
    """The difference in one score between two models, on the pictures that both answered."""

    task: str
    metric: str
    before: float | None
    after: float | None
    change: float | None
    """``after`` minus ``before``; None if one of them is undefined."""
    ci95: tuple[float, float] | None
    """The 95 % confidence interval of the change, from a paired bootstrap; None if it is undefined."""
    is_real: bool
    """Whether the interval excludes 0, so that other pictures would have shown a change in the same direction."""


class ComparedVersions(_Part):
    """The versions of both models that answered, by model name."""

    base: dict[str, int]
    other: dict[str, int]


class ComparedCoverage(_Part):
    """The share of pictures that each model answered."""

    before: float
    after: float


class Comparison(_Part):
    """The comparison of one model, the other, with the one by which it is measured, the base."""

    base: str
    """The name of the base, as `contender_name` gives it."""
    other: str
    """The name of the other model, as `contender_name` gives it."""
    versions: ComparedVersions
    differences: tuple[Difference, ...]
    coverage: ComparedCoverage
    mended: tuple[str, ...]
    """The ids of the pictures whose expression only the other model gets right."""
    spoilt: tuple[str, ...]
    """The ids of the pictures whose expression only the base gets right."""
    changed: tuple[str, ...]
    """The ids of the pictures for which the two models predict different expressions."""


class ComparedRun(_Part):
    """An evaluation run that was compared."""

    folder: str
    is_finished: bool
    versions: dict[str, dict[str, int]]
    """The versions that answered, by backbone and model name, without backbones that have no recorded answer."""


class ComparisonDocument(_Part):
    """The whole document: all comparisons of one command."""

    comparisons: tuple[Comparison, ...]
    costs: dict[str, dict[str, float | None]]
    """The costs and scores of each model, by `contender_name`."""
    runs: tuple[ComparedRun, ...]
    """The runs, in the order in which they were named on the command line."""


@dataclass(frozen=True)
class Condition:
    """A condition under which a comparison fails, for example ``valence.ccc < -0.02``."""

    text: str
    task: str
    metric: str | None
    sign: str
    limit: float

    def fails(self, comparison: Comparison) -> bool:
        """Whether the change is beyond the limit, and its interval entirely on that side of 0.

        Raises:
            ConditionNotJudged: the comparison lacks the score, or it is undefined.
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
        """Return a sentence that says that a comparison fails; None if it does not.

        Raises:
            ConditionNotJudged: the comparison lacks the score, or it is undefined.
        """
        return f"{comparison.other} fails {self.text!r} against {comparison.base}" if self.fails(comparison) else None


def parse_condition(text: str) -> Condition:
    """Parse the text of a condition.

    Raises:
        ValueError: the text is no condition.
    """
    match = _CONDITION.fullmatch(text)
    task = match[1].lower() if match else ""
    if not match or task not in (EXPRESSION, *SCALAR_NAMES, _COVERAGE) or (match[2] is None) != (task == _COVERAGE):
        raise ValueError(
            f'{text!r} is no condition: give one like "valence.ccc < -0.02", "expression.accuracy < -0.01" or '
            '"coverage < 0"'
        )
    return Condition(text, task, match[2] and match[2].lower(), match[3], float(match[4]))


def unfinished_message(folder: object) -> str:
    """Return the error message for a run that is not finished."""
    return f"{folder} is not finished: the same affect-evaluate command goes on with it"


def contender_name(folder: object, backbone: str) -> str:
    """Return the name that one backbone of one run has in a comparison."""
    return f"{folder}:{backbone}"
