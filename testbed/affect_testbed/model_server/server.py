"""TensorFlow Serving's two services, on the official servicers, over models that are told how to behave.

Statuses and texts are those of a real server (2.20); faults are set from outside.
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
    """What a version of a model can do."""

    @property
    def signatures(self) -> Signatures: ...

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]: ...


@dataclass
class ServedVersion:
    """A version in some state of its life."""

    state: int
    runnable: Runnable | None = None
    error_code: int = 0
    error: str = ""


@dataclass
class Served:
    """A model: its versions by number, and its labels."""

    versions: dict[int, ServedVersion] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class Faults:
    """How the server misbehaves."""

    delay_s: float = 0.0
    failure: tuple[grpc.StatusCode, str] | None = None
    mute: bool = False
    """Whether nothing is answered at all, status calls included."""
    answered_version: int | None = None
    as_tensor_content: bool = False
    spoil: Any = None
    """Called with each response before it is sent."""


class ModelServer(
    prediction_service_pb2_grpc.PredictionServiceServicer,  # type: ignore[misc]
    model_service_pb2_grpc.ModelServiceServicer,  # type: ignore[misc]
):
    """The services over a table of models."""

    def __init__(self, models: dict[str, Served], *, max_threads: int = 64, max_batch_size: int = 32) -> None:
        self.models = models
        self.faults = Faults()
        self.max_threads = max_threads
        self.max_batch_size = max_batch_size
        self.predictions: list[predict_pb2.PredictRequest] = []
        self.metadata: list[dict[str, Any]] = []
        """What came with each of them."""
        self.cancelled = 0
        self._under_way = 0
        self._lock = threading.Lock()

    def Predict(self, request, context):  # noqa: N802
        with self._a_thread(context):
            self.predictions.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self._misbehave(context)
            number, version = self._version(request.model_spec, context)
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            signature = request.model_spec.signature_name or "serving_default"
            self._check(version, signature, inputs, context)
            outputs = version.runnable.run(signature, inputs)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = self.faults.answered_version or number
            response.model_spec.signature_name = signature
            for name, values in outputs.items():
                response.outputs[name].CopyFrom(self._tensor(np.asarray(values)))
            if self.faults.spoil:
                self.faults.spoil(response)
            return response

    def GetModelStatus(self, request, context):  # noqa: N802
        self._be_mute(context)
        model = self.models.get(request.model_spec.name)
        if model is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, version in sorted(model.versions.items(), reverse=True):
            status = response.model_version_status.add(version=number, state=version.state)
            status.status.error_code = version.error_code
            status.status.error_message = version.error
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        self._be_mute(context)
        number, version = self._version(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=version.runnable.signatures)
        response.metadata["signature_def"].Pack(signatures)
        return response

    @contextmanager
    def _a_thread(self, context: Any) -> Iterator[None]:
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

    def _misbehave(self, context: Any) -> None:
        self._be_mute(context)
        ends = time.monotonic() + self.faults.delay_s
        while time.monotonic() < ends:
            if not context.is_active():
                with self._lock:
                    self.cancelled += 1
                context.abort(grpc.StatusCode.CANCELLED, "the caller is gone")
            time.sleep(0.005)
        if self.faults.failure:
            context.abort(*self.faults.failure)

    def _be_mute(self, context: Any) -> None:
        while self.faults.mute and context.is_active():
            time.sleep(0.01)

    def _version(self, spec, context):
        model = self.models.get(spec.name, Served())
        available = {number: one for number, one in model.versions.items() if one.state == AVAILABLE}
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
        if number not in available:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")
        return number, available[number]

    def _check(self, version: ServedVersion, signature: str, inputs: Mapping[str, NDArray[Any]], context: Any) -> None:
        assert version.runnable is not None
        if signature not in version.runnable.signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        declared = set(version.runnable.signatures[signature].inputs)
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
        """As a real server sends it: typed values, or bytes with --enable_serialization_as_tensor_content."""
        shape = tf.TensorShape(values.shape).as_proto()
        dtype = tf.as_dtype(values.dtype).as_datatype_enum
        if self.faults.as_tensor_content:
            return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=values.tobytes())
        return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, float_val=values.reshape(-1).tolist())


def serve(server: ModelServer, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> tuple[Any, int]:
    """Serve on loopback; gives the gRPC server, started, and its port."""
    # More threads than the limit, so that it is the limit that refuses.
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
