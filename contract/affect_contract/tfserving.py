"""The methods of TensorFlow Serving, and the sequences of calls that find out what it serves.

No transport is imported: the sequences are generators, and the caller who has a channel drives them. A generator yields
each call as a `Question` and is sent the response, or None if the call failed with a status that means that there is no
such thing; in the end it returns the result.
"""

from collections.abc import Generator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.versions import AVAILABLE, VERSION_LABELS, ModelState, VersionState

Result = TypeVar("Result")


class Method(NamedTuple):
    """A method of the server, by which a channel calls it."""

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
    """A call that a generator asks its driver to make."""

    method: Method
    request: Message
    absent_statuses: tuple[str, ...]
    """The gRPC statuses that mean that there is no such thing; every other status is a failure."""


Questions = Generator[Question, Any, Result]
"""A sequence of calls: a generator of questions that is sent their responses, and returns the result."""

_NOT_SERVED: Final = ("NOT_FOUND",)
"""The gRPC status for a model or a version that the server does not have."""
_NO_SUCH_LABEL: Final = ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
"""The gRPC statuses for a label that no version carries, or only one that cannot answer."""
_SIGNATURES: Final = "signature_def"
"""The metadata field that holds a model's signatures."""
_GONE_STATES: Final = (pb.ModelVersionStatus.UNLOADING, pb.ModelVersionStatus.END)
_LONGEST_REASON: Final = 300


def model_state(name: str) -> Questions[ModelState | None]:
    """Ask for the states and labels of a model's versions; the result is None if the server has no such model.

    The server also lists versions that it has unloaded; they are left out, unless they failed.
    """
    # The server would ignore a label in this request.
    request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=name))
    response = yield Question(GET_MODEL_STATUS, request, absent_statuses=_NOT_SERVED)
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
    """Ask for a version's signatures by name, empty if unreadable; the result is None if it has been unloaded."""
    response = yield _metadata_question(model_spec(name, version=version), absent_statuses=_NOT_SERVED)
    return None if response is None else _signatures(response)


def _labels(name: str) -> Questions[dict[str, int]]:
    """Ask for the version of each label, with a call by label, since no other call reveals it."""
    labels = {}
    for label in VERSION_LABELS:
        response = yield _metadata_question(model_spec(name, label=label), absent_statuses=_NO_SUCH_LABEL)
        if response is not None:
            labels[label] = response.model_spec.version.value
    return labels


def model_spec(name: str, *, version: int | None = None, label: str | None = None) -> pb.ModelSpec:
    """Return the message that names a model and its version; the server takes the latest if neither choice is given."""
    spec = pb.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label
    return spec


def _metadata_question(spec: pb.ModelSpec, *, absent_statuses: tuple[str, ...]) -> Question:
    """Return the call that asks for a version's signatures; its response also says which version a label is on."""
    request = pb.GetModelMetadataRequest(model_spec=spec, metadata_field=[_SIGNATURES])
    return Question(GET_MODEL_METADATA, request, absent_statuses)


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
