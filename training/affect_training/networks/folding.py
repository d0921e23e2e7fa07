"""A frozen batch normalisation folded into the convolution before it, while both are being trained.

In inference mode, which fine-tuning keeps, ``BN(conv(x, K)) = conv(x, K s) + (beta - mean s)`` with
``s = gamma / sqrt(variance + epsilon)`` (Jacob et al., 2018, arXiv:1712.05877, section 3.2). The right side scales a
kernel instead of a picture's maps, so that neither the step nor its gradient touches the maps a second time. Kernel,
gamma and beta stay the variables; values and gradients are those of the left side.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Function = Callable[..., Any]


def folded(network: keras.Model) -> Callable[[Any], Any]:
    """The network in inference mode, every normalisation that follows a convolution alone folded into it.

    Args:
        network: a functional model of layers, for example one of ``keras.applications``.

    Returns:
        A function of pictures, float32 [n, h, w, 3] of any height and width that the network's strides allow, to
        its maps.
    """
    normalisation_of = _normalisations(network)
    absorbed = {layer.name for layer in normalisation_of.values()}

    def function(layer: Any) -> Function:
        if layer.name in normalisation_of:
            return _convolution(layer, normalisation_of[layer.name])
        if layer.name in absorbed:
            return _unchanged
        if isinstance(layer, keras.layers.BatchNormalization):
            return lambda maps, **masks: layer(maps, training=False, **masks)
        return layer  # type: ignore[no-any-return]

    return lambda pictures: network._run_through_graph(pictures, operation_fn=function)


def _unchanged(maps: Any, **_masks: Any) -> Any:
    return maps


def _normalisations(network: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """The normalisation that is the one user of each convolution, by the convolution's name."""
    found = {}
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = layer._inbound_nodes[0].parent_nodes[0].operation
            plain = isinstance(before, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and not before.use_bias
            if plain and len(before._outbound_nodes) == 1:
                found[before.name] = layer
    return found


def _convolution(layer: Any, normalisation: keras.layers.BatchNormalization) -> Function:
    def convolve(maps: Any, **_masks: Any) -> Any:
        scale = normalisation.gamma * ops.rsqrt(normalisation.moving_variance + normalisation.epsilon)
        offset = ops.cast(normalisation.beta - normalisation.moving_mean * scale, layer.compute_dtype)
        maps = ops.cast(maps, layer.compute_dtype)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            # A depthwise kernel is [h, w, channels, 1]: its channels are not last.
            kernel = ops.cast(layer.kernel * ops.reshape(scale, (1, 1, -1, 1)), layer.compute_dtype)
            return ops.depthwise_conv(maps, kernel, strides=layer.strides, padding=layer.padding) + offset
        kernel = ops.cast(layer.kernel * scale, layer.compute_dtype)
        return ops.conv(maps, kernel, strides=list(layer.strides), padding=layer.padding) + offset

    return convolve
