"""Whether the signatures of a model are those of the contract."""

from collections.abc import Mapping

from affect_contract.labels import LABELS
from affect_contract.models import IMAGES_INPUT, PROBABILITIES, SERVING_SIGNATURE, ServedModel
from affect_contract.preprocess import SHAPE
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb


def mismatch(model: ServedModel, signatures: Mapping[str, pb.SignatureDef]) -> str | None:
    """What differs, as the end of a sentence; None where nothing does."""
    if SERVING_SIGNATURE not in signatures:
        return f"it has no signature {SERVING_SIGNATURE}"
    signature = signatures[SERVING_SIGNATURE]
    if set(signature.inputs) != {IMAGES_INPUT}:
        return f"its inputs are {_names(signature.inputs)}, not {IMAGES_INPUT}"
    problem = _difference(signature.inputs[IMAGES_INPUT], pb.DT_UINT8, (-1, *SHAPE))
    if problem:
        return f"its input {IMAGES_INPUT} {problem}"
    for name in model.outputs:
        if name not in signature.outputs:
            return f"its outputs are {_names(signature.outputs)}, and {name} is missing"
        wanted = (-1, len(LABELS)) if name == PROBABILITIES else (-1,)
        problem = _difference(signature.outputs[name], pb.DT_FLOAT, wanted)
        if problem:
            return f"its output {name} {problem}"
    return None


def _difference(tensor: pb.TensorInfo, dtype: int, shape: tuple[int, ...]) -> str | None:
    if tensor.dtype != dtype:
        return f"is {_type_name(tensor.dtype)}, not {_type_name(dtype)}"
    declared = [dim.size for dim in tensor.tensor_shape.dim]
    if not tensor.tensor_shape.unknown_rank and declared != list(shape):
        return f"has the shape {declared}, not {list(shape)}"
    return None


def _names(tensors: Mapping[str, pb.TensorInfo]) -> str:
    return ", ".join(sorted(tensors)) or "none"


def _type_name(number: int) -> str:
    return pb.DataType.Name(number) if number in pb.DataType.values() else f"type {number}"
