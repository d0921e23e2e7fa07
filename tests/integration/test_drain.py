"""How the gateway ends, as a process that is sent signals."""

import json
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

from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_testbed.pictures import encoded, patches
from tests.conftest import ROOT

JPEG = encoded(patches())
PATIENCE_S = 60
LOAD = 12


class Running(NamedTuple):
    process: subprocess.Popen[str]
    http: str
    rpc: str
    log: IO[str]

    def tell(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def in_flight(self):
        text = httpx.get(f"{self.http}/metrics").text
        return sum(
            float(found) for found in re.findall(r"^affect_requests_(?:in_flight|queued) (\S+)", text, re.MULTILINE)
        )

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
    ):
        try:
            assert process.stdout
            assert process.stdout.readline() == "starting\n"
            if start_s:
                yield Running(process, "", "", log)
            else:
                ready = re.search(r"ready on (\S+) and grpc://(\S+)", process.stdout.readline())
                assert ready
                yield Running(process, ready[1], ready[2], log)
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_under_load_nothing_that_was_accepted_is_lost_on_either_surface():
    options = ("--drain-delay-s", 0, "--access-log-sample", 1, "--log-format", "json")
    with told_gateway(*options, delay_s=0.2) as gateway, grpc.insecure_channel(gateway.rpc) as channel:
        stub = affect_pb2_grpc.AffectServiceStub(channel)
        stop = threading.Event()

        def over_http():
            with httpx.Client(base_url=gateway.http, timeout=PATIENCE_S) as client:
                for _ in iter(stop.is_set, True):
                    try:
                        yield client.post("/predict", content=JPEG).status_code
                    except httpx.TransportError:
                        yield "nobody"
                        return

        def over_rpc():
            for _ in iter(stop.is_set, True):
                try:
                    stub.Predict(affect_pb2.PredictRequest(image=JPEG), timeout=PATIENCE_S)
                    yield 200
                except grpc.RpcError as exc:
                    yield exc.code().name
                    if exc.code() is grpc.StatusCode.UNAVAILABLE:
                        return

        with ThreadPoolExecutor(2 * LOAD) as callers:
            outcomes = [callers.submit(list, load()) for load in [over_http, over_rpc] * LOAD]
            until(lambda: gateway.in_flight() >= LOAD)
            gateway.tell()
            status, log = gateway.ended()
            stop.set()
            ended = [outcome.result(PATIENCE_S) for outcome in outcomes]
    assert status == 0, log
    # Callers are answered until the door is shut; then they are refused, or find nobody where they ask, be it at the
    # other end of a connection that they had kept. What was accepted is told by the log.
    assert {one for outcome in ended for one in outcome} <= {200, 503, "UNAVAILABLE", "nobody"}
    lines = [json.loads(line) for line in log.splitlines()]
    answered = [line for line in lines if line["logger"] == "affect.access" and line["route"] != "/metrics"]
    assert {line["code"] for line in answered} <= {"", "model_not_ready"}
    # What the gateway worked on and what reached a caller are the same.
    assert sum(line["code"] == "" for line in answered) == sum(outcome.count(200) for outcome in ended) >= LOAD


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
        until(lambda: gateway.in_flight() == 1)
        gateway.tell()
        time.sleep(0.5)
        assert gateway.process.poll() is None
        gateway.tell()
        assert gateway.ended()[0] == 128 + signal.SIGTERM
        assert isinstance(lost.exception(PATIENCE_S), httpx.TransportError)


def test_a_signal_that_is_told_twice_is_one_signal():
    with told_gateway("--drain-delay-s", 0, delay_s=1) as gateway, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        until(lambda: gateway.in_flight() == 1)
        gateway.tell()
        gateway.tell(signal.SIGINT)
        status, log = gateway.ended()
        assert status == 0, log
        assert answer.result(PATIENCE_S).status_code == 200


def test_a_person_who_interrupts_it_waits_for_no_load_balancer():
    with told_gateway("--drain-delay-s", 600, delay_s=0.5) as gateway, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(httpx.post, f"{gateway.http}/predict", content=JPEG, timeout=PATIENCE_S)
        until(lambda: gateway.in_flight() == 1)
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
        until(lambda: gateway.in_flight() == 2)
        gateway.tell()
        status, log = gateway.ended()
        assert status == 0, log
        assert (answer.result().status_code, answer.result().json()["code"]) == (503, "model_not_ready")
        assert call.exception(PATIENCE_S).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_a_stream_gets_its_answers_and_is_ended():
    more = threading.Event()

    def pictures():
        for number in range(4):
            yield affect_pb2.StreamRequest(id=str(number), request=affect_pb2.PredictRequest(image=JPEG))
        more.wait(PATIENCE_S)

    with told_gateway("--drain-delay-s", 0, delay_s=0.5) as gateway, grpc.insecure_channel(gateway.rpc) as channel:
        answers = affect_pb2_grpc.AffectServiceStub(channel).PredictStream(pictures())
        until(lambda: gateway.in_flight() == 4)
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
