"""The gRPC API, over a fake backend whose answers, failures and delays a test sets."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from affect_contract.errors import FAULTS, AffectError, ErrorCode
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_contract.versions import AVAILABLE
from affect_serving.app import running_gateway
from affect_serving.core.backend import ServingError, Version
from affect_serving.rpc.server import bound_server, serving_calls
from affect_serving.settings import Settings
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend

JPEG = encoded(patches())
REQUEST = affect_pb2.PredictRequest(image=JPEG)


@pytest.fixture
def backend():
    return FakeBackend()


@asynccontextmanager
async def channel_to(backend, **settings):
    """A channel to the real gRPC server on loopback, over a fake backend."""
    chosen = Settings(models="unused", grpc_port=0, **settings)
    async with (
        bound_server(chosen) as (server, port),
        running_gateway(chosen, backend) as gateway,
        serving_calls(server, *gateway),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel,
    ):
        channel.gateway = gateway
        yield channel


@pytest.fixture
async def channel(backend):
    async with channel_to(backend) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return affect_pb2_grpc.AffectServiceStub(channel)


def trailers(error):
    return dict(error.trailing_metadata())


async def test_an_answer_has_every_field_of_the_message(stub):
    answer = await stub.Predict(REQUEST)
    assert answer.expression
    assert 0 <= answer.expression_id < 8
    assert answer.confidence == max(answer.probabilities.values())
    assert len(answer.probabilities) == 8
    assert answer.HasField("valence")
    assert answer.HasField("arousal")
    assert answer.backbone == "mobilenet_v2"
    assert dict(answer.versions) == {"mobilenet_v2_affect": 1}


async def test_a_task_that_is_not_served_leaves_its_fields_out(backend, stub):
    backend.catalogue = {single("mobilenet_v2", Task.REGRESSION): (Version(1, AVAILABLE, ("stable",)),)}
    answer = await stub.Predict(REQUEST)
    assert not any(answer.HasField(name) for name in ("expression", "expression_id", "confidence"))
    assert not answer.probabilities
    assert answer.HasField("valence")


async def test_the_callers_request_id_comes_back(stub):
    call = stub.Predict(REQUEST, metadata=(("x-request-id", "mine-1"),))
    assert (await call).request_id == "mine-1"
    assert dict(await call.trailing_metadata())["affect-request-id"] == "mine-1"


@pytest.mark.parametrize("code", [code for code in ErrorCode if FAULTS[code].grpc])
async def test_an_error_has_its_status_and_its_code_in_the_trailers(backend, stub, code):
    backend.failure = AffectError.by_code[code]("on purpose", retry_after_s=2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Predict(REQUEST)
    error = caught.value
    assert error.code().name == FAULTS[code].grpc
    assert error.details() == "on purpose"
    assert trailers(error)["affect-code"] == code
    assert trailers(error)["affect-request-id"]
    assert trailers(error)["affect-retry-after-ms"] == "2000"


async def test_an_unforeseen_error_reveals_nothing(backend, stub, caplog):
    backend.failure = RuntimeError("a secret")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Predict(REQUEST)
    assert trailers(caught.value)["affect-code"] == "internal"
    assert "secret" not in caught.value.details()
    assert "a secret" in caplog.text


async def test_the_callers_deadline_ends_the_work(backend, stub):
    backend.delay_s = 30
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Predict(REQUEST, timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await stopped(backend)


async def test_a_call_without_a_deadline_gets_the_gateways_default(backend):
    backend.delay_s = 30
    async with channel_to(backend, deadline_ms=100) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await affect_pb2_grpc.AffectServiceStub(channel).Predict(REQUEST)
    assert trailers(caught.value)["affect-code"] == "deadline_exceeded"


async def test_a_cancelled_call_stops_the_backends_work(backend, stub):
    backend.delay_s = 30
    call = stub.Predict(REQUEST)
    while not backend.asked:
        await asyncio.sleep(0.01)
    call.cancel()
    await stopped(backend)


async def test_a_picture_above_the_limit_is_refused_by_the_handler(backend):
    async with channel_to(backend, max_image_bytes=1000) as channel:
        stub = affect_pb2_grpc.AffectServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as handled:
            await stub.Predict(affect_pb2.PredictRequest(image=b"x" * 1500))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(affect_pb2.PredictRequest(image=b"x" * 3000))
    assert trailers(handled.value)["affect-code"] == "too_large"
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_answers_every_picture_under_its_id(stub):
    async def requests():
        for number in range(100):
            image = encoded(patches(seed=number % 7)) if number % 10 else b"no picture"
            yield affect_pb2.StreamRequest(id=str(number), request=affect_pb2.PredictRequest(image=image))

    answers = {answer.id: answer async for answer in stub.PredictStream(requests())}
    assert set(answers) == {str(number) for number in range(100)}
    failed = {number for number, answer in answers.items() if answer.WhichOneof("outcome") == "error"}
    assert failed == {str(number) for number in range(0, 100, 10)}
    assert {answers[number].error.code for number in failed} == {"invalid_image"}


async def test_a_stream_has_a_bounded_number_of_pictures_under_way(backend, stub):
    backend.delay_s = 30

    async def requests():
        while True:
            yield affect_pb2.StreamRequest(id="1", request=REQUEST)

    call = stub.PredictStream(requests())
    while len(backend.asked) < 32:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(backend.asked) == 32
    call.cancel()
    await stopped(backend, 32)


async def test_an_error_in_a_stream_fails_its_picture_alone(backend, stub):
    async def requests():
        for backbone in ("nonsense", "mobilenet_v2"):
            yield affect_pb2.StreamRequest(
                id=backbone, request=affect_pb2.PredictRequest(image=JPEG, backbone=backbone)
            )

    answers = {answer.id: answer async for answer in stub.PredictStream(requests())}
    assert answers["nonsense"].error.code == "unknown_model"
    assert answers["mobilenet_v2"].response.expression


async def test_a_stream_may_stay_open_longer_than_the_deadline_of_a_picture(backend):
    async def requests():
        for number in range(2):
            yield affect_pb2.StreamRequest(id=str(number), request=REQUEST)
            await asyncio.sleep(1.5)

    async with channel_to(backend, deadline_ms=1_000) as channel:
        call = affect_pb2_grpc.AffectServiceStub(channel).PredictStream(requests())
        assert [answer.WhichOneof("outcome") async for answer in call] == ["response", "response"]
        backend.delay_s = 30
        (late,) = [answer async for answer in affect_pb2_grpc.AffectServiceStub(channel).PredictStream(_one())]
        assert late.error.code == "deadline_exceeded"


async def _one():
    yield affect_pb2.StreamRequest(id="1", request=REQUEST)


@pytest.mark.parametrize("service", ["", "affect.v1.AffectService"])
async def test_health_follows_readiness(backend, channel, service):
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=service))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    backend.catalogue = {fused("mobilenet_v2"): (Version(1, "LOADING", ("stable",)),)}
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    backend.catalogue = {fused("mobilenet_v2"): (Version(1, AVAILABLE, ("stable",)),)}
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    response = await stub.ServerReflectionInfo(iter([request])).read()
    names = {service.name for service in response.list_services_response.service}
    assert {"affect.v1.AffectService", "grpc.health.v1.Health"} <= names


async def test_calls_are_counted_by_status_and_code(backend, channel, stub):
    await stub.Predict(REQUEST)
    backend.failure = AffectError.by_code[ErrorCode.OVERLOADED]("on purpose")
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Predict(REQUEST)
    text = channel.gateway.metrics.exposition().decode()
    route = 'route="/affect.v1.AffectService/Predict"'
    assert f'affect_requests_total{{code="",{route},status="OK"}} 1.0' in text
    assert f'affect_requests_total{{code="overloaded",{route},status="RESOURCE_EXHAUSTED"}} 1.0' in text


async def test_a_port_that_is_taken_names_the_flag(backend):
    async with bound_server(Settings(models="unused", grpc_port=0)) as (_, port):
        with pytest.raises(ServingError, match="--grpc-port"):
            async with bound_server(Settings(models="unused", grpc_port=port)):
                pass


async def stopped(backend, count=1):
    async with asyncio.timeout(30):
        while backend.stopped < count:
            await asyncio.sleep(0.01)
