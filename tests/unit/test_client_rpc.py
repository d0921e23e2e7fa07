"""The gRPC clients: what they send, and what they make of answers that the real gateway never gives."""

import asyncio
import threading

import grpc
import pytest

from affect_client import AsyncGrpcClient, GrpcClient, ServiceUnreachable
from affect_contract.errors import AffectError, DeadlineExceeded, InvalidRequest, Overloaded, TooLarge
from affect_contract.proto.affect.v1 import affect_pb2
from tests.certificates import self_signed
from tests.unit.rpc_gateway import ANSWER, ToldService, aborting, listening

PICTURE = b"\xff\xd8 a face"
BUSY = {"affect_code": "overloaded", "affect_request_id": "r1"}


@pytest.fixture(params=[GrpcClient, AsyncGrpcClient])
def ask(request):
    """Call one method of a client of the parameter's kind."""

    def call(address, method="predict", *arguments, options=None, **choice):
        client = request.param(f"grpc://{address}" if "://" not in address else address, **(options or {}))
        if request.param is GrpcClient:
            with client:
                return getattr(client, method)(*arguments, **choice)

        async def run():
            async with client:
                return await getattr(client, method)(*arguments, **choice)

        return asyncio.run(run())

    return call


@pytest.fixture
def service():
    return ToldService()


@pytest.fixture
def address(service):
    with listening(service) as one:
        yield one


def test_an_answer_is_the_contracts_prediction(ask, address):
    answer = ask(address, "predict", PICTURE)
    assert answer.model_dump(exclude={"probabilities", "confidence", "valence", "arousal"}) == ANSWER.model_dump(
        exclude={"probabilities", "confidence", "valence", "arousal"}
    )
    assert answer.probabilities == pytest.approx(ANSWER.probabilities)
    assert (answer.valence, answer.arousal) == pytest.approx((ANSWER.valence, ANSWER.arousal))


def test_the_picture_travels_with_the_choice_the_key_and_the_time_there_is(ask, address, service):
    ask(address, "predict", PICTURE, backbone="densenet121", version=3, options={"timeout_s": 2.5, "api_key": "k"})
    assert service.asked == [affect_pb2.PredictRequest(image=PICTURE, backbone="densenet121", version=3)]
    assert service.metadata[0]["authorization"] == "Bearer k"
    assert 0 < service.left_s[0] <= 2.6


def test_a_label_travels_alone_and_without_a_key_none_is_sent(ask, address, service):
    ask(address, "predict", PICTURE, label="canary")
    assert service.asked == [affect_pb2.PredictRequest(image=PICTURE, label="canary")]
    assert "authorization" not in service.metadata[0]


@pytest.mark.parametrize("choice", [{"version": 1, "label": "stable"}, {"version": 2**63}, {"backbone": "\udc80"}])
def test_a_choice_that_no_message_holds_is_the_requests_own_error(ask, address, service, choice):
    with pytest.raises(InvalidRequest):
        ask(address, "predict", PICTURE, **choice)
    assert service.asked == []


def test_what_passes_is_sent_again_with_the_time_that_is_left(ask, address, service):
    service.replies = [aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, affect_retry_after_ms="20", **BUSY)] * 2
    # Below a second the transport tells whole milliseconds, above it rounds.
    options = {"retries": 2, "timeout_s": 0.9}
    assert ask(address, "predict", PICTURE, options=options).expression == ANSWER.expression
    first_s, second_s, third_s = service.left_s
    assert first_s - second_s > 0.015
    assert second_s - third_s > 0.015


def test_a_wait_longer_than_the_time_there_is_is_not_begun(ask, address, service):
    service.replies = [aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, affect_retry_after_ms="60000", **BUSY)]
    with pytest.raises(Overloaded) as caught:
        ask(address, "predict", PICTURE)
    assert (caught.value.detail, caught.value.request_id, caught.value.retry_after_s) == ("on purpose", "r1", 60)
    assert len(service.asked) == 1


def test_without_the_gateways_word_the_transports_deadline_counts(ask, address, service):
    goes_on = threading.Event()
    service.replies = [lambda _: goes_on.wait(10)]
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 0.1 s: allow more time"):
        ask(address, "predict", PICTURE, options={"timeout_s": 0.1})
    goes_on.set()


def test_a_picture_too_large_for_the_transport_names_the_setting(ask, service):
    with (
        listening(service, max_receive_message_length=1000) as address,
        pytest.raises(TooLarge, match="AFFECT_MAX_IMAGE_BYTES"),
    ):
        ask(address, "predict", bytes(2000))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (aborting(grpc.StatusCode.PERMISSION_DENIED), "PERMISSION_DENIED"),
        (aborting(grpc.StatusCode.INTERNAL, affect_code="a code of tomorrow"), "INTERNAL"),
        (lambda _: affect_pb2.PredictResponse(backbone="vgg", request_id="r1"), "not a gateway's"),
        (lambda _: affect_pb2.PredictResponse(backbone="mobilenet_v2", valence=3), "not a gateway's"),
    ],
    ids=["another status", "an unknown code", "an unknown backbone", "valence out of range"],
)
def test_an_answer_that_is_no_gateways_names_the_address_to_check(ask, address, service, reply, told):
    service.replies = [reply] * 2
    with pytest.raises(ServiceUnreachable, match=f"{told}.+check the address") as caught:
        ask(address, "predict", PICTURE)
    assert not caught.value.never_connected
    assert len(service.asked) == 1


@pytest.mark.parametrize("method", ["predict", "ready"])
def test_a_server_without_the_service_is_no_gateway(ask, method):
    with listening(None) as address, pytest.raises(ServiceUnreachable, match="UNIMPLEMENTED.+check the address"):
        ask(address, method, *([PICTURE] if method == "predict" else []))


def test_a_connection_that_broke_may_have_been_heard_and_is_not_tried_again(ask, address, service):
    service.replies = [aborting(grpc.StatusCode.UNAVAILABLE, "Socket closed")]
    with pytest.raises(ServiceUnreachable) as caught:
        ask(address, "predict", PICTURE, options={"retries": 5})
    assert not caught.value.never_connected
    assert len(service.asked) == 1


def test_a_name_that_stands_for_no_host_never_connected(ask):
    with pytest.raises(ServiceUnreachable, match="start one with affect-serve") as caught:
        ask(f"{'a' * 64}:1", "predict", PICTURE, options={"retries": 0})
    assert caught.value.never_connected


@pytest.mark.parametrize("status", ["SERVING", "NOT_SERVING"])
def test_readiness_follows_the_health_service(ask, address, service, status):
    service.health = status
    assert ask(address, "ready") is (status == "SERVING")


@pytest.mark.parametrize("kind", [GrpcClient, AsyncGrpcClient])
def test_certificates_without_tls_are_refused_rather_than_ignored(kind):
    with pytest.raises(ValueError, match="grpcs://"):
        kind("grpc://127.0.0.1:9090", root_certificates=b"PEM")


@pytest.fixture
def certificate(tmp_path):
    """Key and certificate of localhost."""
    made = self_signed(tmp_path)
    return made.key.read_bytes(), made.cert.read_bytes()


def test_a_gateway_behind_tls_is_trusted_by_the_certificates_given(ask, service, certificate):
    with listening(service, grpc.ssl_server_credentials([certificate])) as address:
        url = f"grpcs://{address.replace('127.0.0.1', 'localhost')}"
        answer = ask(url, "predict", PICTURE, options={"root_certificates": certificate[1], "api_key": "k"})
        assert answer.expression == ANSWER.expression
        with pytest.raises(ServiceUnreachable):
            ask(url, "predict", PICTURE, options={"retries": 0})
    assert [metadata["authorization"] for metadata in service.metadata] == ["Bearer k"]


def test_every_error_is_one_of_the_contract_or_says_where_nobody_answers(ask, address, service):
    for status in grpc.StatusCode:
        if status is not grpc.StatusCode.OK:
            service.replies = [aborting(status)]
            with pytest.raises((AffectError, ServiceUnreachable)):
                ask(address, "predict", PICTURE, options={"retries": 0})
