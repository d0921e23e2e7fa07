"""The learning rate of every step of a training."""

import math
from collections.abc import Callable

from affect_training.recipes.recipe import FineTuning

Schedule = Callable[[int], float]
"""The learning rate of a step, counted from 0 over all epochs."""


def constant(rate: float) -> Schedule:
    """The same rate at every step."""
    return lambda _: rate


def warmup_cosine(recipe: FineTuning, steps: int) -> Schedule:
    """A straight rise, then half a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983), over all ``steps``."""
    rising = recipe.warmup * steps

    def rate(step: int) -> float:
        if step < rising:
            return recipe.learning_rate * (step + 1) / (rising + 1)
        falling = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
        return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * falling)

    return rate
