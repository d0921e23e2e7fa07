"""The networks: convolutional bases that turn pictures into features, and the heads on top of them.

Scaling is part of the base, so that nobody outside ever knows what range a backbone wants.
"""

from collections.abc import Mapping
from typing import Final

import keras

from affect_contract.labels import LABELS
from affect_contract.models import IMAGES_INPUT, Backbone, Task
from affect_contract.preprocess import SHAPE
from affect_training.errors import TrainingError
from affect_training.networks.weights import Origin, Weights, file_name
from affect_training.recipes.recipe import Recipe

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Per channel, of pictures in [0, 1]; the ``torch`` mode of ``keras.applications.imagenet_utils``."""

_CNN_FILTERS: Final = (16, 32, 64, 128)

_HEAD_OUTPUTS: Final = {
    Task.CLASSIFICATION: (len(LABELS), "softmax"),
    Task.REGRESSION: (2, "linear"),
}
"""Units and activation of the last layer; regression gives valence, then arousal."""


def build_base(backbone: Backbone, weights: Weights | None = None, *, seed: int = 0) -> keras.Model:
    """The base of a backbone: uint8 [n, 224, 224, 3] RGB -> float32 [n, d] pooled features.

    d is 1280 for MobileNetV2, 1024 for DenseNet121 and 128 for the custom CNN.

    Args:
        backbone: which network.
        weights: its initial weights; None only for the custom CNN.
        seed: decides random initial weights.

    Raises:
        TrainingError: the weights cannot be had or do not fit.
    """
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE, dtype="uint8", name=IMAGES_INPUT)
    if weights is None:
        return _custom_cnn(images)
    network = _pretrained(backbone, weights)
    maps = network(_scale(backbone, images), training=False)
    features = keras.layers.GlobalAveragePooling2D(name="features")(maps)
    base = keras.Model(images, features, name=backbone.value)
    base.trainable = False
    return base


def build_head(task: Task, feature_count: int, recipe: Recipe, *, seed: int) -> keras.Model:
    """Dense(hidden, ReLU) -> Dropout -> Dense: float32 [n, d] features -> [n, 8] probabilities or [n, 2] affect."""
    units, activation = _HEAD_OUTPUTS[task]
    features = keras.Input((feature_count,), name="features")
    initial = keras.initializers.GlorotUniform
    hidden = keras.layers.Dense(recipe.hidden_units, activation="relu", kernel_initializer=initial(seed))(features)
    dropped = keras.layers.Dropout(recipe.dropout, seed=seed)(hidden)
    outputs = keras.layers.Dense(units, activation=activation, kernel_initializer=initial(seed + 1))(dropped)
    return keras.Model(features, outputs, name=task.value)


def chain(base: keras.Model, head: keras.Model) -> keras.Model:
    """One network from pictures to a head's outputs, sharing the layers of both."""
    return keras.Model(base.input, head(base.output), name=f"{base.name}_{head.name}")


def parts(base: keras.Model) -> tuple[keras.layers.Layer, keras.Model, keras.layers.Layer]:
    """What a pretrained base consists of: its scaling, the network, and the pooling of its maps."""
    _, scaling, network, pooling = base.layers
    return scaling, network, pooling


def parameter_count(base: keras.Model, heads: Mapping[Task, keras.Model]) -> int:
    """Parameters of a base with its heads."""
    return int(base.count_params() + sum(head.count_params() for head in heads.values()))


def _pretrained(backbone: Backbone, weights: Weights) -> keras.Model:
    make = {
        Backbone.MOBILENET_V2: keras.applications.MobileNetV2,
        Backbone.DENSENET121: keras.applications.DenseNet121,
    }[backbone]
    if weights.origin is Origin.IMAGENET:
        try:
            return make(include_top=False, weights="imagenet", input_shape=SHAPE)
        except Exception as exc:  # keras.utils.get_file raises no narrower class when a download fails
            raise TrainingError(
                f"the ImageNet weights of {backbone} cannot be downloaded ({_first_line(exc)}): give "
                f"--weights {backbone}=DIR with {file_name(backbone)} in it, or --weights {backbone}=none"
            ) from exc
    network = make(include_top=False, weights=None, input_shape=SHAPE)
    if weights.origin is Origin.FOLDER:
        _load(network, backbone, weights)
    return network


def _load(network: keras.Model, backbone: Backbone, weights: Weights) -> None:
    try:
        network.load_weights(weights.file(backbone))
    except (OSError, ValueError, KeyError) as exc:
        raise TrainingError(
            f"{weights.file(backbone)} does not hold the weights of {backbone} without its top: {_first_line(exc)}"
        ) from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


def _scale(backbone: Backbone, images: keras.KerasTensor) -> keras.KerasTensor:
    if backbone is Backbone.MOBILENET_V2:
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    scale = [1 / (255 * std) for std in _IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset=offset)(images)


def _custom_cnn(images: keras.KerasTensor) -> keras.Model:
    """The baseline trained from scratch.

    The picture is scaled to [-1, 1] and halved to 112 x 112. Four blocks of Conv 3x3 (16, 32, 64 and 128
    filters, no bias) -> batch normalisation -> ReLU -> max pooling 2x2 lead to 7 x 7 x 128 maps, and global
    average pooling to 128 features: 98,000 parameters, 50 million multiply-adds a picture.
    """
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = keras.layers.AveragePooling2D(2)(x)
    for filters in _CNN_FILTERS:
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        # Keras's momentum of 0.99 needs more steps than a small data set has to forget its initial statistics.
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    features = keras.layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(images, features, name=Backbone.CUSTOM_CNN.value)
