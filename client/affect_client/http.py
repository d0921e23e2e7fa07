"""Clients of the gateway's HTTP API, one that blocks and one for asyncio; they differ in nothing else."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import pydantic

from affect_client.errors import ServiceUnreachable
from affect_contract.errors import AffectError, BackendError, ErrorCode
from affect_contract.schemas import BatchPrediction, FailedPicture, ModelList, Prediction, Problem, Readiness

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S: Final = 10.0

_TIMEOUT_HEADER: Final = "Affect-Timeout-Ms"
_UNDECLARED: Final = "application/octet-stream"

Body = TypeVar("Body", bound=pydantic.BaseModel)
Result = Prediction | AffectError


class _Wire:
    """How calls are put on the wire and answers read off it."""

    def __init__(self, base_url: str, timeout_s: float, api_key: str | None) -> None:
        self.base_url = base_url.rstrip("/")
        self.options: dict[str, Any] = {
            "base_url": self.base_url,
            "timeout": timeout_s,
            "headers": {
                _TIMEOUT_HEADER: str(max(1, round(timeout_s * 1000))),
                **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            },
        }

    def predict(self, image: bytes, choice: Mapping[str, Any]) -> dict[str, Any]:
        # The gateway finds the format by the bytes; a form part may leave it undeclared.
        return _post("/predict", [("image", image)], choice)

    def predict_batch(self, images: Iterable[bytes], choice: Mapping[str, Any]) -> dict[str, Any]:
        return _post("/predict/batch", [("images", image) for image in images], choice)

    def read(self, response: httpx.Response, shape: type[Body], *, also: int | None = None) -> Body:
        """The body of an answer.

        Raises:
            AffectError: the gateway's own, or a `BackendError` for an answer that is none of its.
        """
        if response.status_code not in (httpx.codes.OK, also):
            raise self._problem(response)
        try:
            return shape.model_validate_json(response.content)
        except pydantic.ValidationError as exc:
            raise self._foreign(response) from exc

    def unreachable(self, exc: httpx.TransportError) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"no gateway answers at {self.base_url} ({str(exc) or type(exc).__name__}): start one with affect-serve, "
            "or check the URL"
        )

    def _problem(self, response: httpx.Response) -> AffectError:
        try:
            problem = Problem.model_validate_json(response.content)
        except pydantic.ValidationError:
            return self._foreign(response)
        wait = response.headers.get("Retry-After", "")
        return AffectError.by_code[problem.code](
            problem.detail, request_id=problem.request_id, retry_after_s=float(wait) if wait.isdecimal() else None
        )

    def _foreign(self, response: httpx.Response) -> BackendError:
        kind = response.headers.get("Content-Type", "no content type")
        return BackendError(
            f"{response.url} answered {response.status_code} with {kind}, which no Affect gateway does: check the URL"
        )


def _post(path: str, parts: list[tuple[str, bytes]], choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": path,
        "params": {name: value for name, value in choice.items() if value is not None},
        "files": [(name, (name, data, _UNDECLARED)) for name, data in parts],
    }


def _results(batch: BatchPrediction) -> list[Result]:
    return [
        AffectError.by_code[ErrorCode(result.error.code)](result.error.detail)
        if isinstance(result, FailedPicture)
        else result
        for result in batch.results
    ]


class Client:
    """A blocking client; use it as a context manager.

    Args:
        base_url: where the gateway is.
        timeout_s: seconds that one call may take; the gateway is told.
        api_key: sent as a bearer token.
        transport: an httpx transport in place of the network.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._wire = _Wire(base_url, timeout_s, api_key)
        self._http = httpx.Client(transport=transport, **self._wire.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(
        self, image: bytes, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """Read one picture.

        Args:
            image: the bytes of a JPEG, PNG or WebP file.
            backbone: the network to ask; the gateway's default, if not given.
            version: the version to ask.
            label: the label of the version to ask; not together with ``version``.

        Raises:
            AffectError: the gateway's error, as the class of its code.
            ServiceUnreachable: there is no gateway.
        """
        choice = {"backbone": backbone, "version": version, "label": label}
        return self._wire.read(self._send(self._wire.predict(image, choice)), Prediction)

    def predict_batch(
        self,
        images: Iterable[bytes],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Result]:
        """Read several pictures in one call: for each, in order, the answer or the error it met."""
        choice = {"backbone": backbone, "version": version, "label": label}
        return _results(self._wire.read(self._send(self._wire.predict_batch(images, choice)), BatchPrediction))

    def models(self) -> ModelList:
        """What the gateway serves."""
        return self._wire.read(self._send({"method": "GET", "url": "/models"}), ModelList)

    def ready(self) -> Readiness:
        """Which backbones cannot answer yet."""
        return self._wire.read(self._send({"method": "GET", "url": "/readyz"}), Readiness, also=503)

    def _send(self, request: dict[str, Any]) -> httpx.Response:
        try:
            return self._http.request(**request)
        except httpx.TransportError as exc:
            raise self._wire.unreachable(exc) from exc


class AsyncClient:
    """`Client` for asyncio; use it as an async context manager."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._wire = _Wire(base_url, timeout_s, api_key)
        self._http = httpx.AsyncClient(transport=transport, **self._wire.options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def predict(
        self, image: bytes, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `Client.predict`."""
        choice = {"backbone": backbone, "version": version, "label": label}
        return self._wire.read(await self._send(self._wire.predict(image, choice)), Prediction)

    async def predict_batch(
        self,
        images: Iterable[bytes],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Result]:
        """See `Client.predict_batch`."""
        choice = {"backbone": backbone, "version": version, "label": label}
        return _results(self._wire.read(await self._send(self._wire.predict_batch(images, choice)), BatchPrediction))

    async def models(self) -> ModelList:
        """See `Client.models`."""
        return self._wire.read(await self._send({"method": "GET", "url": "/models"}), ModelList)

    async def ready(self) -> Readiness:
        """See `Client.ready`."""
        return self._wire.read(await self._send({"method": "GET", "url": "/readyz"}), Readiness, also=503)

    async def _send(self, request: dict[str, Any]) -> httpx.Response:
        try:
            return await self._http.request(**request)
        except httpx.TransportError as exc:
            raise self._wire.unreachable(exc) from exc
