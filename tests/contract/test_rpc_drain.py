"""How the gRPC server stops: what it has begun is answered, and no call ends without a code."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from affect_client.rpc.calls import Address, translate_error
from affect_contract.errors import ModelNotReady
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_serving.app import running_gateway
from affect_serving.rpc.server import bound_server, serving_calls
from affect_serving.settings import Settings
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend

REQUEST = affect_pb2.PredictRequest(image=encoded(patches()))
CALLERS = 32


@pytest.fixture
def backend():
    return FakeBackend()


class Stoppable:
    """The real gRPC server on loopback, a channel to it, and its end in the order of `affect-serve`."""

    def __init__(self, server, gateway, channel):
        self.server = server
        self.gateway = gateway
        self.channel = channel
        self.stub = affect_pb2_grpc.AffectServiceStub(channel)

    async def end(self, grace_s=20.0):
        await self.server.gate.answers.hold()
        self.gateway.services.admission.close()
        await self.server.stop(grace_s)


@pytest.fixture
async def rpc(backend):
    async with serving(backend) as rpc:
        yield rpc


@asynccontextmanager
async def serving(backend):
    settings = Settings(models="unused", grpc_port=0)
    async with (
        bound_server(settings) as (server, port),
        running_gateway(settings, backend) as gateway,
        serving_calls(server, *gateway),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Stoppable(server, gateway, channel)


def lost_nothing(error):
    """Whether a call was refused with its code, or found nobody to connect to."""
    outcome = translate_error(error, Address("grpc://127.0.0.1:1"), 1)
    return isinstance(outcome, ModelNotReady) or outcome.never_connected


def code_of(error):
    return error.code(), dict(error.trailing_metadata()).get("affect-code")


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_call_that_has_reached_the_server_is_answered_whether_it_was_handed_out_yet_or_not(backend, rpc):
    # gRPC hands out one call at a time: when the first one has reached the backend, most others wait inside gRPC.
    calls = [rpc.stub.Predict(REQUEST) for _ in range(CALLERS)]
    waiting = [asyncio.ensure_future(call.code()) for call in calls]
    await until(lambda: backend.asked)
    await rpc.end()
    assert await asyncio.gather(*waiting) == [grpc.StatusCode.OK] * CALLERS


async def test_who_asks_on_and_on_is_answered_until_there_is_nobody_to_ask(backend, rpc):
    async def asks():
        try:
            while True:
                await rpc.stub.Predict(REQUEST)
        except grpc.aio.AioRpcError as exc:
            return exc

    callers = [asyncio.create_task(asks()) for _ in range(CALLERS)]
    await until(lambda: len(backend.asked) > 2 * CALLERS)
    await rpc.end()
    for error in await asyncio.gather(*callers):
        assert lost_nothing(error), error


async def test_no_answer_is_sent_before_the_server_has_sent_its_callers_elsewhere(rpc):
    holding = asyncio.create_task(rpc.server.gate.answers.hold())
    await asyncio.sleep(0)
    call = asyncio.ensure_future(rpc.stub.Predict(REQUEST).code())
    await holding
    await asyncio.sleep(0.1)
    assert not call.done()
    await rpc.end()
    assert await call is grpc.StatusCode.OK


async def test_a_call_that_comes_when_nothing_is_taken_any_more_is_refused_with_its_code(rpc):
    rpc.gateway.services.admission.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.stub.Predict(REQUEST)
    assert code_of(caught.value) == (grpc.StatusCode.UNAVAILABLE, "model_not_ready")


async def _pictures(number):
    for one in range(number):
        yield affect_pb2.StreamRequest(id=str(one), request=REQUEST)
    await asyncio.Event().wait()


async def test_what_takes_longer_than_the_grace_is_given_up_with_its_code(backend, rpc):
    backend.delay_s = 600

    async def streamed():
        async for _ in rpc.stub.PredictStream(_pictures(3)):
            pass

    calls = [asyncio.create_task(call) for call in (rpc.stub.Predict(REQUEST, timeout=600).code(), streamed())]
    await until(lambda: len(backend.asked) == 4)
    await rpc.end(grace_s=0.2)
    status, stream = await asyncio.gather(*calls, return_exceptions=True)
    assert status is grpc.StatusCode.UNAVAILABLE
    assert code_of(stream) == (grpc.StatusCode.UNAVAILABLE, "model_not_ready")
    await until(lambda: backend.stopped == 4)


async def test_who_watches_the_health_does_not_keep_the_server_from_stopping(rpc):
    watch = health_pb2_grpc.HealthStub(rpc.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    async with asyncio.timeout(5):
        await rpc.end()
    assert await watch.code() is grpc.StatusCode.UNAVAILABLE
