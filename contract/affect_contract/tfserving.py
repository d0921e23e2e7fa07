"""The calls of TensorFlow Serving, and the questions that find out what it serves.

No transport is imported. The questions are generators: each yields a `Question`, is sent the response, or None where
the call failed with a status that answers the question too, and returns what was asked for. Whoever has a channel
drives them.
"""

from collections.abc import Generator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.versions import AVAILABLE, VERSION_LABELS, ModelState, VersionState

Result = TypeVar("Result")


class Method(NamedTuple):
    """One method of the server, as a channel calls it."""

    path: str
    request: type[Message]
    response: type[Message]


PREDICT: Final = Method("/tensorflow.serving.PredictionService/Predict", pb.PredictRequest, pb.PredictResponse)
GET_MODEL_METADATA: Final = Method(
    "/tensorflow.serving.PredictionService/GetModelMetadata", pb.GetModelMetadataRequest, pb.GetModelMetadataResponse
)
GET_MODEL_STATUS: Final = Method(
    "/tensorflow.serving.ModelService/GetModelStatus", pb.GetModelStatusRequest, pb.GetModelStatusResponse
)


class Question(NamedTuple):
    """One call to make."""

    method: Method
    request: Message
    none: tuple[str, ...]
    """The gRPC statuses that mean that there is no such thing; every other one is a failure."""


Questions = Generator[Question, Any, Result]
"""Sent responses and None, it returns a result."""

_NOT_SERVED: Final = ("NOT_FOUND",)
"""The gRPC status of a model or a version that the server does not have."""
_NO_SUCH_LABEL: Final = ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
"""The gRPC statuses of a label that no version carries, or none that can answer."""
_SIGNATURES: Final = "signature_def"
"""The metadata field that holds a model's signatures."""
_GONE_STATES: Final = (pb.ModelVersionStatus.UNLOADING, pb.ModelVersionStatus.END)
_LONGEST_REASON: Final = 300


def model_state(name: str) -> Questions[ModelState | None]:
    """Ask for the states of a model's versions, and their labels; None where the server has no such model.

    A version that was unloaded stays listed by the server; it is of interest only where it failed.
    """
    # A label in this request would be ignored.
    request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=name))
    response = yield Question(GET_MODEL_STATUS, request, none=_NOT_SERVED)
    if response is None:
        return None
    statuses = sorted(response.model_version_status, key=lambda status: status.version)
    versions = {
        status.version: VersionState(_state_name(status), _load_problem(name, status))
        for status in statuses
        if status.state not in _GONE_STATES or status.status.error_code
    }
    answers = any(one.state == AVAILABLE for one in versions.values())
    return ModelState(versions, (yield from _labels(name)) if answers else {})


def version_signatures(name: str, version: int) -> Questions[Mapping[str, pb.SignatureDef] | None]:
    """Ask for a version's signatures by name, empty where none can be read; None where it has been unloaded."""
    response = yield _metadata_question(model_spec(name, version=version), none=_NOT_SERVED)
    return None if response is None else _signatures(response)


def _labels(name: str) -> Questions[dict[str, int]]:
    """Ask for the version of each label, by the only call that tells it: one that is made by label."""
    labels = {}
    for label in VERSION_LABELS:
        response = yield _metadata_question(model_spec(name, label=label), none=_NO_SUCH_LABEL)
        if response is not None:
            labels[label] = response.model_spec.version.value
    return labels


def model_spec(name: str, *, version: int | None = None, label: str | None = None) -> pb.ModelSpec:
    """How a request names a model and its version; without either choice the server takes the latest."""
    spec = pb.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label
    return spec


def _metadata_question(spec: pb.ModelSpec, *, none: tuple[str, ...]) -> Question:
    """The call that tells a version's signatures, and which version a label is on."""
    request = pb.GetModelMetadataRequest(model_spec=spec, metadata_field=[_SIGNATURES])
    return Question(GET_MODEL_METADATA, request, none)


def _state_name(status: pb.ModelVersionStatus) -> str:
    """Return the state as the server's documentation names it."""
    return pb.ModelVersionStatus.State.Name(status.state)


def _load_problem(name: str, status: pb.ModelVersionStatus) -> str:
    """Return why a version does not load, as a sentence; empty where nothing is known to be wrong."""
    if not status.status.error_code:
        return ""
    return f"{name} version {status.version} does not load: {status.status.error_message[:_LONGEST_REASON]}"


def _signatures(response: pb.GetModelMetadataResponse) -> Mapping[str, pb.SignatureDef]:
    try:
        return pb.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value).signature_def
    except DecodeError:
        return {}
