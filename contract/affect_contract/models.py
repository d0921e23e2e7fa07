"""Backbones, the names of the models made from them, and the shape of their signatures."""

from enum import StrEnum
from typing import Final, NamedTuple

SERVING_SIGNATURE: Final = "serving_default"
IMAGES_INPUT: Final = "images"
"""uint8 [N, 224, 224, 3], RGB."""

ENCODED_SIGNATURE: Final = "encoded_images"
ENCODED_INPUT: Final = "encoded_images"
"""string [N], JPEG or PNG bytes."""

PROBABILITIES: Final = "probabilities"
"""float32 [N, 8], in the order of `labels.Expression`, each row summing to 1."""

VALENCE: Final = "valence"
AROUSAL: Final = "arousal"
"""float32 [N], in [-1, 1]."""

MAX_BATCH_SIZE: Final = 32
ALLOWED_BATCH_SIZES: Final = (1, 2, 4, 8, 16, MAX_BATCH_SIZE)
"""Batch sizes a server pads to, so that less than half of a batch is padding; each has a warm-up record."""


class Backbone(StrEnum):
    """The convolutional bases that can be trained and served."""

    MOBILENET_V2 = "mobilenet_v2"
    DENSENET121 = "densenet121"
    CUSTOM_CNN = "custom_cnn"


DISPLAY_NAMES: Final = {
    Backbone.MOBILENET_V2: "MobileNetV2",
    Backbone.DENSENET121: "DenseNet121",
    Backbone.CUSTOM_CNN: "custom CNN",
}
"""How plots and reports call them."""


class Task(StrEnum):
    """What a head is trained for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


OUTPUTS: Final = {
    Task.CLASSIFICATION: (PROBABILITIES,),
    Task.REGRESSION: (VALENCE, AROUSAL),
}
"""Names of the signature outputs of each task."""

_FUSED_SUFFIX: Final = "affect"


class ServedModel(NamedTuple):
    """One servable: a backbone with the head of one task, or fused with those of both."""

    backbone: Backbone
    tasks: tuple[Task, ...]

    @property
    def name(self) -> str:
        """The servable's name, for example ``densenet121_regression`` or ``mobilenet_v2_affect``."""
        return f"{self.backbone}_{_FUSED_SUFFIX if self.is_fused else self.tasks[0]}"

    @property
    def is_fused(self) -> bool:
        """Whether one pass answers both tasks."""
        return len(self.tasks) > 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of its `SERVING_SIGNATURE`."""
        return tuple(output for task in self.tasks for output in OUTPUTS[task])


def single(backbone: Backbone, task: Task) -> ServedModel:
    """The model of one backbone and one task."""
    return ServedModel(backbone, (task,))


def fused(backbone: Backbone) -> ServedModel:
    """The model that runs the backbone once for both tasks."""
    return ServedModel(backbone, tuple(Task))


MODELS: Final = {
    model.name: model
    for backbone in Backbone
    for model in (fused(backbone), *(single(backbone, task) for task in Task))
    # The custom CNN is trained whole for each task, so no two tasks share its convolutions.
    if not (model.is_fused and backbone is Backbone.CUSTOM_CNN)
}
"""Every servable name of the contract."""
