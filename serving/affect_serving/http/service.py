"""The HTTP API: its routes, their documentation in OpenAPI, and the layers that every request passes."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final, Protocol

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from affect_contract.errors import FAULTS, AffectError, ErrorCode, Internal, MethodNotAllowed, NotFound
from affect_contract.headers import REQUEST_ID_HEADER, TIMEOUT_HEADER
from affect_contract.schemas import BatchPrediction, EncodedPicture, ModelList, Prediction, Problem, Readiness
from affect_serving.core.drain import NOT_READY
from affect_serving.core.errors import INTERNAL_DETAIL
from affect_serving.core.predictor import Predictor
from affect_serving.core.request_services import RequestServices
from affect_serving.http.errors import CODE_KEY, PROBLEM_TYPE, problem_response
from affect_serving.http.gate import Handler, HttpGate, admitted
from affect_serving.http.middleware import REQUEST_ID_KEY, RequestMiddleware
from affect_serving.http.pages import add_pages
from affect_serving.http.picture_bodies import (
    BATCH_PATH,
    FORM_TYPE,
    JSON_TYPE,
    PICTURE_PART,
    PICTURE_PATH,
    PICTURES_PART,
    RAW_TYPES,
    one_picture,
    several_pictures,
)
from affect_serving.http.query_options import parameters, prediction_query
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.trace_context import TRACEPARENT, TRACESTATE

_DESCRIPTION: Final = """
Send a picture of a face, get its expression (eight classes of AffectNet), valence and arousal.

The whole picture is read: crop it to the face first. Errors are problem documents (RFC 9457) with a `code`.
"""

_PREDICTION_ERRORS: Final = (
    ErrorCode.INVALID_IMAGE,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.UNKNOWN_MODEL,
    ErrorCode.OVERLOADED,
    ErrorCode.MODEL_NOT_READY,
    ErrorCode.BACKEND_ERROR,
    ErrorCode.INTERNAL,
    ErrorCode.DEADLINE_EXCEEDED,
)

_BYTES: Final = {"type": "string", "format": "binary"}


class HttpApp(Protocol):
    """An ASGI application that can refuse a request without being called."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, whatever its protocol."""

    def refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that can be refused at once, None if it is to be served as usual."""


class _CorsApp(CORSMiddleware):
    """Serves every request by a call, since pages of other origins cannot read a response without its CORS headers."""

    def refusal(self, _: Scope) -> None:
        """Refuse no request at once; see `HttpApp.refusal`."""


def create_http_app(settings: Settings, predictor: Predictor, metrics: Metrics, services: RequestServices) -> HttpApp:
    """Create the ASGI application: the middleware, around the gate, around the routes, which call the predictor."""
    app = FastAPI(
        title="Affect", version=version("affect-serving"), description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    _add_error_handlers(app)
    predictions = _add_prediction_routes(app, settings, predictor)
    _add_status_routes(app, predictor, metrics, services)
    add_pages(app)
    gate = HttpGate(app, predictions, settings, metrics, services)
    app_with_middleware = RequestMiddleware(gate, metrics, services, tls=settings.tls_cert is not None)
    # CORS is outermost, so that pages of other origins can read refusals too.
    return _with_cors(app_with_middleware, settings) if settings.cors_origins else app_with_middleware


def _with_cors(app: ASGIApp, settings: Settings) -> HttpApp:
    return _CorsApp(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID_HEADER, TIMEOUT_HEADER, TRACEPARENT, TRACESTATE],
        expose_headers=[REQUEST_ID_HEADER, "Retry-After"],
    )


def _add_prediction_routes(app: FastAPI, settings: Settings, predictor: Predictor) -> dict[str, Handler]:
    """Declare the prediction routes, and return their handlers by path: the gate calls them directly."""

    @app.post(
        PICTURE_PATH,
        operation_id="predict",
        summary="Read one picture",
        response_model=Prediction,
        responses=_problems(_PREDICTION_ERRORS),
        openapi_extra=_one_picture_body(),
    )
    async def predict(request: Request) -> Response:
        content_type, body, ticket = admitted(request)
        query = prediction_query(request, ticket.deadline)
        picture = await one_picture(content_type, body)
        await ticket.begin()
        return _json(await predictor.predict(picture, query))

    @app.post(
        BATCH_PATH,
        operation_id="predict_batch",
        summary="Read several pictures",
        response_model=BatchPrediction,
        responses=_problems(_PREDICTION_ERRORS),
        openapi_extra=_several_pictures_body(),
    )
    async def predict_batch(request: Request) -> Response:
        content_type, body, ticket = admitted(request)
        query = prediction_query(request, ticket.deadline)
        pictures = await several_pictures(content_type, body, settings.max_batch_images)
        await ticket.begin(len(pictures))
        return _json(BatchPrediction(results=await predictor.predict_batch(pictures, query)))

    return {PICTURE_PATH: predict, BATCH_PATH: predict_batch}


def _add_status_routes(app: FastAPI, predictor: Predictor, metrics: Metrics, services: RequestServices) -> None:
    @app.get(
        "/models", operation_id="models", summary="What is served", responses=_problems([ErrorCode.MODEL_NOT_READY])
    )
    async def models() -> ModelList:
        return await predictor.models()

    @app.get("/livez", operation_id="livez", summary="Whether the process answers")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether every backbone can answer",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Some backbones cannot answer yet."}},
    )
    async def readyz() -> Response:
        readiness = NOT_READY if services.drain.begun else await predictor.readiness()
        return _json(readiness, 503 if readiness.waiting_for else 200)

    @app.get("/metrics", operation_id="metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_error_handlers(app: FastAPI) -> None:
    def respond(request: Request, error: AffectError) -> Response:
        request.scope[CODE_KEY] = error.code
        return problem_response(error, request.scope[REQUEST_ID_KEY])

    @app.exception_handler(AffectError)
    async def affect_error(request: Request, error: AffectError) -> Response:
        return respond(request, error)

    @app.exception_handler(Exception)
    async def unforeseen_error(request: Request, _: Exception) -> Response:
        return respond(request, Internal(INTERNAL_DETAIL))

    @app.exception_handler(HTTPException)
    async def router_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == FAULTS[ErrorCode.METHOD_NOT_ALLOWED].http:
            response = respond(request, MethodNotAllowed(f"{path} does not take {request.method}: see /docs"))
            response.headers.update(error.headers or {})
            return response
        return respond(request, NotFound(f"there is no {path}: see /docs for what there is"))


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type=JSON_TYPE)


def _one_picture_body() -> dict[str, Any]:
    form = {"type": "object", "required": [PICTURE_PART], "properties": {PICTURE_PART: _BYTES}}
    raw = {media_type: {"schema": _BYTES} for media_type in RAW_TYPES}
    return _body(
        {**raw, FORM_TYPE: {"schema": form}, JSON_TYPE: {"schema": EncodedPicture.model_json_schema()}},
    )


def _several_pictures_body() -> dict[str, Any]:
    pictures = {"type": "array", "items": _BYTES}
    form = {"type": "object", "required": [PICTURES_PART], "properties": {PICTURES_PART: pictures}}
    return _body({FORM_TYPE: {"schema": form}})


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": parameters(), "requestBody": {"required": True, "content": content}}


def _problems(codes: Sequence[ErrorCode]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI documentation of a route's errors, by HTTP status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(FAULTS[code].http, []).append(code)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": ", ".join(names), "model": Problem, "content": {PROBLEM_TYPE: {"schema": schema}}}
        for status, names in by_status.items()
    }
