"""TensorFlow Serving's messages: requests built from pictures, outputs read from responses."""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.errors import BackendError
from affect_contract.models import ServedModel
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import IMAGES_INPUT, SERVING_SIGNATURE
from affect_contract.tfserving import model_spec
from affect_serving.core.backend import ModelAnswer, Selector

_LITTLE_ENDIAN_FLOAT: Final = np.dtype("<f4")


def predict_request(model: ServedModel, selector: Selector, images: NDArray[np.uint8]) -> pb.PredictRequest:
    """Return the request to run ``model`` on uint8 ``images`` [n, 224, 224, 3]."""
    spec = model_spec(model.name, version=selector.version, label=selector.label)
    spec.signature_name = SERVING_SIGNATURE
    tensor = pb.TensorProto(
        dtype=pb.DT_UINT8, tensor_shape=_shape(images.shape), tensor_content=np.ascontiguousarray(images).tobytes()
    )
    return pb.PredictRequest(model_spec=spec, inputs={IMAGES_INPUT: tensor})


def model_answer(response: pb.PredictResponse, model: ServedModel, count: int) -> ModelAnswer:
    """Read the outputs for ``count`` pictures from a response.

    Raises:
        BackendError: an output is missing, or has another shape or type than the contract's.
    """
    outputs = {}
    for output in model.outputs:
        name = output.name
        if name not in response.outputs:
            raise BackendError(f"{model.name} answered without {name}: publish a version with the contract's outputs")
        outputs[name] = _floats(response.outputs[name], (count, *output.shape), f"{name} of {model.name}")
    return ModelAnswer(outputs, response.model_spec.version.value)


def _shape(sides: Iterable[int]) -> pb.TensorShapeProto:
    return pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=side) for side in sides])


def _floats(tensor: pb.TensorProto, wanted: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Read a float tensor, whose values are packed as bytes, or listed; a last listed value stands for all missing."""
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype != pb.DT_FLOAT or shape != wanted:
        kind = pb.DataType.Name(tensor.dtype) if tensor.dtype in pb.DataType.values() else tensor.dtype
        raise BackendError(f"{name} came as {kind} {list(shape)}, not DT_FLOAT {list(wanted)}: publish another version")
    size = math.prod(wanted)
    if tensor.tensor_content:
        if len(tensor.tensor_content) != size * _LITTLE_ENDIAN_FLOAT.itemsize:
            raise BackendError(f"{name} came with {len(tensor.tensor_content)} bytes for {size} values: ask again")
        values = np.frombuffer(tensor.tensor_content, _LITTLE_ENDIAN_FLOAT)
    else:
        if not 0 < len(tensor.float_val) <= size:
            raise BackendError(f"{name} came with {len(tensor.float_val)} values instead of {size}: ask again")
        values = np.array(tensor.float_val, np.float32)
        if len(values) < size:
            values = np.pad(values, (0, size - len(values)), mode="edge")
    return values.astype(np.float32, copy=False).reshape(wanted)
