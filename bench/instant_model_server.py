"""A model server that answers at once with a constant, so that only the gateway in front of it is measured.

python bench/instant_model_server.py PORT
"""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from affect_contract import tfserving
from affect_contract.labels import LABELS
from affect_contract.models import fused
from affect_contract.preprocess import SHAPE
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import IMAGES_INPUT, SERVING_SIGNATURE

MODEL = fused("mobilenet_v2")


def prediction() -> pb.PredictResponse:
    """Build the constant answer, for one picture."""
    response = pb.PredictResponse(model_spec=pb.ModelSpec(name=MODEL.name))
    response.model_spec.version.value = 1
    for output in MODEL.outputs:
        sides = (1, *output.shape)
        values = [0.25] if output.is_scalar else [1 / len(LABELS)] * len(LABELS)
        tensor = pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape(*sides), float_val=values)
        response.outputs[output.name].CopyFrom(tensor)
    return response


def metadata() -> pb.GetModelMetadataResponse:
    """Build the model's metadata with the signature that the contract requires."""
    signature = pb.SignatureDef()
    signature.inputs[IMAGES_INPUT].CopyFrom(pb.TensorInfo(dtype=pb.DT_UINT8, tensor_shape=shape(-1, *SHAPE)))
    for output in MODEL.outputs:
        tensor = pb.TensorInfo(dtype=pb.DT_FLOAT, tensor_shape=shape(-1, *output.shape))
        signature.outputs[output.name].CopyFrom(tensor)
    response = pb.GetModelMetadataResponse(model_spec=pb.ModelSpec(name=MODEL.name))
    response.model_spec.version.value = 1
    response.metadata["signature_def"].Pack(pb.SignatureDefMap(signature_def={SERVING_SIGNATURE: signature}))
    return response


def shape(*sides: int) -> pb.TensorShapeProto:
    """Build a tensor shape with the given sides."""
    return pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=side) for side in sides])


class Handlers(grpc.GenericRpcHandler):
    """Handlers of the three methods, which parse as little of a request as possible."""

    def __init__(self) -> None:
        self._prediction = prediction().SerializeToString()
        self._metadata = metadata().SerializeToString()
        status = pb.ModelVersionStatus(version=1, state=pb.ModelVersionStatus.AVAILABLE)
        self._status = pb.GetModelStatusResponse(model_version_status=[status]).SerializeToString()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method; messages are passed as bytes."""
        handlers = {
            tfserving.PREDICT.path: self._predict,
            tfserving.GET_MODEL_STATUS.path: self._get_status,
            tfserving.GET_MODEL_METADATA.path: self._get_metadata,
        }
        handler = handlers.get(details.method)
        return grpc.unary_unary_rpc_method_handler(handler) if handler else None

    async def _predict(self, _request: bytes, _context: Any) -> bytes:
        return self._prediction

    async def _get_status(self, request: bytes, context: Any) -> bytes:
        if pb.GetModelStatusRequest.FromString(request).model_spec.name != MODEL.name:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return self._status

    async def _get_metadata(self, request: bytes, context: Any) -> bytes:
        if pb.GetModelMetadataRequest.FromString(request).model_spec.version_label not in ("", "stable"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such label")
        return self._metadata


async def main() -> None:
    """Serve until the process is killed."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
