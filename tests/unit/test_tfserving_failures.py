"""Requests while the model server fails, is late, or is not there."""

import asyncio
import time

import grpc
import pytest

from affect_contract.errors import (
    AffectError,
    BackendError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
)
from affect_serving.backends.tfserving.errors import MEANINGS
from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.process import free_port
from affect_testbed.model_server.server import ModelServer, serve
from tests.tfserving.gateways import (
    FUSED,
    JPEG,
    ask,
    backend_of,
    becomes,
    gateway_at,
    gateway_of,
    is_not_ready,
    is_ready,
)


@pytest.fixture
def server():
    """A server of the fused MobileNetV2, version 1."""
    return ModelServer(served_models(FUSED.name))


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
async def test_every_status_of_the_server_is_an_error_of_the_table(server, status):
    async with backend_of(server) as backend:
        server.faults.failure = (status, "on purpose")
        with pytest.raises(MEANINGS[status].error) as caught:
            await ask(backend)
    assert "on purpose" not in caught.value.detail


@pytest.mark.parametrize(
    ("status", "text", "error", "named"),
    [
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", Overloaded, None),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", Overloaded, None),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", BackendError, "AFFECT_MAX_BATCH_IMAGES"),
        ("INVALID_ARGUMENT", "Task size 9 is larger than maximum input batch size 8", BackendError, "batching.config"),
        ("INVALID_ARGUMENT", "Unrecognized servable version label: stable", ModelNotReady, None),
        ("UNIMPLEMENTED", "", BackendError, "AFFECT_TFSERVING"),
    ],
)
async def test_texts_that_say_more_than_the_status_decide(server, status, text, error, named):
    async with backend_of(server) as backend:
        server.faults.failure = (grpc.StatusCode[status], text)
        with pytest.raises(error, match=named):
            await ask(backend)
    assert len(server.predictions) == 1, "it was sent again"


async def test_more_calls_than_the_server_has_threads_are_overload_and_not_retried(server):
    server.max_threads, server.faults.delay_s = 2, 0.3
    async with backend_of(server) as backend:
        outcomes = await asyncio.gather(*(ask(backend) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 6
    assert all(outcome.retry_after_s for outcome in outcomes if isinstance(outcome, AffectError))


async def test_a_batch_larger_than_the_server_takes_names_the_setting(server):
    server.max_batch_size = 2
    async with backend_of(server) as backend:
        with pytest.raises(BackendError, match="AFFECT_MAX_BATCH_IMAGES"):
            await ask(backend)


async def test_the_rest_of_the_deadline_goes_with_the_call(server):
    server.faults.delay_s = 5
    async with backend_of(server) as backend:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await ask(backend, timeout_s=0.2)
        assert time.monotonic() - started < 2
        await becomes(lambda: _cancelled(server))


async def test_a_cancelled_request_stops_its_call(server):
    server.faults.delay_s = 5
    async with backend_of(server) as backend:
        call = asyncio.create_task(ask(backend))
        await becomes(lambda: _predicting(server))
        call.cancel()
        await becomes(lambda: _cancelled(server))


async def test_a_server_that_is_not_there_yet_is_waited_for():
    port = free_port()
    async with gateway_at(port) as client:
        ready = await client.get("/readyz")
        answer = await client.post("/predict", content=JPEG)
        assert ready.status_code == answer.status_code == 503
        assert ready.json()["waiting_for"]
        assert answer.json()["code"] == "model_not_ready"
        assert "AFFECT_TFSERVING" in answer.json()["detail"]
        grpc_server, _ = serve(ModelServer(served_models(FUSED.name)), port)
        await becomes(lambda: is_ready(client))
        assert (await client.post("/predict", content=JPEG)).status_code == 200
        await asyncio.to_thread(grpc_server.stop(0).wait)


async def test_a_restarted_server_serves_again_and_meanwhile_the_gateway_is_not_ready():
    port = free_port()
    grpc_server, _ = serve(ModelServer(served_models(FUSED.name)), port)
    seen = []
    async with gateway_at(port) as client:
        running = True

        async def load():
            while running:
                answer = await client.post("/predict", content=JPEG)
                seen.append((answer.status_code, answer.json().get("code")))
                await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(grpc_server.stop(0).wait)
        await becomes(lambda: is_not_ready(client))
        assert (await client.post("/predict", content=JPEG)).json()["code"] == "model_not_ready"
        grpc_server, _ = serve(ModelServer(served_models(FUSED.name)), port)
        await becomes(lambda: is_ready(client))
        assert (await client.post("/predict", content=JPEG)).status_code == 200
        running = False
        await asyncio.gather(*tasks)
        await asyncio.to_thread(grpc_server.stop(0).wait)
    # Callers whose call is retried may never notice the restart.
    assert (200, None) in seen
    assert set(seen) <= {(200, None), (503, "model_not_ready")}


async def test_a_server_that_hangs_and_recovers_is_noticed(server):
    async with gateway_of(server) as client:
        server.faults.mute = True
        await becomes(lambda: is_not_ready(client))
        answer = await client.post("/predict", content=JPEG)
        assert answer.json()["code"] == "model_not_ready"
        server.faults.mute = False
        await becomes(lambda: is_ready(client))


async def test_a_server_that_answers_is_available_even_if_it_is_too_busy_to_be_polled(server, monkeypatch):
    async with backend_of(server) as backend:
        backend._watch.cancel()

        async def late():
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, None, None, "on purpose")

        monkeypatch.setattr(backend._status_poller, "poll", late)
        for _ in range(3):
            await backend._poll()
            assert (await ask(backend)).version == 1
        await backend._poll()
        await backend._poll()
        with pytest.raises(ModelNotReady):
            await ask(backend)


async def test_calls_that_found_no_connection_are_retried_up_to_a_tenth_of_all_calls(server, monkeypatch):
    async with backend_of(server) as backend:
        await ask(backend)
        sent = []

        async def refuse(request, *, timeout, metadata, wait_for_ready=False):
            sent.append(wait_for_ready)
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, None, None, "connections to all backends failing; last error: refused"
            )

        monkeypatch.setattr(backend, "_predict", refuse)
        for _ in range(100):
            with pytest.raises(ModelNotReady):
                await ask(backend)
    assert 5 <= sum(sent) <= 11


async def test_calls_that_may_have_reached_a_server_are_not_retried(server):
    server.faults.failure = (grpc.StatusCode.UNAVAILABLE, "Socket closed")
    async with backend_of(server) as backend:
        with pytest.raises(ModelNotReady):
            await ask(backend)
    assert len(server.predictions) == 1


async def _cancelled(server):
    return server.cancelled == 1


async def _predicting(server):
    return bool(server.predictions)
