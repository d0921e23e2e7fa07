"""One table for every way a prediction can fail; no surface keeps a mapping of its own."""

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
    """How one code looks on each surface."""

    http: int
    grpc: str | None
    """A ``grpc.StatusCode`` name, so that this module imports no transport; None where only HTTP has it."""
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
    """Base of everything the gateway and the clients raise on purpose.

    Args:
        detail: one sentence for the caller: what was wrong and what to do.
        request_id: the request it belongs to, once that is known.
        retry_after_s: how long to wait before the same request is worth sending again, in seconds.
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
    """The bytes are no still JPEG, PNG or WebP picture that can be decoded."""

    code = ErrorCode.INVALID_IMAGE


class InvalidRequest(AffectError):
    """A parameter, a part or the JSON around the picture is wrong."""

    code = ErrorCode.INVALID_REQUEST


class TooLarge(AffectError):
    """More bytes, pixels or pictures than the gateway takes."""

    code = ErrorCode.TOO_LARGE


class UnsupportedMediaType(AffectError):
    """The declared content type is none that carries a picture here."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class Unauthorized(AffectError):
    """No key, or a key that is not accepted."""

    code = ErrorCode.UNAUTHORIZED


class UnknownModel(AffectError):
    """A backbone, version or label that is not served."""

    code = ErrorCode.UNKNOWN_MODEL


class Overloaded(AffectError):
    """More requests at once than can be answered in time."""

    code = ErrorCode.OVERLOADED


class ModelNotReady(AffectError):
    """The model exists and is not, or no longer, able to answer."""

    code = ErrorCode.MODEL_NOT_READY


class BackendError(AffectError):
    """The model runtime answered something that cannot be used."""

    code = ErrorCode.BACKEND_ERROR


class Internal(AffectError):
    """A defect of the gateway itself."""

    code = ErrorCode.INTERNAL


class DeadlineExceeded(AffectError):
    """The time the caller gave ran out."""

    code = ErrorCode.DEADLINE_EXCEEDED


class NotFound(AffectError):
    """No such route."""

    code = ErrorCode.NOT_FOUND


class MethodNotAllowed(AffectError):
    """The route exists, for another method."""

    code = ErrorCode.METHOD_NOT_ALLOWED


class RequestTimeout(AffectError):
    """The body came too slowly."""

    code = ErrorCode.REQUEST_TIMEOUT
