"""Telemetry for operators, alike over HTTP and gRPC: metrics, traces that are passed on, log lines with request ids."""

import asyncio
import io
import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from affect_contract.errors import AffectError, ErrorCode
from affect_contract.proto.affect.v1 import affect_pb2
from affect_serving.__main__ import main
from affect_serving.core.backend import Version
from affect_serving.telemetry.logs import JsonFormatter
from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import ModelServer
from affect_testbed.pictures import encoded, patches
from tests.contract.test_gate import both, outcome_over_http, outcome_over_rpc
from tests.gateway import FakeBackend
from tests.tfserving.gateways import FUSED, gateway_of

JPEG = encoded(patches())
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"X-Request-Id": "mine", "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
ROUTES = {"http": ("/predict", "200"), "rpc": ("/affect.v1.AffectService/Predict", "OK")}


async def answers_on_both(**settings):
    """The function that reads a metric, after one answer over HTTP and one over gRPC."""
    async with both(**settings) as (http, stub):
        assert await outcome_over_http(http, {}) == await outcome_over_rpc(stub, {}) == ""
        return http.gateway.metrics.registry.get_sample_value


@pytest.mark.parametrize("surface", ROUTES)
async def test_a_request_is_counted_and_timed_where_it_came_in(surface):
    value = await answers_on_both()
    route, status = ROUTES[surface]
    assert value("affect_requests_total", {"route": route, "status": status, "code": ""}) == 1
    assert value("affect_request_seconds_count", {"route": route, "code": ""}) == 1


async def test_the_stages_are_timed_and_the_answers_counted_by_model_and_version():
    value = await answers_on_both()
    model = {"backbone": "mobilenet_v2", "version": "1"}
    assert value("affect_queue_seconds_count") == value("affect_decode_seconds_count") == 2
    assert value("affect_backend_seconds_count", model) == 2
    assert value("affect_valence_count", model) == value("affect_arousal_count", model) == 2
    assert value("affect_valence_bucket", model | {"le": "1.0"}) == 2
    assert value("affect_predictions_total", model | {"expression": "disgust"}) in (0, 2)
    assert value("affect_ready") == 1


async def test_a_model_that_fails_is_timed_without_a_version():
    backend = FakeBackend()
    backend.failure = AffectError.by_code[ErrorCode.BACKEND_ERROR]("on purpose")
    async with both(backend) as (http, _):
        assert await outcome_over_http(http, {}) == "backend_error"
        value = http.gateway.metrics.registry.get_sample_value
    assert value("affect_backend_seconds_count", {"backbone": "mobilenet_v2", "version": ""}) == 1


async def test_the_request_id_and_the_trace_reach_the_model_server():
    server = ModelServer(served_models(FUSED.name))
    async with gateway_of(server) as client:
        assert (await client.post("/predict", content=JPEG, headers=CALLER)).status_code == 200
    metadata = server.metadata[-1]
    assert metadata["x-request-id"] == "mine"
    assert metadata["traceparent"] == CALLER["traceparent"]
    assert metadata["tracestate"] == "vendor=1"


@pytest.fixture
def json_log():
    """A function that returns the lines of the JSON log so far."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


async def test_every_line_of_the_log_names_its_request_and_trace(json_log):
    backend = FakeBackend()
    backend.failure = ZeroDivisionError("on purpose")
    async with both(backend) as (http, stub):
        await http.post("/predict", content=JPEG, headers=CALLER)
        with pytest.raises(grpc.aio.AioRpcError):
            metadata = tuple((name.lower(), value) for name, value in CALLER.items())
            await stub.Predict(affect_pb2.PredictRequest(image=JPEG), metadata=metadata)
    lines = json_log()
    assert {(line["request_id"], line["trace_id"]) for line in lines} == {("mine", TRACE)}
    failures = [line for line in lines if "exception" in line]
    assert len(failures) == 2
    assert all("ZeroDivisionError: on purpose" in line["exception"] for line in failures)


@pytest.mark.parametrize(("sample", "failed", "lines"), [(0.0, False, 0), (0.0, True, 2), (1.0, False, 2)])
async def test_the_access_log_has_the_configured_sample_and_every_fault_of_the_service(caplog, sample, failed, lines):
    backend = FakeBackend()
    backend.failure = AffectError.by_code[ErrorCode.BACKEND_ERROR]("on purpose") if failed else None
    with caplog.at_level(logging.INFO, "affect.access"):
        async with both(backend, access_log_sample=sample) as (http, stub):
            await outcome_over_http(http, {})
            await outcome_over_rpc(stub, {})
    records = [record for record in caplog.records if record.name == "affect.access"]
    assert len(records) == lines
    assert {record.fields["route"] for record in records} <= {route for route, _ in ROUTES.values()}


async def test_probes_of_a_gateway_that_is_not_ready_are_not_logged(caplog):
    backend = FakeBackend({FUSED: (Version(1, "LOADING", ("stable",)),)})
    async with both(backend) as (http, _):
        assert (await http.get("/readyz")).status_code == 503
    assert not [record for record in caplog.records if record.name == "affect.access"]


class Collector(ThreadingHTTPServer):
    """A server that receives spans as an OpenTelemetry collector does."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces"
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_spans_are_children_of_the_callers_span_and_parents_of_the_model_servers(collector):
    server = ModelServer(served_models(FUSED.name))
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    async with gateway_of(server, otlp_endpoint=endpoint) as client:
        assert (await client.post("/predict", content=JPEG, headers=CALLER)).status_code == 200
        assert (await client.post("/predict", content=b"no picture", headers=CALLER)).status_code == 400
    spans = {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}
    assert set(spans) == {"/predict", "decode", "models"}
    requests = [span for span in collector.spans if span.name == "/predict"]
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    assert spans["models"].parent_span_id in {span.span_id for span in requests}
    assert server.metadata[-1]["traceparent"] == f"00-{TRACE}-{spans['models'].span_id.hex()}-01"
    codes = {
        attribute.value.string_value for span in requests for attribute in span.attributes
        if attribute.key == "affect.code"
    }  # fmt: skip
    assert codes == {"invalid_image"}


async def test_calls_over_grpc_have_spans_too(collector):
    async with both(otlp_endpoint=f"http://127.0.0.1:{collector.server_port}") as (_, stub):
        assert await outcome_over_rpc(stub, CALLER) == ""
    names = {span.name: span.parent_span_id.hex() for span in collector.spans}
    assert names["affect.v1.AffectService/Predict"] == PARENT
    assert {"decode", "models"} <= set(names)


async def test_a_collector_that_does_not_answer_delays_nobody():
    async with asyncio.timeout(30):
        async with both(otlp_endpoint="http://127.0.0.1:1") as (http, _):
            assert await outcome_over_http(http, CALLER) == ""


def test_tracing_that_is_not_installed_is_reported_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    words = ["--models", "unused", "--http-port", "0", "--grpc-port", "0", "--otlp-endpoint", "http://127.0.0.1:4318"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "affect-serve: AFFECT_OTLP_ENDPOINT is set and OpenTelemetry is not installed: "
        "pip install 'affect-serving[tracing]'\n"
    )
