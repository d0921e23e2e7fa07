"""How each backbone is built and scaled: the rows that training adds to the contract's table of backbones.

Scaling is part of the base, so that nobody outside ever knows what range a backbone wants.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras

from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.preprocess import SHAPE
from affect_contract.signatures import IMAGES_INPUT
from affect_training.errors import TrainingError
from affect_training.networks.weights import Origin, Weights, file_name

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Per channel, of pictures in [0, 1]; the ``torch`` mode of ``keras.applications.imagenet_utils``."""

_CNN_FILTERS: Final = (16, 32, 64, 128)

Tensor = Any  # keras.KerasTensor, which has no types


@dataclass(frozen=True)
class Pretrained:
    """A network that starts from ImageNet weights, from a file or at random, and may stay frozen."""

    application: Callable[..., keras.Model]
    """Called as those of ``keras.applications``: include_top, weights, input_shape; gives maps."""
    scale: Callable[[Tensor], Tensor]
    """Pictures, uint8 [n, 224, 224, 3], to the range that the weights were trained for."""


@dataclass(frozen=True)
class FromScratch:
    """A network that is trained whole, from random weights."""

    layers: Callable[[Tensor], Tensor]
    """Pictures, uint8 [n, 224, 224, 3], to maps; its scaling is its own."""


def build_base(backbone: BackboneName, weights: Weights | None = None, *, seed: int = 0) -> keras.Model:
    """Build the base of a backbone: uint8 [n, 224, 224, 3] RGB -> float32 [n, d] pooled features.

    d is 1280 for MobileNetV2, 1024 for DenseNet121 and 128 for the custom CNN.

    Args:
        backbone: which network.
        weights: its initial weights; None for one that is trained from scratch.
        seed: decides random initial weights.

    Raises:
        TrainingError: the weights cannot be had or do not fit.
    """
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE, dtype="uint8", name=IMAGES_INPUT)
    construction = CONSTRUCTIONS[backbone]
    if isinstance(construction, FromScratch):
        return _pooled(images, construction.layers(images), backbone)
    if weights is None:
        raise ValueError(f"{backbone} starts from weights: say which")
    network = _weighted(construction, backbone, weights)
    base = _pooled(images, network(construction.scale(images), training=False), backbone)
    base.trainable = False
    return base


def parts(base: keras.Model) -> tuple[keras.layers.Layer, keras.Model, keras.layers.Layer]:
    """Return the three parts of a pretrained base: its scaling, its network, and the pooling of its maps."""
    _, scaling, network, pooling = base.layers
    return scaling, network, pooling


def _pooled(images: Tensor, maps: Tensor, name: str) -> keras.Model:
    features = keras.layers.GlobalAveragePooling2D(name="features")(maps)
    return keras.Model(images, features, name=name)


def _weighted(construction: Pretrained, backbone: BackboneName, weights: Weights) -> keras.Model:
    if weights.origin is Origin.IMAGENET:
        try:
            return construction.application(include_top=False, weights="imagenet", input_shape=SHAPE)
        except Exception as exc:  # keras.utils.get_file raises no narrower class when a download fails
            raise TrainingError(
                f"the ImageNet weights of {backbone} cannot be downloaded ({_first_line(exc)}): give "
                f"--weights {backbone}=DIR with {file_name(backbone)} in it, or --weights {backbone}=none"
            ) from exc
    network = construction.application(include_top=False, weights=None, input_shape=SHAPE)
    if weights.origin is Origin.FOLDER:
        _load(network, backbone, weights)
    return network


def _load(network: keras.Model, backbone: BackboneName, weights: Weights) -> None:
    try:
        network.load_weights(weights.file(backbone))
    except (OSError, ValueError, KeyError) as exc:
        raise TrainingError(
            f"{weights.file(backbone)} does not hold the weights of {backbone} without its top: {_first_line(exc)}"
        ) from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


def scaled_to_minus_one_to_one(images: Tensor) -> Tensor:
    """Scale to [-1, 1], the ``tf`` mode of ``keras.applications.imagenet_utils``."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)


def scaled_to_imagenet_statistics(images: Tensor) -> Tensor:
    """Scale to zero mean and unit variance on ImageNet, the ``torch`` mode of ``keras.applications.imagenet_utils``."""
    scale = [1 / (255 * std) for std in _IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset=offset)(images)


def _custom_cnn(images: Tensor) -> Tensor:
    """The study's baseline, trained from scratch.

    The picture is scaled to [-1, 1] and halved to 112 x 112. Four blocks of Conv 3x3 (16, 32, 64 and 128
    filters, no bias) -> batch normalisation -> ReLU -> max pooling 2x2 lead to 7 x 7 x 128 maps, and global
    average pooling to 128 features: 98,000 parameters, 50 million multiply-adds a picture.
    """
    x = scaled_to_minus_one_to_one(images)
    x = keras.layers.AveragePooling2D(2)(x)
    for filters in _CNN_FILTERS:
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        # Keras's momentum of 0.99 needs more steps than a small data set has to forget its initial statistics.
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    return x


CONSTRUCTIONS: Final[dict[BackboneName, Pretrained | FromScratch]] = {
    "mobilenet_v2": Pretrained(keras.applications.MobileNetV2, scaled_to_minus_one_to_one),
    "densenet121": Pretrained(keras.applications.DenseNet121, scaled_to_imagenet_statistics),
    "custom_cnn": FromScratch(_custom_cnn),
}
"""The row of each backbone in the contract's table, by its name."""


def require_rows(constructions: Mapping[BackboneName, Pretrained | FromScratch]) -> None:
    """Hold the rows against the contract's table, so that no backbone is ever built or scaled as another.

    Raises:
        RuntimeError: a backbone has no row, or one of the other kind.
    """
    for name, backbone in BACKBONES.items():
        construction = constructions.get(name)
        if construction is None:
            raise RuntimeError(f"{name} has no row in CONSTRUCTIONS: say how it is built and scaled")
        if isinstance(construction, Pretrained) != backbone.is_pretrained:
            raise RuntimeError(f"{name} is pretrained in one of BACKBONES and CONSTRUCTIONS, and not in the other")


require_rows(CONSTRUCTIONS)
