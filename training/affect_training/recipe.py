"""Everything that decides what a training run gives, in one frozen object."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from affect_contract.models import Backbone


class ClassWeights(StrEnum):
    """How much the pictures of each expression weigh in the classification loss."""

    NONE = "none"
    """Every picture weighs the same."""
    BALANCED = "balanced"
    """Every expression weighs the same: n / (classes present x pictures of the class)."""


@dataclass(frozen=True)
class Recipe:
    """How one head, or one whole network, is trained; the defaults are the study's recipe."""

    hidden_units: int = 256
    dropout: float = 0.5
    learning_rate: float = 1e-4
    """Of Adam, otherwise with Keras's defaults."""
    batch_size: int = 16
    epochs: int = 10
    class_weights: ClassWeights = ClassWeights.NONE
    restore_best: bool = False
    """Keep the epoch with the lowest validation loss instead of the last."""


STUDY = Recipe()
"""For heads on a frozen ImageNet backbone."""

FROM_SCRATCH = replace(STUDY, learning_rate=1e-3)
"""For the custom CNN: a network that starts from random weights gets nowhere in ten epochs at 1e-4."""


def recipe_for(backbone: Backbone, overrides: Mapping[str, Any]) -> Recipe:
    """The default recipe of a backbone with the figures the user gave in its place."""
    default = FROM_SCRATCH if backbone is Backbone.CUSTOM_CNN else STUDY
    return replace(default, **overrides)


def fingerprint(*facts: object) -> str:
    """A short stable digest of facts that JSON can hold (dataclasses included), to name their results by."""
    text = json.dumps(facts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Recipe):
        return asdict(value)
    raise TypeError(f"{value!r} has no place in a fingerprint")
