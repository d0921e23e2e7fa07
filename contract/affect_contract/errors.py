"""The errors of predictions, in one table that the HTTP and gRPC servers and the clients read."""

from enum import StrEnum
from typing import ClassVar, Final, NamedTuple


class ErrorCode(StrEnum):
    """The ``code`` of a problem document, and of the gRPC trailer ``affect-code``."""

    INVALID_IMAGE = "invalid_image"
    INVALID_REQUEST = "invalid_request"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNAUTHORIZED = "unauthorized"
    UNKNOWN_MODEL = "unknown_model"
    OVERLOADED = "overloaded"
    MODEL_NOT_READY = "model_not_ready"
    BACKEND_ERROR = "backend_error"
    INTERNAL = "internal"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"


class Fault(NamedTuple):
    """The statuses that one code has over HTTP and gRPC."""

    http: int
    grpc: str | None
    """The name of a ``grpc.StatusCode``, since this module imports no transport; None for a code of HTTP alone."""
    retryable: bool = False
    """Whether the same request may succeed a moment later."""


FAULTS: Final = {
    ErrorCode.INVALID_IMAGE: Fault(400, "INVALID_ARGUMENT"),
    ErrorCode.INVALID_REQUEST: Fault(422, "INVALID_ARGUMENT"),
    ErrorCode.TOO_LARGE: Fault(413, "INVALID_ARGUMENT"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Fault(415, "INVALID_ARGUMENT"),
    ErrorCode.UNAUTHORIZED: Fault(401, "UNAUTHENTICATED"),
    ErrorCode.UNKNOWN_MODEL: Fault(404, "NOT_FOUND"),
    ErrorCode.OVERLOADED: Fault(429, "RESOURCE_EXHAUSTED", retryable=True),
    ErrorCode.MODEL_NOT_READY: Fault(503, "UNAVAILABLE", retryable=True),
    ErrorCode.BACKEND_ERROR: Fault(502, "INTERNAL"),
    ErrorCode.INTERNAL: Fault(500, "INTERNAL"),
    ErrorCode.DEADLINE_EXCEEDED: Fault(504, "DEADLINE_EXCEEDED"),
    ErrorCode.NOT_FOUND: Fault(404, None),
    ErrorCode.METHOD_NOT_ALLOWED: Fault(405, None),
    ErrorCode.REQUEST_TIMEOUT: Fault(408, None),
}


class AffectError(Exception):
    """The base of all errors that the gateway and the clients raise on purpose.

    Args:
        detail: one sentence for the caller that says what is wrong and what to do about it.
        request_id: the id of the request, once it is known.
        retry_after_s: seconds to wait before the same request is worth sending again.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    by_code: ClassVar[dict[ErrorCode, type["AffectError"]]] = {}

    def __init_subclass__(cls) -> None:
        AffectError.by_code[cls.code] = cls

    def __init__(self, detail: str, *, request_id: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class InvalidImage(AffectError):
    """The bytes are not those of a still JPEG, PNG or WebP picture that can be decoded."""

    code = ErrorCode.INVALID_IMAGE


class InvalidRequest(AffectError):
    """A parameter, a part of the form or the JSON around the picture is wrong."""

    code = ErrorCode.INVALID_REQUEST


class TooLarge(AffectError):
    """The request has more bytes, pixels or pictures than the gateway accepts."""

    code = ErrorCode.TOO_LARGE


class UnsupportedMediaType(AffectError):
    """The declared content type is none of those in which a picture can be sent."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class Unauthorized(AffectError):
    """The request has no key, or one that is not accepted."""

    code = ErrorCode.UNAUTHORIZED


class UnknownModel(AffectError):
    """The backbone, version or label asked for is not served."""

    code = ErrorCode.UNKNOWN_MODEL


class Overloaded(AffectError):
    """There are more requests at once than can be answered in time."""

    code = ErrorCode.OVERLOADED


class ModelNotReady(AffectError):
    """The model exists but cannot answer yet, or no longer."""

    code = ErrorCode.MODEL_NOT_READY


class BackendError(AffectError):
    """The model runtime failed, or answered something that cannot be used."""

    code = ErrorCode.BACKEND_ERROR


class Internal(AffectError):
    """The gateway itself has a defect."""

    code = ErrorCode.INTERNAL


class DeadlineExceeded(AffectError):
    """The time that the caller allowed has run out."""

    code = ErrorCode.DEADLINE_EXCEEDED


class NotFound(AffectError):
    """The gateway has no such route."""

    code = ErrorCode.NOT_FOUND


class MethodNotAllowed(AffectError):
    """The route exists, but not for this method."""

    code = ErrorCode.METHOD_NOT_ALLOWED


class RequestTimeout(AffectError):
    """The body of the request arrived too slowly."""

    code = ErrorCode.REQUEST_TIMEOUT
