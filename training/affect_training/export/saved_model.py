"""Trained networks to SavedModels that TensorFlow Serving and the embedded runtime both read.

Variables are frozen to constants, so that a runtime can fold batch normalisation into the convolutions. This
module alone needs TensorFlow to be Keras's backend; `exporting` brings it what another one has trained.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from affect_contract.outputs import PROBABILITIES, Task, outputs_of
from affect_contract.preprocess import CHANNELS, SHAPE, SIDE
from affect_contract.signatures import ENCODED_INPUT, ENCODED_SIGNATURE, IMAGES_INPUT, SERVING_SIGNATURE

_JPEG_MAGIC = b"\xff\xd8\xff"

GraphOutputs = dict[str, Any]
"""A network's output tensors, by their names in the contract."""


def export(
    directory: Path,
    base: keras.Model,
    heads: Mapping[Task, keras.Model],
    *,
    encoded_signature: bool = False,
    test_time_flip: bool = False,
) -> None:
    """Write one servable version.

    Args:
        directory: the version directory to make.
        base: uint8 [n, 224, 224, 3] -> float32 [n, d].
        heads: the head of each task that the servable answers; both make it a fused model.
        encoded_signature: add the signature that decodes JPEG and PNG bytes in the graph.
        test_time_flip: answer with the mean over each picture and its mirror image, at twice the work.
    """
    images = tf.TensorSpec([None, *SHAPE], tf.uint8, name=IMAGES_INPUT)
    answer = _mirrored_answer if test_time_flip else _answer
    serve = _frozen(tf.function(lambda images: answer(base, heads, images), input_signature=[images]))
    signatures = {SERVING_SIGNATURE: tf.function(serve, input_signature=[images])}
    if encoded_signature:
        encoded = tf.TensorSpec([None], tf.string, name=ENCODED_INPUT)
        signatures[ENCODED_SIGNATURE] = tf.function(
            lambda encoded_images: serve(decode_pictures(encoded_images)), input_signature=[encoded]
        )
    module = tf.Module()
    tf.saved_model.save(module, str(directory), signatures=signatures)


def _answer(base: keras.Model, heads: Mapping[Task, keras.Model], images: tf.Tensor) -> GraphOutputs:
    features = base(images, training=False)
    outputs: GraphOutputs = {}
    if Task.CLASSIFICATION in heads:
        outputs[PROBABILITIES] = heads[Task.CLASSIFICATION](features, training=False)
    if Task.REGRESSION in heads:
        columns = tf.unstack(heads[Task.REGRESSION](features, training=False), axis=1)
        for output, column in zip(outputs_of(Task.REGRESSION), columns, strict=True):
            outputs[output.name] = tf.clip_by_value(column, output.low, output.high)
    return outputs


def _mirrored_answer(base: keras.Model, heads: Mapping[Task, keras.Model], images: tf.Tensor) -> GraphOutputs:
    answers = _answer(base, heads, images), _answer(base, heads, images[:, :, ::-1])
    return {name: (answers[0][name] + answers[1][name]) / 2 for name in answers[0]}


def _frozen(function: Any) -> Callable[[tf.Tensor], GraphOutputs]:
    """The function with its variables as constants, its outputs still by name."""
    concrete = function.get_concrete_function()
    names = sorted(concrete.structured_outputs)  # the order in which TensorFlow flattens a dict
    constant = convert_variables_to_constants_v2(concrete)
    return lambda images: dict(zip(names, constant(images), strict=True))


def decode_pictures(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG or PNG bytes, string [n], to uint8 [n, 224, 224, 3], as close to `preprocess` as TensorFlow gets."""
    return tf.map_fn(_decode_picture, encoded, fn_output_signature=tf.TensorSpec(SHAPE, tf.uint8))


def _decode_picture(encoded: tf.Tensor) -> tf.Tensor:
    picture = tf.cond(
        tf.strings.substr(encoded, 0, len(_JPEG_MAGIC)) == _JPEG_MAGIC,
        # The default, INTEGER_FAST, differs from every other decoder in six values of ten.
        lambda: tf.io.decode_jpeg(encoded, channels=CHANNELS, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=CHANNELS),
    )
    resized = tf.image.resize(picture, (SIDE, SIDE), antialias=True)
    return tf.ensure_shape(tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8), SHAPE)
