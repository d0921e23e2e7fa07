"""The signatures of every servable model, and the comparison of models and requests with them."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Final

from affect_contract.models import ServedModel
from affect_contract.preprocess import SHAPE
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb

SERVING_SIGNATURE: Final = "serving_default"
IMAGES_INPUT: Final = "images"
"""The input of `SERVING_SIGNATURE`, uint8 [N, 224, 224, 3], RGB."""

ENCODED_SIGNATURE: Final = "encoded_images"
ENCODED_INPUT: Final = "encoded_images"
"""The input of `ENCODED_SIGNATURE`, string [N], the bytes of JPEG or PNG files."""

MAX_BATCH_SIZE: Final = 32
ALLOWED_BATCH_SIZES: Final = (1, 2, 4, 8, 16, MAX_BATCH_SIZE)
"""The batch sizes that a server pads to, so that less than half of a batch is padding; each has a warm-up record."""


def mismatch(model: ServedModel, signatures: Mapping[str, pb.SignatureDef]) -> str | None:
    """Return how a model's signatures differ from the contract, as the end of a sentence; None if they do not."""
    if SERVING_SIGNATURE not in signatures:
        return f"it has no signature {SERVING_SIGNATURE}"
    signature = signatures[SERVING_SIGNATURE]
    if set(signature.inputs) != {IMAGES_INPUT}:
        return f"its inputs are {_names(signature.inputs)}, not {IMAGES_INPUT}"
    problem = _difference(signature.inputs[IMAGES_INPUT], pb.DT_UINT8, (-1, *SHAPE))
    if problem:
        return f"its input {IMAGES_INPUT} {problem}"
    for output in model.outputs:
        if output.name not in signature.outputs:
            return f"its outputs are {_names(signature.outputs)}, and {output.name} is missing"
        problem = _difference(signature.outputs[output.name], pb.DT_FLOAT, (-1, *output.shape))
        if problem:
            return f"its output {output.name} {problem}"
    return None


def request_mismatch(inputs: Mapping[str, pb.TensorProto], signature: pb.SignatureDef) -> str | None:
    """Return how a request's inputs differ from ``signature``, as the end of a sentence; None if they do not."""
    if set(inputs) != set(signature.inputs):
        return f"its inputs are {_names(inputs)}, not {_names(signature.inputs)}"
    for name, tensor in inputs.items():
        wanted = signature.inputs[name]
        if tensor.dtype != wanted.dtype:
            return f"its input {name} is {_type_name(tensor.dtype)}, not {_type_name(wanted.dtype)}"
        if not _fits(_sides(tensor.tensor_shape), wanted.tensor_shape):
            return f"its input {name} has the shape {_sides(tensor.tensor_shape)}, not {_sides(wanted.tensor_shape)}"
        held, size = len(tensor.tensor_content), prod(_sides(tensor.tensor_shape))
        if tensor.dtype == pb.DT_UINT8 and held not in (0, size):
            return f"its input {name} holds {held:,} bytes for {size:,} values"
    return None


def _difference(tensor: pb.TensorInfo, dtype: int, shape: tuple[int, ...]) -> str | None:
    if tensor.dtype != dtype:
        return f"is {_type_name(tensor.dtype)}, not {_type_name(dtype)}"
    declared = _sides(tensor.tensor_shape)
    if not tensor.tensor_shape.unknown_rank and declared != list(shape):
        return f"has the shape {declared}, not {list(shape)}"
    return None


def _fits(sides: Sequence[int], wanted: pb.TensorShapeProto) -> bool:
    """Whether a tensor with these sides has the shape ``wanted``, in which -1 is any length from 1."""
    declared = [-1] * len(sides) if wanted.unknown_rank else _sides(wanted)
    return len(sides) == len(declared) and all(
        side > 0 and length in (-1, side) for side, length in zip(sides, declared, strict=True)
    )


def _sides(shape: pb.TensorShapeProto) -> list[int]:
    return [dim.size for dim in shape.dim]


def _names(tensors: Iterable[str]) -> str:
    return ", ".join(sorted(tensors)) or "none"


def _type_name(number: int) -> str:
    return pb.DataType.Name(number) if number in pb.DataType.values() else f"type {number}"
