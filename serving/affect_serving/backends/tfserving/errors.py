"""What TensorFlow Serving's statuses mean to a caller: the one table of this backend."""

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
"""How long an overload or an absence is worth waiting out, in seconds."""


class Meaning(NamedTuple):
    """An error of the contract, and the sentence it is told in."""

    error: type[AffectError]
    detail: str


_AWAY: Final = Meaning(
    ModelNotReady, "TensorFlow Serving does not answer: try again in a moment, or see AFFECT_TFSERVING"
)
_CLOSED: Final = Meaning(
    ModelNotReady,
    "TensorFlow Serving closed the connection: try again in a moment; where that does not help, compare "
    "AFFECT_TFSERVING_TLS with what it speaks, and AFFECT_TFSERVING_CERT with whom it lets in",
)
_REFUSED: Final = Meaning(
    BackendError, "TensorFlow Serving refused the request: see the gateway's log, and run affect-models check"
)
_WITHDRAWN: Final = Meaning(
    ModelNotReady, "TensorFlow Serving has just withdrawn the version that was asked for: try again in a moment"
)
_FAILED: Final = Meaning(BackendError, "TensorFlow Serving failed: see its log and the gateway's")
_BUSY: Final = Meaning(Overloaded, "TensorFlow Serving has more to do than it can: send less at once, or add servers")
_OTHER_MAKE: Final = Meaning(
    BackendError,
    "what answers at AFFECT_TFSERVING is not TensorFlow Serving's gRPC port (8500 by default; its REST port is "
    "another): correct the setting",
)
_NO_TRUST: Final = Meaning(
    BackendError,
    "no trusted TLS connection to TensorFlow Serving: compare its certificate with AFFECT_TFSERVING_CA and "
    "AFFECT_TFSERVING_SERVER_NAME, and AFFECT_TFSERVING_TLS with what it speaks",
)
_NOT_ALLOWED: Final = Meaning(
    BackendError, "TensorFlow Serving does not let the gateway in: see AFFECT_TFSERVING_CERT and AFFECT_TFSERVING_KEY"
)
_TOO_LARGE: Final = Meaning(
    BackendError,
    "a message is larger than what stands before TensorFlow Serving takes: lower AFFECT_MAX_BATCH_IMAGES, or raise "
    "that limit",
)
_BATCH_TOO_LARGE: Final = Meaning(
    BackendError,
    "TensorFlow Serving's max_batch_size is smaller than this batch: lower AFFECT_MAX_BATCH_IMAGES, or raise it in "
    "batching.config",
)

MEANINGS: Final = {
    grpc.StatusCode.CANCELLED: _AWAY,
    grpc.StatusCode.UNKNOWN: _FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: _REFUSED,
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning(
        DeadlineExceeded, "TensorFlow Serving did not answer in the time left: give the request more"
    ),
    grpc.StatusCode.NOT_FOUND: _WITHDRAWN,
    grpc.StatusCode.ALREADY_EXISTS: _FAILED,
    grpc.StatusCode.PERMISSION_DENIED: _NOT_ALLOWED,
    grpc.StatusCode.UNAUTHENTICATED: _NOT_ALLOWED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _BUSY,
    grpc.StatusCode.FAILED_PRECONDITION: _WITHDRAWN,
    grpc.StatusCode.ABORTED: _FAILED,
    grpc.StatusCode.OUT_OF_RANGE: _FAILED,
    grpc.StatusCode.UNIMPLEMENTED: _OTHER_MAKE,
    grpc.StatusCode.INTERNAL: _FAILED,
    grpc.StatusCode.UNAVAILABLE: _AWAY,
    grpc.StatusCode.DATA_LOSS: _FAILED,
}
"""What a status means where its text says nothing more exact."""

_BY_TEXT: Final = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: (("larger than max", _TOO_LARGE),),
    grpc.StatusCode.INVALID_ARGUMENT: (
        ("larger than maximum input batch size", _BATCH_TOO_LARGE),
        ("servable version label", _WITHDRAWN),
    ),
    grpc.StatusCode.UNAVAILABLE: (
        ("queue", _BUSY),  # "The batch scheduling queue to which this task was submitted is full"
        ("handshake failed", _NO_TRUST),
        ("verification check failed", _NO_TRUST),
        ("failed parsing http/2", _OTHER_MAKE),
        ("http1", _OTHER_MAKE),
        ("socket closed", _CLOSED),
    ),
}
"""Texts that make a status mean something else, in lower case."""


def translated(error: grpc.aio.AioRpcError) -> AffectError:
    """The error of the contract that a failed call of TensorFlow Serving is."""
    meaning = _meaning(error)
    passing = meaning.error in (Overloaded, ModelNotReady)
    return meaning.error(meaning.detail, retry_after_s=_RETRY_S if passing else None)


def obstacle(error: grpc.aio.AioRpcError) -> AffectError:
    """What stands between a server that cannot be asked what it serves and every request."""
    error_of_request = translated(error)
    if isinstance(error_of_request, (BackendError, ModelNotReady)):
        return error_of_request
    return _AWAY.error(_AWAY.detail, retry_after_s=_RETRY_S)


def never_reached_a_server(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call failed before any server can have seen it."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and says_not_connected(error.details())


def _meaning(error: grpc.aio.AioRpcError) -> Meaning:
    text = (error.details() or "").lower()
    for part, meaning in _BY_TEXT.get(error.code(), ()):
        if part in text:
            return meaning
    return MEANINGS[error.code()]
