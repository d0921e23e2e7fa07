"""A backbone of two convolutions that only tests register; it replaces a pretrained one where any network will do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from affect_contract.backbones import BACKBONES, Backbone

NAME: Final = "tiny"
ROW: Final = Backbone("tiny network", is_pretrained=True, shares_base=True, colour="#CC79A7", marker="D")
LAST_CONVOLUTION: Final = "tiny_conv_2"
"""Name of the last convolution, from which the network can be unfrozen in part."""


@contextmanager
def registered(*, for_training: bool) -> Iterator[str]:
    """Register the backbone in the contract's table, and in training's if networks are built; yield its name."""
    constructions: dict[str, Any] = {}
    if for_training:
        # Imported first, since training checks its rows against the contract's at import.
        from affect_training.networks.backbones import (  # noqa: PLC0415
            CONSTRUCTIONS,
            Pretrained,
            scaled_to_minus_one_to_one,
        )

        constructions = CONSTRUCTIONS
        constructions[NAME] = Pretrained(tiny_network, scaled_to_minus_one_to_one)
    BACKBONES[NAME] = ROW
    try:
        yield NAME
    finally:
        del BACKBONES[NAME]
        constructions.pop(NAME, None)


def tiny_network(*, include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> Any:
    """Build the network: pictures in [-1, 1], float32 [n, h, w, 3], to feature maps, float32 [n, h/16, w/16, 16]."""
    import keras  # noqa: PLC0415 - processes that only use its models need no Keras

    if include_top or weights is not None:
        raise OSError("there are no ImageNet weights of it")
    pictures = keras.Input(input_shape)
    maps = pictures
    for number, (filters, stride) in enumerate(((8, 8), (16, 2)), start=1):
        maps = keras.layers.Conv2D(
            filters, stride, strides=stride, padding="same", use_bias=False, name=f"tiny_conv_{number}"
        )(maps)
        maps = keras.layers.BatchNormalization(name=f"tiny_norm_{number}")(maps)
        maps = keras.layers.ReLU(name=f"tiny_relu_{number}")(maps)
    return keras.Model(pictures, maps, name=NAME)
