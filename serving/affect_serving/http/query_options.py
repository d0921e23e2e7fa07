"""The query parameters and headers of a prediction request.

pydantic reads them directly: FastAPI's dependency resolution would take a tenth of a request's processor time.
"""

from typing import Annotated, Any, Final

import pydantic
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.requests import Request

from affect_contract.errors import InvalidRequest
from affect_contract.headers import LONGEST_TIMEOUT_MS, TIMEOUT_HEADER
from affect_serving.core.deadline import Deadline
from affect_serving.core.predictor import PredictionQuery, select_version
from affect_serving.http.middleware import REQUEST_ID_KEY


class QueryOptions(BaseModel):
    """The query of a prediction."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    backbone: str | None = None
    """The network that answers; the default is a setting of the gateway."""
    version: Annotated[int | None, Field(json_schema_extra={"minimum": 1})] = None
    """The version that answers; not together with a label."""
    label: str | None = None
    """The label of the version that answers; `stable` unless said."""


_TIMEOUT_MS: Final = TypeAdapter(
    Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT_MS, description="Milliseconds that the caller waits, a day at most.")]
)


def prediction_query(request: Request, deadline: Deadline) -> PredictionQuery:
    """Read the options of a prediction request.

    Raises:
        InvalidRequest: a query parameter is unknown or invalid.
    """
    options = _query_options(request)
    selector = select_version(options.version, options.label)
    return PredictionQuery(request.scope[REQUEST_ID_KEY], deadline, options.backbone, selector)


def deadline(given_ms: bytes | None, default_ms: int) -> Deadline:
    """Return the deadline of a request that arrives now.

    Args:
        given_ms: the value of the header ``Affect-Timeout-Ms``, in milliseconds; None where there is none.
        default_ms: the time of requests without that header, in milliseconds.

    Raises:
        InvalidRequest: the header is not a valid number of milliseconds.
    """
    if given_ms is None:
        return Deadline(default_ms / 1000)
    try:
        return Deadline(_TIMEOUT_MS.validate_python(given_ms.decode("latin-1")) / 1000)
    except pydantic.ValidationError as exc:
        raise InvalidRequest(f"header {TIMEOUT_HEADER}: {exc.errors(include_url=False)[0]['msg']}") from exc


def parameters() -> list[dict[str, Any]]:
    """Return the query parameters and the header as OpenAPI parameter objects."""
    query = [
        {"in": "query", "name": name, "required": False, "schema": schema, "description": schema["description"]}
        for name, schema in QueryOptions.model_json_schema()["properties"].items()
    ]
    schema = _TIMEOUT_MS.json_schema()
    header = {"in": "header", "name": TIMEOUT_HEADER, "required": False, "schema": schema}
    return [*query, header | {"description": schema["description"]}]


def _query_options(request: Request) -> QueryOptions:
    try:
        return QueryOptions.model_validate(dict(request.query_params))
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise InvalidRequest(f"query parameter {first['loc'][0]}: {first['msg']}") from exc
