"""Models that answer at once, by the mean brightness of each picture, under the contract's signatures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from affect_contract.models import MODELS, ServedModel
from affect_contract.outputs import PROBABILITIES
from affect_contract.signatures import IMAGES_INPUT, SERVING_SIGNATURE
from affect_testbed.model_server.server import AVAILABLE, ModelEntry, ServedVersion


def tensor_info(dtype: int, *sides: int) -> meta_graph_pb2.TensorInfo:
    """Describe a tensor; a side of -1 may have any length."""
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=side) for side in sides]
    return meta_graph_pb2.TensorInfo(dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims))


def signature(model: ServedModel) -> meta_graph_pb2.SignatureDef:
    """Build the signature that the contract requires of a model."""
    declared = meta_graph_pb2.SignatureDef()
    declared.inputs[IMAGES_INPUT].CopyFrom(tensor_info(types_pb2.DT_UINT8, -1, 224, 224, 3))
    for output in model.outputs:
        declared.outputs[output.name].CopyFrom(tensor_info(types_pb2.DT_FLOAT, -1, *output.shape))
    return declared


class BrightnessModel:
    """A model whose answers follow from brightness, shifted a little by version so that versions differ."""

    def __init__(self, model: ServedModel, version: int = 1) -> None:
        self._model = model
        self._shift = 0.01 * version
        self.signatures = {SERVING_SIGNATURE: signature(model)}

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """See `Runnable`."""
        images = inputs[IMAGES_INPUT]
        brightness = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64) / 256
        outputs = {
            PROBABILITIES: np.eye(8, dtype=np.float32)[(brightness * 8).astype(int)],
            "valence": (1.9 * brightness - 1 + self._shift).astype(np.float32),
            "arousal": (0.9 - 1.8 * brightness - self._shift).astype(np.float32),
        }
        return {output.name: outputs[output.name] for output in self._model.outputs}


def served_models(
    *names: str, versions: tuple[int, ...] = (1,), labels: Mapping[str, int] | None = None
) -> dict[str, ModelEntry]:
    """Build a table of models whose versions are all available; the first version is stable by default."""
    return {
        name: ModelEntry(
            {number: ServedVersion(AVAILABLE, BrightnessModel(MODELS[name], number)) for number in versions},
            dict({"stable": versions[0]} if labels is None else labels),
        )
        for name in names
    }
