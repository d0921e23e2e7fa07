"""The checks before a request's body is read, alike over HTTP and gRPC: keys, sizes, admission and time limits."""

import asyncio
import hashlib
import logging
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPResponse

import grpc
import httpx
import pytest

from affect_contract.errors import ErrorCode
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_serving.app import running_gateway
from affect_serving.http.service import create_http_app
from affect_serving.rpc.server import bound_server, serving_calls
from affect_serving.settings import Settings
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend, gateway, listening_gateway

JPEG = encoded(patches())
KEY = "affect_a-key-that-is-accepted"
REVOKED = "affect_a-key-that-was-revoked"


@pytest.fixture
def keys(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# callers\nalice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    return file


@asynccontextmanager
async def both(backend=None, **settings):
    """An HTTP client and a gRPC stub for one gateway."""
    chosen = Settings(models="unused", grpc_port=0, **settings)
    async with (
        bound_server(chosen) as (server, port),
        running_gateway(chosen, backend or FakeBackend()) as running,
        serving_calls(server, *running),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        httpx.AsyncClient(transport=httpx.ASGITransport(create_http_app(*running)), base_url="http://gateway") as http,
    ):
        http.gateway, http.channel = running, channel
        yield http, affect_pb2_grpc.AffectServiceStub(channel)


async def outcome_over_http(http, headers):
    response = await http.post("/predict", content=JPEG, headers=headers)
    return "" if response.status_code == 200 else response.json()["code"]


async def outcome_over_rpc(stub, headers):
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    try:
        await stub.Predict(affect_pb2.PredictRequest(image=JPEG), metadata=metadata)
    except grpc.aio.AioRpcError as exc:
        return dict(exc.trailing_metadata())["affect-code"]
    return ""


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (f"Bearer {KEY}", ""),
        (f"bearer {KEY}", ""),
        (f"Bearer  {KEY} ", ""),
        (None, "unauthorized"),
        ("", "unauthorized"),
        (KEY, "unauthorized"),
        (f"Basic {KEY}", "unauthorized"),
        (f"Bearer {REVOKED}", "unauthorized"),
        (f"Bearer {KEY[:-1]}", "unauthorized"),
        ("Bearer " + "x" * 4000, "unauthorized"),
    ],
)
async def test_only_an_accepted_key_opens_both_apis(keys, authorization, code):
    headers = {} if authorization is None else {"Authorization": authorization}
    async with both(api_keys_file=keys) as (http, stub):
        assert await outcome_over_http(http, headers) == code
        assert await outcome_over_rpc(stub, headers) == code


async def test_probes_metrics_and_the_openapi_document_need_no_key(keys):
    async with both(api_keys_file=keys) as (http, _):
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
            assert (await http.get(path)).status_code == 200
        refused = await http.get("/models")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await http.get("/models", headers={"Authorization": f"Bearer {KEY}"})).status_code == 200


async def test_ten_thousand_wrong_keys_are_refused_before_a_body_is_read_and_none_is_logged(keys, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    chosen = Settings(models="unused", api_keys_file=keys, access_log_sample=1.0, log_format="json")
    statuses = []

    async def unread():
        raise AssertionError("the body was read")

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async with running_gateway(chosen, FakeBackend()) as running:
        app = create_http_app(*running)
        for number in range(10_000):
            given = {0: [], 1: [(b"authorization", f"Bearer {REVOKED}".encode())]}.get(
                number % 3, [(b"authorization", f"Bearer affect_wrong-{number}".encode())]
            )
            await app(
                {
                    "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
                    "headers": [(b"content-length", b"10000000"), *given], "http_version": "1.1", "scheme": "http",
                },
                unread,
                send,
            )  # fmt: skip
        assert statuses == [401] * 10_000
        assert running.metrics.registry.get_sample_value("affect_rejected_total", {"reason": "unauthorized"}) == 10_000
    printed = caplog.text + "".join(capfd.readouterr())
    assert printed.count("/predict") == 10_000
    for secret in (REVOKED, "affect_wrong-", hashlib.sha256(REVOKED.encode()).hexdigest()):
        assert secret not in printed


async def test_keys_change_without_a_restart_and_a_broken_file_keeps_the_old_ones(keys, caplog):
    async with both(api_keys_file=keys) as (http, _):
        services, metrics = http.gateway.services, http.gateway.metrics

        async def opens(key):
            services.keys.reload_if_changed()
            services.keys.reload_if_changed()
            return await outcome_over_http(http, {"Authorization": f"Bearer {key}"}) == ""

        keys.write_text(keys.read_text() + f"bob:{hashlib.sha256(REVOKED.encode()).hexdigest()}\n")
        assert await opens(REVOKED)
        keys.write_text(f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
        assert not await opens(REVOKED)
        keys.write_text("alice:nonsense\n")
        assert await opens(KEY)
        keys.unlink()
        assert await opens(KEY)
        assert metrics.registry.get_sample_value("affect_api_keys_reload_failures_total") == 2
        assert "line 1 is not NAME:SHA256" in caplog.text
        keys.write_text("# nobody\n")
        assert not await opens(KEY)


async def test_the_file_of_keys_is_reloaded_while_the_gateway_runs(keys):
    async with both(api_keys_file=keys) as (http, _):
        keys.write_text(f"bob:{hashlib.sha256(REVOKED.encode()).hexdigest()}\n")
        async with asyncio.timeout(30):
            while await outcome_over_http(http, {"Authorization": f"Bearer {REVOKED}"}):
                await asyncio.sleep(0.1)
        assert await outcome_over_http(http, {"Authorization": f"Bearer {KEY}"}) == "unauthorized"


async def test_both_apis_share_one_limit_and_refuse_at_once_with_a_time_to_retry_after():
    backend = FakeBackend()
    backend.delay_s = 60
    async with both(backend, max_in_flight=1, max_queued=1) as (http, stub):
        inside = asyncio.create_task(http.post("/predict", content=JPEG))
        await until(lambda: len(backend.asked) == 1)
        waiting = stub.Predict(affect_pb2.PredictRequest(image=JPEG))
        queued = lambda: http.gateway.metrics.registry.get_sample_value("affect_requests_queued")  # noqa: E731
        await until(lambda: queued() == 1)
        refused = await http.post("/predict", content=JPEG)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Predict(affect_pb2.PredictRequest(image=JPEG))
        trailers = dict(caught.value.trailing_metadata())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailers["affect-code"] == "overloaded"
        assert int(trailers["affect-retry-after-ms"]) > 0
        answers = [answer async for answer in stub.PredictStream(stream(2))]
        assert [answer.error.code for answer in answers] == ["overloaded"] * 2
        for path in ("/livez", "/readyz", "/metrics", "/models"):
            assert (await http.get(path)).status_code == 200
        waiting.cancel()
        inside.cancel()


async def stream(count):
    for number in range(count):
        yield affect_pb2.StreamRequest(id=str(number), request=affect_pb2.PredictRequest(image=JPEG))


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_declared_size_over_the_limit_is_refused_before_the_body_is_read():
    async def unread():
        raise AssertionError("the body was read")
        yield b""

    async with gateway(max_image_bytes=1000) as client:
        for path, media_type, most in (
            ("/predict", "image/jpeg", 1000),
            ("/predict", "multipart/form-data; boundary=b", 1000 + 16 * 1024),
            ("/predict/batch", "multipart/form-data; boundary=b", 32 * (1000 + 16 * 1024)),
        ):
            headers = {"Content-Type": media_type, "Content-Length": str(most + 1)}
            refused = await client.post(path, content=unread(), headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


@contextmanager
def connection(url):
    parts = httpx.URL(url)
    with socket.create_connection((parts.host, parts.port), timeout=30) as line:
        yield line


def answer(line):
    """The bytes that come until the other side closes the connection."""
    received = b""
    while piece := line.recv(65536):
        received += piece
    return received


def one_answer(line):
    """The status of the next answer, which is read to its end."""
    response = HTTPResponse(line)
    response.begin()
    response.read()
    return response.status


HEAD = b"POST /predict HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % len(JPEG)


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /predict HTTP/1.1\r\nHost: ga", HEAD + JPEG[:100]],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_sender_that_is_too_slow_is_cut_off(sent):
    with listening_gateway(FakeBackend(), body_timeout_s=0.3) as urls, connection(urls.http) as line:
        line.sendall(sent)
        received = answer(line)
    if sent.startswith(HEAD):
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in received.lower()
        assert ErrorCode.REQUEST_TIMEOUT.encode() in received
    else:
        assert received == b""


def test_bytes_that_begin_no_request_keep_no_connection_open():
    with listening_gateway(FakeBackend(), body_timeout_s=0.3) as urls, connection(urls.http) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert one_answer(line) == 200
        line.sendall(b"\r\n")
        assert answer(line) == b""


def test_an_early_answer_leaves_the_connection_usable_when_the_rest_of_the_body_comes():
    with listening_gateway(FakeBackend(), max_image_bytes=len(JPEG) - 1) as urls, connection(urls.http) as line:
        for _ in range(3):
            line.sendall(HEAD)
            assert one_answer(line) == 413
            line.sendall(JPEG)
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert one_answer(line) == 200


def test_an_endless_body_after_an_early_answer_is_cut_off():
    with listening_gateway(FakeBackend()) as urls, connection(urls.http) as line:
        line.sendall(b"POST /predict HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        with pytest.raises(OSError):
            for _ in range(4096):
                line.sendall(piece)


@pytest.mark.parametrize("sent", [HEAD, HEAD + JPEG[:10]], ids=["head", "begin of a body"])
def test_slow_senders_block_nobody(sent):
    with listening_gateway(FakeBackend(), max_in_flight=2, max_queued=2, body_timeout_s=60) as urls:
        lines = [socket.create_connection((httpx.URL(urls.http).host, httpx.URL(urls.http).port)) for _ in range(30)]
        try:
            for line in lines:
                line.sendall(sent)
            with httpx.Client(base_url=urls.http) as client:
                ends = time.monotonic() + 30
                while client.post("/predict", content=JPEG).status_code != 200:  # until slow ones give places back
                    assert time.monotonic() < ends
                assert {client.post("/predict", content=JPEG).status_code for _ in range(20)} == {200}
        finally:
            for line in lines:
                line.close()


def test_connections_beyond_the_limit_may_only_ask_for_the_gateways_state():
    with listening_gateway(FakeBackend(), max_connections=2) as urls:
        with connection(urls.http), connection(urls.http), httpx.Client(base_url=urls.http) as client:
            assert client.get("/livez").status_code == 200
            refused = client.post("/predict", content=JPEG)
            assert (refused.status_code, refused.headers["Connection"]) == (429, "close")
            assert "too many connections" in refused.json()["detail"]
        deadline = time.monotonic() + 30
        while httpx.post(f"{urls.http}/predict", content=JPEG).status_code != 200:  # until it notices the closing
            assert time.monotonic() < deadline


@pytest.mark.parametrize(("how", "code"), [("slowly", "deadline_exceeded"), ("not", "invalid_request")])
async def test_a_grpc_call_without_a_message_in_time_is_ended(how, code):
    never = asyncio.Event()

    async def no_message():
        if how == "slowly":
            await never.wait()
        return
        yield b""

    async with both(body_timeout_s=0.2) as (http, _):
        call = http.channel.stream_unary("/affect.v1.AffectService/Predict")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(no_message())
        assert dict(caught.value.trailing_metadata())["affect-code"] == code
        assert http.gateway.metrics.registry.get_sample_value("affect_requests_queued") == 0


async def test_calls_without_a_message_block_nobody_on_either_api():
    never = asyncio.Event()

    async def no_message():
        await never.wait()
        yield b""

    async with both(max_in_flight=1, max_queued=1, body_timeout_s=60, deadline_ms=60_000) as (http, stub):
        silent = [http.channel.stream_unary("/affect.v1.AffectService/Predict")(no_message()) for _ in range(4)]
        async with asyncio.timeout(30):
            while await outcome_over_http(http, {}) or await outcome_over_rpc(stub, {}):
                await asyncio.sleep(0.05)
        for call in silent:
            call.cancel()
