"""TensorFlow Serving's two gRPC services, on the official servicers, over a table of models and settable faults.

Statuses and texts are those of a real server (2.20).
"""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
LOADING = get_model_status_pb2.ModelVersionStatus.LOADING
END = get_model_status_pb2.ModelVersionStatus.END

Signatures = Mapping[str, meta_graph_pb2.SignatureDef]


class Runnable(Protocol):
    """A version of a model that can be called."""

    @property
    def signatures(self) -> Signatures:
        """The declared signatures, by name."""

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run one signature; inputs and outputs are arrays by name."""


@dataclass
class ServedVersion:
    """The state of one version, and the model itself while it is available."""

    state: int
    runnable: Runnable | None = None
    error_code: int = 0
    error: str = ""


@dataclass
class ModelEntry:
    """A model: its versions by number, and the version of each label."""

    versions: dict[int, ServedVersion] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class Faults:
    """How the server misbehaves; not at all by default."""

    delay_s: float = 0.0
    failure: tuple[grpc.StatusCode, str] | None = None
    mute: bool = False
    """Whether the server answers nothing at all, status calls included."""
    answered_version: int | None = None
    as_tensor_content: bool = False
    spoil: Any = None
    """Called with each response before it is sent, to alter it."""


class ModelServer(
    prediction_service_pb2_grpc.PredictionServiceServicer,  # type: ignore[misc]
    model_service_pb2_grpc.ModelServiceServicer,  # type: ignore[misc]
):
    """The prediction and model services over a table of models."""

    def __init__(self, models: dict[str, ModelEntry], *, max_threads: int = 64, max_batch_size: int = 32) -> None:
        self.models = models
        self.faults = Faults()
        self.max_threads = max_threads
        self.max_batch_size = max_batch_size
        self.predictions: list[predict_pb2.PredictRequest] = []
        self.metadata: list[dict[str, Any]] = []
        """The invocation metadata of each prediction."""
        self.cancelled = 0
        self._under_way = 0
        self._lock = threading.Lock()

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Run the version that the request selects."""
        with self._server_thread(context):
            self.predictions.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self._misbehave(context)
            number, runnable = self._runnable(request.model_spec, context)
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            signature = request.model_spec.signature_name or "serving_default"
            self._check(runnable, signature, inputs, context)
            outputs = runnable.run(signature, inputs)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = self.faults.answered_version or number
            response.model_spec.signature_name = signature
            for name, values in outputs.items():
                response.outputs[name].CopyFrom(self._tensor(np.asarray(values)))
            if self.faults.spoil:
                self.faults.spoil(response)
            return response

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """List the states of a model's versions, the highest version first."""
        self._hang_while_mute(context)
        model = self.models.get(request.model_spec.name)
        if model is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, version in sorted(model.versions.items(), reverse=True):
            status = response.model_version_status.add(version=number, state=version.state)
            status.status.error_code = version.error_code
            status.status.error_message = version.error
        return response

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of the version that the request selects."""
        self._hang_while_mute(context)
        number, runnable = self._runnable(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=runnable.signatures)
        response.metadata["signature_def"].Pack(signatures)
        return response

    @contextmanager
    def _server_thread(self, context: grpc.ServicerContext) -> Iterator[None]:
        with self._lock:
            full = self._under_way >= self.max_threads
            self._under_way += not full
        if full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _misbehave(self, context: grpc.ServicerContext) -> None:
        self._hang_while_mute(context)
        ends = time.monotonic() + self.faults.delay_s
        while time.monotonic() < ends:
            if not context.is_active():
                with self._lock:
                    self.cancelled += 1
                context.abort(grpc.StatusCode.CANCELLED, "the caller is gone")
            time.sleep(0.005)
        if self.faults.failure:
            context.abort(*self.faults.failure)

    def _hang_while_mute(self, context: grpc.ServicerContext) -> None:
        while self.faults.mute and context.is_active():
            time.sleep(0.01)

    def _runnable(self, spec: Any, context: grpc.ServicerContext) -> tuple[int, Runnable]:
        """Return the version that a model spec selects, with its number; abort the call if it is not available."""
        model = self.models.get(spec.name, ModelEntry())
        available = {
            number: version.runnable
            for number, version in model.versions.items()
            if version.state == AVAILABLE and version.runnable is not None
        }
        wanted = f"Latest({spec.name})"
        number = max(available, default=None)
        match spec.WhichOneof("version_choice"):
            case "version":
                number = spec.version.value
                wanted = f"Specific({spec.name}, {number})"
            case "version_label":
                number = model.labels.get(spec.version_label)
                if number is None:
                    context.abort(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"Unrecognized servable version label: {spec.version_label}",
                    )
                wanted = f"Specific({spec.name}, {number})"
        if number is None or number not in available:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")
        return number, available[number]

    def _check(
        self, runnable: Runnable, signature: str, inputs: Mapping[str, NDArray[Any]], context: grpc.ServicerContext
    ) -> None:
        if signature not in runnable.signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        declared = set(runnable.signatures[signature].inputs)
        if declared != set(inputs):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(declared)} Sent extra: "
                f"{set(inputs) - declared}. Missing but required: {declared - set(inputs)}.",
            )
        size = len(next(iter(inputs.values())))
        if size > self.max_batch_size:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Task size {size} is larger than maximum input batch size {self.max_batch_size}",
            )

    def _tensor(self, values: NDArray[Any]) -> tensor_pb2.TensorProto:
        """Encode an array as a real server does: typed, or as bytes with --enable_serialization_as_tensor_content."""
        shape = tf.TensorShape(values.shape).as_proto()
        dtype = tf.as_dtype(values.dtype).as_datatype_enum
        if self.faults.as_tensor_content:
            return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=values.tobytes())
        return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, float_val=values.reshape(-1).tolist())


def serve(server: ModelServer, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> tuple[Any, int]:
    """Start a gRPC server on loopback, and return it with its port."""
    # More threads than max_threads, so that calls above that limit are refused instead of queued.
    grpc_server = grpc.server(
        ThreadPoolExecutor(2 * server.max_threads + 16),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(server, grpc_server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(server, grpc_server)
    address = f"127.0.0.1:{port}"
    bound = grpc_server.add_secure_port(address, credentials) if credentials else grpc_server.add_insecure_port(address)
    grpc_server.start()
    return grpc_server, bound
