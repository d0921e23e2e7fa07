"""Everything that decides what a training run gives, in one frozen object."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.preprocess import SIDE
from affect_training.loop.augmentation import Augmentation

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Mode(StrEnum):
    """The part of a pretrained network that is trained."""

    FROZEN = "frozen"
    """Heads alone, each on the features of the frozen backbone."""
    FINE_TUNE = "fine-tune"
    """The backbone and its heads together."""


class Watched(StrEnum):
    """The validation measure that tells the best epoch of fine-tuning."""

    LOSS = "val_loss"
    """The lowest sum of all losses."""
    ACCURACY = "val_accuracy"
    CONCORDANCE = "val_ccc"
    """The highest mean of the concordances of valence and arousal."""


class TrainingPrecision(StrEnum):
    """Arithmetic of fine-tuning, by Keras's names; weights and losses are float32 in each."""

    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    """For GPUs since NVIDIA's Ampere, and processors with bfloat16 units."""
    MIXED_FLOAT16 = "mixed_float16"
    """For older GPUs; the loss is scaled, so that small gradients survive."""


class ClassWeights(StrEnum):
    """How much the pictures of each expression weigh in the classification loss."""

    NONE = "none"
    """Every picture weighs the same."""
    BALANCED = "balanced"
    """Every expression weighs the same: n / (classes present x pictures of the class)."""


@dataclass(frozen=True)
class Recipe:
    """How one head, or one whole network, is trained; the defaults are the study's recipe."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    hidden_units: Count = 256
    dropout: Share = 0.5
    learning_rate: Positive = 1e-4
    """The learning rate of Adam, whose other figures are Keras's defaults."""
    batch_size: Count = 16
    epochs: Count = 10
    class_weights: ClassWeights = ClassWeights.NONE
    restore_best: bool = False
    """Keep the best epoch on the validation split instead of the last: the one with the lowest loss."""
    test_time_flip: bool = False
    """Export graphs that answer with the mean over a picture and its mirror image, at twice the work."""


@dataclass(frozen=True)
class FineTuning(Recipe):
    """How a backbone and its heads are trained together."""

    learning_rate: Positive = 4e-4
    """The highest; it rises in a straight line during the warm-up, then falls along a cosine."""
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Of the learning rate, what is left at the end."""
    weight_decay: NotNegative = 0.0
    """Share of each kernel, times the learning rate, that a step takes off (AdamW: Loshchilov and Hutter, 2019,
    arXiv:1711.05101)."""
    batch_size: Count = 32
    epochs: Count = 30
    unfreeze_from: str | None = None
    """The first layer of the backbone that is trained, with all that follow; all are, if it is not given."""
    head_epochs: Annotated[int, Field(ge=0)] = 8
    """Epochs that the heads are trained for on the frozen backbone's features before."""
    head_learning_rate: Positive = 1e-3
    """The learning rate of these epochs."""
    warmup: Share = 0.1
    """The share of all steps during which the learning rate rises."""
    sides: tuple[tuple[Count, Annotated[int, Field(ge=32, le=SIDE)]], ...] = ((1, SIDE),)
    """Pairs of a first epoch, from 1, and the side of the pictures from then on."""
    label_smoothing: Share = 0.1
    classification: NotNegative = 1.0
    """The weight of the cross-entropy in the loss."""
    concordance: NotNegative = 1.0
    """The weight of 1 - CCC in the loss."""
    squared_error: NotNegative = 0.0
    """The weight of the mean squared error of valence and arousal in the loss."""
    mixup: NotNegative = 0.4
    """Both parameters of the Beta distribution that pairs of pictures are mixed by (Zhang et al., 2018,
    arXiv:1710.09412); 0 mixes none."""
    averaging: Share = 0.995
    """The share that the running mean of the weights keeps of itself at each step; the mean is measured and exported.
    With 0 there is no mean, and the weights are taken as they are."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs in a row without a better one after which training stops and the best is kept; 0 never stops it."""
    watch: Watched = Watched.LOSS
    """The measure by which `patience` and `restore_best` find the best epoch."""
    precision: TrainingPrecision = TrainingPrecision.FLOAT32
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch is kept, and not the last."""
        return self.restore_best or self.patience > 0

    def side(self, epoch: int) -> int:
        """The side of the pictures in an epoch, from 1."""
        return next((side for first, side in reversed(self.sides) if first <= epoch), SIDE)


STUDY_RECIPE = Recipe()
"""The study's recipe, for heads on a frozen ImageNet backbone."""

FROM_SCRATCH = replace(STUDY_RECIPE, learning_rate=1e-3)
"""For the custom CNN: a network that starts from random weights gets nowhere in ten epochs at 1e-4."""


def recipe_for(backbone: BackboneName, chosen: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The chosen recipe, or that of a network trained from scratch, with the figures the user gave in their place."""
    recipe = chosen if BACKBONES[backbone].is_pretrained else FROM_SCRATCH
    known = {one.name for one in fields(recipe)}
    return replace(recipe, **{name: value for name, value in overrides.items() if name in known})


def fingerprint(*facts: object) -> str:
    """A short stable digest of facts that JSON can hold (dataclasses included), to name their results by."""
    text = json.dumps(facts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Recipe):
        return asdict(value)
    raise TypeError(f"{value!r} has no place in a fingerprint")
