"""The eight expressions of AffectNet and the scales of valence and arousal."""

from enum import IntEnum
from typing import Final


class Expression(IntEnum):
    """The expressions by AffectNet's ids; a model's probabilities are in this order."""

    NEUTRAL = 0
    HAPPY = 1
    SAD = 2
    SURPRISE = 3
    FEAR = 4
    DISGUST = 5
    ANGER = 6
    CONTEMPT = 7

    @property
    def label(self) -> str:
        """The name used in answers, files and plots, for example ``"happy"``."""
        return self.name.lower()


LABELS: Final = tuple(expression.label for expression in Expression)
"""The labels of all expressions, in the order of their ids."""

AFFECT_MIN: Final = -1.0
AFFECT_MAX: Final = 1.0
"""Valence and arousal are unitless and lie in [AFFECT_MIN, AFFECT_MAX]."""
