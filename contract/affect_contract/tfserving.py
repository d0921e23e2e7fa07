"""Calls of TensorFlow Serving that ask what it serves, for whoever opens a channel to it; no transport is imported."""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

NOT_SERVED: Final = "NOT_FOUND"
"""The gRPC status of a model that the server does not have."""
NO_SUCH_LABEL: Final = ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
"""The gRPC statuses of a label that no version carries, or none that can answer."""

_SIGNATURES: Final = "signature_def"
"""The metadata field that holds a model's signatures."""
_GONE_STATES: Final = (pb.ModelVersionStatus.UNLOADING, pb.ModelVersionStatus.END)
_LONGEST_REASON: Final = 300


def model_spec(name: str, *, version: int | None = None, label: str | None = None) -> pb.ModelSpec:
    """How a request names a model and its version; without either choice the server takes the latest."""
    spec = pb.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label
    return spec


def status_request(name: str) -> pb.GetModelStatusRequest:
    """The request for the states of a model's versions; a label in it would be ignored."""
    return pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=name))


def present(response: pb.GetModelStatusResponse) -> list[pb.ModelVersionStatus]:
    """The versions in a status response, ascending.

    One that was unloaded stays listed by the server; it is of interest only where it failed.
    """
    statuses = sorted(response.model_version_status, key=lambda status: status.version)
    return [one for one in statuses if one.state not in _GONE_STATES or one.status.error_code]


def state_name(status: pb.ModelVersionStatus) -> str:
    """The state as the server's documentation names it."""
    return pb.ModelVersionStatus.State.Name(status.state)


def load_problem(name: str, status: pb.ModelVersionStatus) -> str:
    """Why a version does not load, as a sentence; empty where nothing is known to be wrong."""
    if not status.status.error_code:
        return ""
    return f"{name} version {status.version} does not load: {status.status.error_message[:_LONGEST_REASON]}"


def metadata_request(spec: pb.ModelSpec) -> pb.GetModelMetadataRequest:
    """The request for a version's signatures, which also tells the version that a label is on."""
    return pb.GetModelMetadataRequest(model_spec=spec, metadata_field=[_SIGNATURES])


def signatures(response: pb.GetModelMetadataResponse) -> Mapping[str, pb.SignatureDef]:
    """The signatures in a metadata response, by name; none where it has none that can be read."""
    try:
        return pb.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value).signature_def
    except DecodeError:
        return {}
