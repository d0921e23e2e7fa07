"""The errors of TensorFlow Serving as errors of the contract: the only table of this backend."""

from typing import Final, NamedTuple

import grpc

from affect_contract.connection_texts import says_not_connected
from affect_contract.errors import (
    AffectError,
    BackendError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
)

_RETRY_S: Final = 1.0
"""The time after which callers may retry when the server is overloaded or does not answer, in seconds."""


class Meaning(NamedTuple):
    """An error of the contract, and its message for the caller."""

    error: type[AffectError]
    detail: str


_UNREACHABLE: Final = Meaning(
    ModelNotReady, "TensorFlow Serving does not answer: try again in a moment, or see AFFECT_TFSERVING"
)
_CLOSED: Final = Meaning(
    ModelNotReady,
    "TensorFlow Serving closed the connection: try again in a moment; if that does not help, check that "
    "AFFECT_TFSERVING_TLS is as the server expects, and that it accepts the certificate of AFFECT_TFSERVING_CERT",
)
_REFUSED: Final = Meaning(
    BackendError, "TensorFlow Serving refused the request: see the gateway's log, and run affect-models check"
)
_WITHDRAWN: Final = Meaning(
    ModelNotReady, "TensorFlow Serving has just withdrawn the version that was asked for: try again in a moment"
)
_FAILED: Final = Meaning(BackendError, "TensorFlow Serving failed: see its log and the gateway's")
_OVERLOADED: Final = Meaning(Overloaded, "TensorFlow Serving is overloaded: send less at once, or add servers")
_NOT_TFSERVING: Final = Meaning(
    BackendError,
    "what answers at AFFECT_TFSERVING is not TensorFlow Serving's gRPC port (8500 by default; its REST port is "
    "another): correct the setting",
)
_UNTRUSTED: Final = Meaning(
    BackendError,
    "no trusted TLS connection to TensorFlow Serving: check its certificate against AFFECT_TFSERVING_CA and "
    "AFFECT_TFSERVING_SERVER_NAME, and that AFFECT_TFSERVING_TLS is as the server expects",
)
_NOT_ALLOWED: Final = Meaning(
    BackendError, "TensorFlow Serving does not let the gateway in: see AFFECT_TFSERVING_CERT and AFFECT_TFSERVING_KEY"
)
_TOO_LARGE: Final = Meaning(
    BackendError,
    "a message exceeds the size limit of a proxy in front of TensorFlow Serving: lower AFFECT_MAX_BATCH_IMAGES, or "
    "raise that limit",
)
_BATCH_TOO_LARGE: Final = Meaning(
    BackendError,
    "TensorFlow Serving's max_batch_size is smaller than this batch: lower AFFECT_MAX_BATCH_IMAGES, or raise it in "
    "batching.config",
)

MEANINGS: Final = {
    grpc.StatusCode.CANCELLED: _UNREACHABLE,
    grpc.StatusCode.UNKNOWN: _FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: _REFUSED,
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning(
        DeadlineExceeded, "TensorFlow Serving did not answer in the time left: give the request more"
    ),
    grpc.StatusCode.NOT_FOUND: _WITHDRAWN,
    grpc.StatusCode.ALREADY_EXISTS: _FAILED,
    grpc.StatusCode.PERMISSION_DENIED: _NOT_ALLOWED,
    grpc.StatusCode.UNAUTHENTICATED: _NOT_ALLOWED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _OVERLOADED,
    grpc.StatusCode.FAILED_PRECONDITION: _WITHDRAWN,
    grpc.StatusCode.ABORTED: _FAILED,
    grpc.StatusCode.OUT_OF_RANGE: _FAILED,
    grpc.StatusCode.UNIMPLEMENTED: _NOT_TFSERVING,
    grpc.StatusCode.INTERNAL: _FAILED,
    grpc.StatusCode.UNAVAILABLE: _UNREACHABLE,
    grpc.StatusCode.DATA_LOSS: _FAILED,
}
"""The meaning of each status, unless `_BY_TEXT` has a more exact one."""

_BY_TEXT: Final = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: (("larger than max", _TOO_LARGE),),
    grpc.StatusCode.INVALID_ARGUMENT: (
        ("larger than maximum input batch size", _BATCH_TOO_LARGE),
        ("servable version label", _WITHDRAWN),
    ),
    grpc.StatusCode.UNAVAILABLE: (
        ("queue", _OVERLOADED),  # "The batch scheduling queue to which this task was submitted is full"
        ("handshake failed", _UNTRUSTED),
        ("verification check failed", _UNTRUSTED),
        ("failed parsing http/2", _NOT_TFSERVING),
        ("http1", _NOT_TFSERVING),
        ("socket closed", _CLOSED),
    ),
}
"""Exceptions to `MEANINGS`: by status, parts of its text in lower case, each with the meaning that they indicate."""


def translated(error: grpc.aio.AioRpcError) -> AffectError:
    """Return the error of the contract for a failed call of TensorFlow Serving."""
    meaning = _meaning(error)
    is_transient = meaning.error in (Overloaded, ModelNotReady)
    return meaning.error(meaning.detail, retry_after_s=_RETRY_S if is_transient else None)


def unavailable_reason(error: grpc.aio.AioRpcError) -> AffectError:
    """Return the error with which all requests fail while the server cannot be polled.

    Args:
        error: the error of the failed poll. One that concerns only that poll, a timeout say, stands for a server that
            does not answer.
    """
    reason = translated(error)
    if isinstance(reason, (BackendError, ModelNotReady)):
        return reason
    return _UNREACHABLE.error(_UNREACHABLE.detail, retry_after_s=_RETRY_S)


def never_reached_a_server(error: grpc.aio.AioRpcError) -> bool:
    """Return whether a call failed before any server can have received it."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and says_not_connected(error.details())


def _meaning(error: grpc.aio.AioRpcError) -> Meaning:
    text = (error.details() or "").lower()
    for part, meaning in _BY_TEXT.get(error.code(), ()):
        if part in text:
            return meaning
    return MEANINGS[error.code()]
