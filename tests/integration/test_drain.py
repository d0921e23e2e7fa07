"""How the gateway ends, as a process that is sent signals."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, NamedTuple

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from affect_client.errors import ServiceUnreachable
from affect_client.rpc.calls import Address, translate_error
from affect_contract.errors import ErrorCode
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_testbed.pictures import encoded, patches
from tests.conftest import ROOT

JPEG = encoded(patches())
PATIENCE_S = 60
LOAD = 8
PICTURES = 10
PICTURE = affect_pb2.StreamRequest(request=affect_pb2.PredictRequest(image=JPEG))
DRAINS = int(os.environ.get("AFFECT_DRAINS", "1"))


class Running(NamedTuple):
    process: subprocess.Popen[str]
    http: str
    rpc: str
    log: IO[str]
    metrics: httpx.Client

    def tell(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def begun(self):
        """How many pictures the gateway has begun to work on."""
        found = re.search(r"^affect_queue_seconds_count (\S+)", self.metrics.get("/metrics").text, re.MULTILINE)
        assert found
        return float(found[1])

    def ended(self):
        status = self.process.wait(PATIENCE_S)
        self.log.seek(0)
        return status, self.log.read()


@contextmanager
def told_gateway(*options: object, start_s: float = 0, delay_s: float = 0) -> Iterator[Running]:
    words = [sys.executable, "-m", "tests.told_gateway", str(start_s), str(delay_s), *map(str, options)]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        httpx.Client() as metrics,
    ):
        try:
            assert process.stdout
            assert process.stdout.readline() == "starting\n"
            if start_s:
                yield Running(process, "", "", log, metrics)
            else:
                ready = re.search(r"ready on (\S+) and grpc://(\S+)", process.stdout.readline())
                assert ready
                metrics.base_url = httpx.URL(ready[1])
                yield Running(process, ready[1], ready[2], log, metrics)
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Load:
    """Callers that ask one thing after the other, until they find nobody to ask; each gives how its questions ended."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway
        self.answered = 0
        self._address = Address(f"grpc://{gateway.rpc}")

    def over_http(self):
        with httpx.Client(base_url=self.gateway.http, timeout=PATIENCE_S) as client:
            while True:
                try:
                    yield self._answer(client.post("/predict", content=JPEG).status_code)
                except httpx.TransportError:
                    yield "nobody"
                    return

    def over_rpc(self):
        with self._stub() as stub:
            yield from self._asked(lambda: [stub.Predict(affect_pb2.PredictRequest(image=JPEG), timeout=PATIENCE_S)])

    def over_streams(self):
        def asked():
            more = queue.SimpleQueue()
            more.put(PICTURE)
            try:
                for number, answer in enumerate(stub.PredictStream(iter(more.get, None), timeout=PATIENCE_S)):
                    yield answer
                    more.put(PICTURE if number < PICTURES else None)
            finally:
                more.put(None)

        with self._stub() as stub:
            yield from self._asked(asked)

    def _asked(self, ask):
        while True:
            try:
                for answer in ask():
                    refused = isinstance(answer, affect_pb2.StreamResponse) and answer.WhichOneof("outcome") == "error"
                    yield answer.error.code if refused else self._answer(200)
            except grpc.RpcError as exc:
                outcome = translate_error(exc, self._address, PATIENCE_S)
                if isinstance(outcome, ServiceUnreachable):
                    yield "nobody" if outcome.never_connected else str(exc)
                    return
                yield outcome.code

    def _answer(self, status):
        self.answered += status == 200  # about, from many threads
        return status

    @contextmanager
    def _stub(self):
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(self.gateway.rpc, options) as channel:
            yield affect_pb2_grpc.AffectServiceStub(channel)


@pytest.mark.parametrize("number", range(DRAINS))
@pytest.mark.parametrize("delay_s", [0.2, 0])
def test_under_load_nothing_that_was_accepted_is_lost_on_either_surface(delay_s, number):
    options = ("--drain-delay-s", 0, "--access-log-sample", 1, "--log-format", "json")
    with told_gateway(*options, delay_s=delay_s) as gateway, ThreadPoolExecutor(3 * LOAD) as callers:
        load = Load(gateway)
        ways = [load.over_http, load.over_rpc, load.over_streams]
        outcomes = [callers.submit(lambda way=way: list(way())) for way in ways * LOAD]
        until(lambda: load.answered >= 3 * LOAD)
        gateway.tell()
        status, log = gateway.ended()
        ended = [outcome.result(PATIENCE_S) for outcome in outcomes]
    assert status == 0, log
    # Callers are answered until the door is shut; then they are refused, or find nobody where they ask, be it at the
    # other end of a connection that they had kept. What was accepted is told by the log.
    assert {one for outcome in ended for one in outcome} <= {200, 503, ErrorCode.MODEL_NOT_READY, "nobody"}
    lines = [json.loads(line) for line in log.splitlines()]
    answered = [line for line in lines if line["logger"] == "affect.access"]
    assert {line["code"] for line in answered} <= {"", "model_not_ready"}
    # What the gateway worked on and what reached a caller are the same.
    assert sum(line["code"] == "" for line in answered) == sum(outcome.count(200) for outcome in ended)


def test_first_it_is_not_ready_and_serves_on_then_its_door_is_shut():
    with told_gateway("--drain-delay-s", 3) as gateway, grpc.insecure_channel(gateway.rpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with httpx.Client(base_url=gateway.http) as client:
            assert client.get("/readyz").status_code == 200
            gateway.tell()
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["gateway"])
            assert client.get("/livez").status_code == 200
            served = client.post("/predict", content=JPEG)
            assert (served.status_code, served.headers["Connection"]) == (200, "close")
        affect_pb2_grpc.AffectServiceStub(channel).Predict(affect_pb2.PredictRequest(image=JPEG))
        status, log = gateway.ended()
        assert status == 0, log
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((httpx.URL(gateway.http).host, httpx.URL(gateway.http).port))


def test_a_second_signal_ends_it_at_once():
    with told_gateway("--drain-delay-s", 0, delay_s=600) as gateway, ThreadPoolExecutor(1) as caller:
        lost = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        until(lambda: gateway.begun() == 1)
        gateway.tell()
        time.sleep(0.5)
        assert gateway.process.poll() is None
        gateway.tell()
        assert gateway.ended()[0] == 128 + signal.SIGTERM
        assert isinstance(lost.exception(PATIENCE_S), httpx.TransportError)


def test_a_signal_that_is_told_twice_is_one_signal():
    with told_gateway("--drain-delay-s", 0, delay_s=1) as gateway, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        until(lambda: gateway.begun() == 1)
        gateway.tell()
        gateway.tell(signal.SIGINT)
        status, log = gateway.ended()
        assert status == 0, log
        assert answer.result(PATIENCE_S).status_code == 200


def test_a_person_who_interrupts_it_waits_for_no_load_balancer():
    with told_gateway("--drain-delay-s", 600, delay_s=0.5) as gateway, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        until(lambda: gateway.begun() == 1)
        gateway.tell(signal.SIGINT)
        status, log = gateway.ended()
        assert status == 0, log
        assert answer.result(PATIENCE_S).status_code == 200


def test_what_takes_longer_than_the_grace_is_answered_that_it_was_given_up():
    options = ("--drain-delay-s", 0, "--drain-grace-s", 0.5, "--deadline-ms", 600_000)
    with (
        told_gateway(*options, delay_s=600) as gateway,
        grpc.insecure_channel(gateway.rpc) as channel,
        ThreadPoolExecutor(1) as caller,
    ):
        answer = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        call = affect_pb2_grpc.AffectServiceStub(channel).Predict.future(affect_pb2.PredictRequest(image=JPEG))
        until(lambda: gateway.begun() == 2)
        gateway.tell()
        status, log = gateway.ended()
        assert status == 0, log
        assert (answer.result().status_code, answer.result().json()["code"]) == (503, "model_not_ready")
        assert call.exception(PATIENCE_S).code() is grpc.StatusCode.UNAVAILABLE
        assert dict(call.exception().trailing_metadata())["affect-code"] == "model_not_ready"


def test_a_stream_gets_its_answers_and_is_ended():
    more = threading.Event()

    def pictures():
        for number in range(4):
            yield affect_pb2.StreamRequest(id=str(number), request=affect_pb2.PredictRequest(image=JPEG))
        more.wait(PATIENCE_S)

    with told_gateway("--drain-delay-s", 0, delay_s=0.5) as gateway, grpc.insecure_channel(gateway.rpc) as channel:
        answers = affect_pb2_grpc.AffectServiceStub(channel).PredictStream(pictures())
        until(lambda: gateway.begun() == 4)
        gateway.tell()
        came = set()
        with pytest.raises(grpc.RpcError) as caught:
            for answer in answers:
                came.add(answer.id)
        more.set()
        assert came == {"0", "1", "2", "3"}
        assert dict(caught.value.trailing_metadata())["affect-code"] == "model_not_ready"
        status, log = gateway.ended()
        assert status == 0, log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_models_load_a_signal_ends_it_at_once(number):
    with told_gateway(start_s=600) as gateway:
        gateway.tell(number)
        assert gateway.ended()[0] == 128 + number


def test_the_log_says_what_it_does_one_document_a_line_where_that_is_set():
    options = ("--drain-delay-s", 0, "--log-format", "json", "--access-log-sample", 1)
    with told_gateway(*options) as gateway:
        headers = {"X-Request-Id": "mine", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        httpx.post(f"{gateway.http}/predict", content=JPEG, headers=headers)
        gateway.tell()
        status, log = gateway.ended()
    assert status == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    (access,) = (line for line in lines if line["logger"] == "affect.access")
    assert (access["route"], access["status"], access["request_id"]) == ("/predict", "200", "mine")
    assert access["trace_id"] == "ab" * 16
    assert any("shutting down" in line["message"] for line in lines)


def test_a_log_that_nobody_reads_keeps_nobody_waiting():
    words = [sys.executable, "-m", "tests.told_gateway", "0", "0", "--access-log-sample", "1", "--drain-delay-s", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            ready = re.search(r"ready on (\S+)", process.stdout.readline())
            assert ready
            with httpx.Client(base_url=ready[1], headers={"X-Request-Id": "x" * 128}) as client:
                assert {client.get("/livez").status_code for _ in range(1_000)} == {200}
                process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
