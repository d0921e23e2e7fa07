"""The gateway in-process, over a fake backend whose answers, failures and delays a test sets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from affect_contract.models import ServedModel, fused
from affect_contract.outputs import AROUSAL, PROBABILITIES, VALENCE
from affect_contract.versions import AVAILABLE
from affect_serving.app import running_gateway
from affect_serving.core.backend import Catalog, ModelAnswer, Selector, Version
from affect_serving.core.routing import select
from affect_serving.http.server import HttpServer
from affect_serving.http.service import create_http_app
from affect_serving.rpc.server import bound_server, serving_calls
from affect_serving.settings import Settings


class FakeBackend:
    """Answers by the mean brightness of each picture; a test may set a failure or a delay."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self.catalogue: Catalog = catalog or {fused("mobilenet_v2"): (Version(1, AVAILABLE, ("stable",)),)}
        self.failure: BaseException | None = None
        self.delay_s = 0.0
        self.asked: list[tuple[str, Selector]] = []
        self.stopped = 0
        self.spoil: Any = None
        self.before: Any = None
        self.problem_text = ""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def catalog(self) -> Catalog:
        return self.catalogue

    def problem(self) -> str:
        return self.problem_text

    async def run(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], *, timeout_s: float
    ) -> ModelAnswer:
        self.asked.append((model.name, selector))
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.before:
            self.before()
        if self.failure:
            raise self.failure
        version = select(self.catalogue[model], selector)
        assert version is not None
        brightness = images.reshape(len(images), -1).mean(axis=1) / 255
        outputs = {
            PROBABILITIES: np.eye(8, dtype=np.float32)[(brightness * 7.99).astype(int)],
            VALENCE: (2 * brightness - 1).astype(np.float32),
            AROUSAL: (1 - 2 * brightness).astype(np.float32),
        }
        if self.spoil is not None:
            outputs[VALENCE][:] = self.spoil
        return ModelAnswer({output.name: outputs[output.name] for output in model.outputs}, version.number)


@asynccontextmanager
async def gateway(backend: FakeBackend | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the real application over a fake backend."""
    chosen = Settings(models="unused", **settings)
    async with (
        running_gateway(chosen, backend or FakeBackend()) as running,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_http_app(*running)), base_url="http://gateway"
        ) as client,
    ):
        yield client


class Urls(NamedTuple):
    """Where a gateway listens."""

    http: str
    rpc: str


@contextmanager
def listening_gateway(backend: FakeBackend, **settings: Any) -> Iterator[Urls]:
    """The whole gateway on two free ports of loopback, in a thread of its own."""
    chosen = Settings(models="unused", grpc_port=0, **settings)
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    urls: list[str] = []
    servers: list[HttpServer] = []

    def started(url: str) -> None:
        urls.append(url)
        ready.set()

    async def serve() -> None:
        async with (
            bound_server(chosen) as (rpc_server, port),
            running_gateway(chosen, backend) as running,
            serving_calls(rpc_server, *running),
        ):
            app = create_http_app(*running)
            servers.append(HttpServer(app, chosen, running.metrics, started))
            urls.append(f"{'grpcs' if chosen.tls_cert else 'grpc'}://127.0.0.1:{port}")
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield Urls(http=urls[1], rpc=urls[0])
    finally:
        servers[0].stop()
        thread.join(30)
        listener.close()
