"""Build requests of the HTTP API and parse the responses; the clients only send them."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx
import pydantic

from affect_client.errors import ServiceUnreachable
from affect_client.http.deadline import SecondsLeft
from affect_client.loopback import is_loopback
from affect_client.options import bearer_authorization
from affect_client.predict_many import Outcome
from affect_contract.errors import AffectError, DeadlineExceeded, InvalidRequest
from affect_contract.headers import LONGEST_TIMEOUT_MS, REQUEST_ID_HEADER, TIMEOUT_HEADER
from affect_contract.schemas import BatchPrediction, FailedPicture, ModelList, Prediction, Problem, Readiness

GRACE_S: Final = 0.05
"""Added to asyncio's limit on the whole call, so that httpx's own limits, which name the late phase, expire first."""
_PHASES: Final = ("pool", "connect", "write", "read")
# The caller bounds the requests in flight. An idle connection is closed before the gateway closes it, which is after
# 5 seconds: a request sent meanwhile would be lost.
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=4.0)
_UNDECLARED: Final = "application/octet-stream"

Answer = TypeVar("Answer")
Document = TypeVar("Document", bound=pydantic.BaseModel)


@dataclass(frozen=True, slots=True)
class HttpCall(Generic[Answer]):
    """One request, and the function that parses its response."""

    request: Mapping[str, Any]
    """Keyword arguments of httpx's ``request``, except for the time limit."""
    read: Callable[[httpx.Response], Answer]
    """Raises the gateway's error as an `AffectError`, and `ServiceUnreachable` for a response of something else."""


def predict(image: bytes, backbone: str | None, version: int | None, label: str | None) -> HttpCall[Prediction]:
    """Build ``POST /predict``; the body has no declared type, since the gateway detects it by the bytes."""
    request = {"method": "POST", "url": "/predict", "content": image}
    return HttpCall(request | _query(backbone, version, label), lambda response: _parse_body(response, Prediction))


def predict_batch(
    images: Iterable[bytes], backbone: str | None, version: int | None, label: str | None
) -> HttpCall[list[Outcome]]:
    """Build ``POST /predict/batch`` with a part for each picture."""
    parts = [("images", ("picture", image, _UNDECLARED)) for image in images]
    request = {"method": "POST", "url": "/predict/batch", "files": parts}
    return HttpCall(request | _query(backbone, version, label), lambda response: _outcomes(response, len(parts)))


def models() -> HttpCall[ModelList]:
    """Build ``GET /models``, which lists the models served."""
    return HttpCall({"method": "GET", "url": "/models"}, lambda response: _parse_body(response, ModelList))


def ready() -> HttpCall[Readiness]:
    """Build ``GET /readyz``, whose 503 is an answer too: it lists the backbones that cannot answer yet."""
    return HttpCall(
        {"method": "GET", "url": "/readyz"},
        lambda response: _parse_body(response, Readiness, httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE),
    )


def deadline_arguments(left_s: Callable[[], float]) -> dict[str, Any]:
    """Return the keyword arguments of httpx's ``request`` that limit it to the seconds left, and send them along."""
    return {
        "extensions": {"timeout": _TimeLeft(left_s)},
        "headers": {TIMEOUT_HEADER: str(min(max(1, round(left_s() * 1000)), LONGEST_TIMEOUT_MS))},
    }


class _TimeLeft(Mapping[str, float]):
    """The time limits of httpx's phases (pool, connect, write, read): each gets what is left when it begins.

    Plain numbers would start anew in every phase, so that the call could take several times as long.
    """

    def __init__(self, left_s: Callable[[], float]) -> None:
        self._left_s = left_s

    def __getitem__(self, step: str) -> float:
        return SecondsLeft(self._left_s())

    def __iter__(self) -> Iterator[str]:
        return iter(_PHASES)

    def __len__(self) -> int:
        return len(_PHASES)


def client_arguments(base_url: str, api_key: str | None, root_certificates: bytes | None) -> dict[str, Any]:
    """Return the keyword arguments of httpx's clients for one gateway.

    Raises:
        ServiceUnreachable: ``base_url`` is not an HTTP URL.
        ValueError: certificates are given for a URL without TLS, or are not PEM.
    """
    # A proxy named by the environment could not reach this machine's loopback addresses.
    trust_env = not is_loopback(_host(base_url))
    return {
        "base_url": base_url.rstrip("/"),
        "headers": {"Authorization": bearer_authorization(api_key)} if api_key else {},
        "limits": _LIMITS,
        "trust_env": trust_env,
        "verify": _verify(base_url, root_certificates, trust_env=trust_env),
    }


@contextmanager
def translated_errors(base_url: httpx.URL, timeout_s: float) -> Iterator[None]:
    """Translate httpx's exceptions within the block into errors of this package.

    Raises:
        DeadlineExceeded: the connection stands, but no answer came in time.
        ServiceUnreachable: there is no connection, or it broke.
    """
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise _unreachable(base_url, f"no connection within {timeout_s:g} s", never_connected=True) from exc
    except (httpx.TimeoutException, TimeoutError) as exc:
        raise DeadlineExceeded(
            f"{base_url} did not answer within {timeout_s:g} s: allow more time, or ask for less at once"
        ) from exc
    except httpx.ConnectError as exc:
        raise _unreachable(base_url, str(exc) or type(exc).__name__, never_connected=True) from exc
    except httpx.RequestError as exc:
        raise _unreachable(base_url, str(exc) or type(exc).__name__) from exc


def _verify(base_url: str, root_certificates: bytes | None, *, trust_env: bool) -> ssl.SSLContext:
    if root_certificates is None:
        return httpx.create_ssl_context(trust_env=trust_env)
    if not base_url.lower().startswith("https://"):
        raise ValueError(f"root_certificates are for https://, and {base_url} is without TLS")
    try:
        return ssl.create_default_context(cadata=root_certificates.decode("ascii"))
    except (UnicodeDecodeError, ssl.SSLError) as exc:
        raise ValueError(f"root_certificates are not PEM: {exc}") from exc


def _unreachable(base_url: httpx.URL, reason: str, *, never_connected: bool = False) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"no gateway answers at {base_url} ({reason}): start one with affect-serve, or check the URL",
        never_connected=never_connected,
    )


def _host(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise _not_a_url(base_url) from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise _not_a_url(base_url)
    return url.host


def _not_a_url(text: str) -> ServiceUnreachable:
    return ServiceUnreachable(f"{text!r} is not the URL of a gateway: give one like http://127.0.0.1:8080")


def _query(backbone: str | None, version: int | None, label: str | None) -> dict[str, Any]:
    choice = {"backbone": backbone, "version": version, "label": label}
    params = httpx.QueryParams({name: value for name, value in choice.items() if value is not None})
    try:
        str(params)
    except UnicodeEncodeError as exc:
        raise InvalidRequest(f"no request can hold the backbone or label given: {exc}") from exc
    return {"params": params}


def _parse_body(response: httpx.Response, shape: type[Document], *statuses: int) -> Document:
    if response.status_code not in (statuses or (httpx.codes.OK,)):
        raise _reported_error(response)
    try:
        return shape.model_validate_json(response.content)
    except pydantic.ValidationError as exc:
        raise _reported_error(response) from exc


def _outcomes(response: httpx.Response, sent: int) -> list[Outcome]:
    results = _parse_body(response, BatchPrediction).results
    if len(results) != sent:
        raise _not_a_gateway(response)
    request_id = response.headers.get(REQUEST_ID_HEADER)
    return [
        AffectError.by_code[result.error.code](result.error.detail, request_id=request_id)
        if isinstance(result, FailedPicture)
        else result
        for result in results
    ]


def _reported_error(response: httpx.Response) -> AffectError | ServiceUnreachable:
    """Return the error that the response reports, or `ServiceUnreachable` if no gateway wrote it."""
    try:
        problem = Problem.model_validate_json(response.content)
    except pydantic.ValidationError:
        return _not_a_gateway(response)
    wait = response.headers.get("Retry-After", "")
    return AffectError.by_code[problem.code](
        problem.detail, request_id=problem.request_id, retry_after_s=float(wait) if wait.isdecimal() else None
    )


def _not_a_gateway(response: httpx.Response) -> ServiceUnreachable:
    kind = response.headers.get("Content-Type", "no content type")
    return ServiceUnreachable(
        f"{response.url} answered {response.status_code} with {kind}, not as an Affect gateway does: check the URL"
    )
