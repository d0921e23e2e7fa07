"""Errors as gRPC statuses and trailing metadata; the one place where gRPC learns of a fault."""

from http import HTTPStatus
from typing import Final

import grpc

from affect_contract.errors import FAULTS, AffectError
from affect_contract.headers import CODE_METADATA, REQUEST_ID_METADATA, RETRY_AFTER_METADATA

SERVICE_FAULTS: Final = frozenset(
    code for code, fault in FAULTS.items() if fault.http >= HTTPStatus.INTERNAL_SERVER_ERROR
)
"""The codes of errors that are the service's own fault."""


def status_of(error: AffectError) -> grpc.StatusCode:
    """Return the status that a call with this error ends with."""
    return grpc.StatusCode[FAULTS[error.code].grpc or grpc.StatusCode.INTERNAL.name]


def trailers_of(error: AffectError, request_id: str) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that states an error: its code, the request's id, and when to ask again."""
    trailers = [(REQUEST_ID_METADATA, request_id), (CODE_METADATA, error.code.value)]
    if error.retry_after_s is not None:
        trailers.append((RETRY_AFTER_METADATA, str(round(error.retry_after_s * 1000))))
    return tuple(trailers)
