"""Errors over HTTP: every error of the contract becomes an RFC 9457 problem document here, and nowhere else."""

import http
import math

from starlette.responses import Response

from affect_contract.errors import FAULTS, AffectError, ErrorCode
from affect_contract.schemas import Problem

PROBLEM_TYPE = "application/problem+json"
CODE_KEY = "affect.code"
"""The key in a request's ASGI scope for the code of its error, which metrics and the access log read."""


def problem_response(error: AffectError, request_id: str) -> Response:
    """Return the response for an error: its problem document, with the headers that clients and browsers need."""
    fault = FAULTS[error.code]
    problem = Problem(
        title=http.HTTPStatus(fault.http).phrase,
        status=fault.http,
        code=error.code,
        detail=error.detail,
        request_id=request_id,
    )
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if error.code is ErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.code is ErrorCode.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    return Response(problem.model_dump_json(), fault.http, headers, media_type=PROBLEM_TYPE)
