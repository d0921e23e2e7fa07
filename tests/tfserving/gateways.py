"""The gateway, and its backend alone, in front of a fake model server whose behaviour a test sets."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import numpy as np

from affect_contract.models import fused
from affect_serving.app import create_backend, running_gateway
from affect_serving.core.backend import Selector
from affect_serving.http.service import create_http_app
from affect_serving.settings import Settings
from affect_testbed.model_server.server import serve
from affect_testbed.pictures import encoded, patches

FUSED = fused("mobilenet_v2")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
JPEG = encoded(patches())
STABLE = Selector()


@asynccontextmanager
async def backend_of(server, **settings):
    """The backend, started, in front of a server of its own."""
    grpc_server, port = serve(server)
    backend = create_backend(Settings(tfserving=f"127.0.0.1:{port}", **settings))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()
        server.faults.mute = False
        await asyncio.to_thread(grpc_server.stop(0).wait)


@asynccontextmanager
async def gateway_of(server, **settings):
    """An HTTP client of the whole gateway in front of a server of its own."""
    grpc_server, port = serve(server)
    try:
        async with gateway_at(port, **settings) as client:
            yield client
    finally:
        server.faults.mute = False
        await asyncio.to_thread(grpc_server.stop(0).wait)


@asynccontextmanager
async def gateway_at(port, **settings):
    chosen = Settings(tfserving=f"127.0.0.1:{port}", **settings)
    async with (
        running_gateway(chosen, create_backend(chosen)) as running,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_http_app(*running)), base_url="http://gateway"
        ) as client,
    ):
        yield client


async def ask(backend, selector=STABLE, images=IMAGES, timeout_s=10.0, model=FUSED):
    return await backend.run(model, selector, images, timeout_s=timeout_s)


async def becomes(condition, timeout_s=60.0):
    """Wait until an awaitable condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def is_ready(client):
    return (await client.get("/readyz")).status_code == 200


async def is_not_ready(client):
    return (await client.get("/readyz")).status_code == 503
