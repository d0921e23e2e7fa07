"""The eight expressions of AffectNet and the scales of valence and arousal."""

from enum import IntEnum
from typing import Final


class Expression(IntEnum):
    """AffectNet's expression ids; a model's probabilities stand in this order."""

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
"""Label names in id order."""

AFFECT_MIN: Final = -1.0
AFFECT_MAX: Final = 1.0
"""Valence and arousal both lie in [AFFECT_MIN, AFFECT_MAX], unitless."""
