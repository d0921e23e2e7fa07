"""Records that TensorFlow Serving replays before it calls a version available."""

import io
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from affect_contract.preprocess import SHAPE, SIDE
from affect_contract.signatures import (
    ALLOWED_BATCH_SIZES,
    ENCODED_INPUT,
    ENCODED_SIGNATURE,
    IMAGES_INPUT,
    SERVING_SIGNATURE,
)
from affect_registry.store import WARMUP_FILE

_GREY = 128


def write_warmup(directory: Path, model_name: str, *, encoded_signature: bool = False) -> None:
    """Write one record for each allowed batch size and signature into a version directory.

    A record larger than the server's ``max_batch_size`` would stop it at start, so both follow
    `ALLOWED_BATCH_SIZES`.
    """
    path = directory / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in _requests(model_name, encoded_signature=encoded_signature):
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _requests(model_name: str, *, encoded_signature: bool) -> Iterator[predict_pb2.PredictRequest]:
    for size in ALLOWED_BATCH_SIZES:
        yield _request(model_name, SERVING_SIGNATURE, IMAGES_INPUT, _grey_pictures(size))
    if encoded_signature:
        for size in ALLOWED_BATCH_SIZES:
            yield _request(model_name, ENCODED_SIGNATURE, ENCODED_INPUT, _grey_jpegs(size))


def _request(
    model_name: str, signature: str, input_name: str, tensor: tensor_pb2.TensorProto
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(inputs={input_name: tensor})
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    return request


def _grey_pictures(count: int) -> tensor_pb2.TensorProto:
    # One value stands for all of them (tensor.proto: the last one repeats), so a record takes bytes, not megabytes.
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, tensor_shape=_shape(count, *SHAPE), int_val=[_GREY])


def _grey_jpegs(count: int) -> tensor_pb2.TensorProto:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (_GREY, _GREY, _GREY)).save(buffer, "JPEG")
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=_shape(count), string_val=[buffer.getvalue()] * count
    )


def _shape(*sides: int) -> tensor_shape_pb2.TensorShapeProto:
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=side) for side in sides])
