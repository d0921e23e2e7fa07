"""The blocking client and the asyncio client of the gateway's HTTP API, with the same methods."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from urllib.request import getproxies

import httpx

from affect_client.http import calls
from affect_client.http.calls import HttpCall
from affect_client.http.deadline import DeadlineTransport
from affect_client.interface import AsyncioClient, BlockingClient
from affect_client.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, validate_options
from affect_client.predict_many import Outcome, Picture, picture_bytes, picture_bytes_async
from affect_client.retry import with_retries, with_retries_async
from affect_contract.schemas import ModelList, Prediction, Readiness

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Answer = TypeVar("Answer")


class Client(BlockingClient):
    """A blocking HTTP client; use it as a context manager.

    Every method raises `ServiceUnreachable` if no gateway answers, and the gateway's own errors as the `AffectError`
    class of their code.

    Args:
        base_url: the HTTP URL of the gateway.
        timeout_s: seconds that a call may take with all its attempts; sent along, so that the gateway gives up too.
        retries: how often a call that failed for a transient reason is sent again.
        api_key: sent as a bearer token.
        root_certificates: PEM of the certificate authorities to trust; the public ones, if not given.
        transport: an httpx transport to use instead of the network.

    Raises:
        ServiceUnreachable: ``base_url`` is not the URL of a gateway.
        ValueError: an option is out of range, or certificates are given for ``http://``, which does not use them.

    Example:
        with Client("http://127.0.0.1:8080") as client:
            print(client.predict(Path("face.jpg")).expression)
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        root_certificates: bytes | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        validate_options(timeout_s, retries, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        options = calls.client_arguments(base_url, api_key, root_certificates)
        # With a transport given, httpx ignores the proxies of the environment; so ours is used only without them.
        if transport is None and not (options["trust_env"] and getproxies()):
            transport = DeadlineTransport(verify=options["verify"], limits=options["limits"])
        self._http = httpx.Client(transport=transport, **options)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        return self._send(calls.predict(picture_bytes(image), backbone, version, label))

    def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """Predict several pictures in one request; return the prediction or the error of each, in order."""
        pictures = [picture_bytes(image) for image in images]
        return self._send(calls.predict_batch(pictures, backbone, version, label))

    def models(self) -> ModelList:
        """Return the models that the gateway serves."""
        return self._send(calls.models())

    def ready(self) -> Readiness:
        """Return which backbones cannot answer yet."""
        return self._send(calls.ready())

    def _send(self, call: HttpCall[Answer]) -> Answer:
        return with_retries(lambda left_s: self._attempt(call, left_s), self._timeout_s, self._retries)

    def _attempt(self, call: HttpCall[Answer], left_s: Callable[[], float]) -> Answer:
        with calls.translated_errors(self._http.base_url, self._timeout_s):
            response = self._http.request(**call.request, **calls.deadline_arguments(left_s))
        return call.read(response)


class AsyncClient(AsyncioClient):
    """The asyncio counterpart of `Client`; use it as an async context manager."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        api_key: str | None = None,
        root_certificates: bytes | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        validate_options(timeout_s, retries, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._http = httpx.AsyncClient(
            transport=transport, **calls.client_arguments(base_url, api_key, root_certificates)
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""
        return await self._send(calls.predict(await picture_bytes_async(image), backbone, version, label))

    async def predict_batch(
        self,
        images: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> list[Outcome]:
        """See `Client.predict_batch`."""
        pictures = [await picture_bytes_async(image) for image in images]
        return await self._send(calls.predict_batch(pictures, backbone, version, label))

    async def models(self) -> ModelList:
        """See `Client.models`."""
        return await self._send(calls.models())

    async def ready(self) -> Readiness:
        """See `Client.ready`."""
        return await self._send(calls.ready())

    async def _send(self, call: HttpCall[Answer]) -> Answer:
        return await with_retries_async(lambda left_s: self._attempt(call, left_s), self._timeout_s, self._retries)

    async def _attempt(self, call: HttpCall[Answer], left_s: Callable[[], float]) -> Answer:
        with calls.translated_errors(self._http.base_url, self._timeout_s):
            async with asyncio.timeout(left_s() + calls.GRACE_S):
                response = await self._http.request(**call.request, **calls.deadline_arguments(left_s))
        return call.read(response)
