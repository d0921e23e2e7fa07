"""Early refusals: a full gateway refuses requests at next to no cost, with the same answers as ever."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from contextlib import contextmanager
from unittest.mock import patch

import httpx
import pytest

from affect_serving.http.gate import HttpGate
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend, listening_gateway

JPEG = encoded(patches())
KEY = "affect_a-key-that-is-accepted"
PATIENCE_S = 30
GET_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n"


class HeldBackend(FakeBackend):
    """A backend that answers once it is released."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    async def run(self, *arguments, **options):
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return await super().run(*arguments, **options)


@contextmanager
def full_gateway(**settings):
    """The URL of a gateway with one picture in work, another waiting, and no room for more."""
    backend = HeldBackend()
    with listening_gateway(backend, max_in_flight=1, max_queued=1, deadline_ms=600_000, **settings) as urls:

        def ask():
            headers = {"Authorization": f"Bearer {KEY}"}
            httpx.post(f"{urls.http}/predict", content=JPEG, headers=headers, timeout=PATIENCE_S)

        inside = [threading.Thread(target=ask) for _ in range(2)]
        for one in inside:
            one.start()
        try:
            ends = time.monotonic() + PATIENCE_S
            while "affect_requests_queued 1.0" not in httpx.get(f"{urls.http}/metrics").text:
                assert time.monotonic() < ends
                time.sleep(0.01)
            yield urls.http
        finally:
            backend.released.set()
            for one in inside:
                one.join()


def post(*headers, version="1.1", body=JPEG):
    lines = [f"POST /predict HTTP/{version}", "Host: gateway", f"Content-Length: {len(JPEG)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(url, *sent, most=None):
    """The status, headers and body of each answer on one connection, up to its end or up to ``most`` answers."""
    address, found = httpx.URL(url), []
    with socket.create_connection((address.host, address.port), PATIENCE_S) as line, line.makefile("rb") as file:
        for piece in sent:
            line.sendall(piece)
        while len(found) != most and (status := file.readline()):
            headers = httpx.Headers([tuple(header.split(b": ", 1)) for header in iter_head(file)])
            found.append((int(status.split()[1]), headers, file.read(int(headers["Content-Length"]))))
    return found


def iter_head(file):
    while line := file.readline().rstrip():
        yield line


def test_a_refusal_does_not_call_the_application():
    async def not_called(*_):
        raise AssertionError("the application was called for a request that is refused")

    with full_gateway() as url, patch.object(HttpGate, "__call__", not_called):
        ((status, _, body),) = answers(url, post(), most=1)
    assert (status, json.loads(body)["code"]) == (429, "overloaded")


def test_an_early_refusal_has_the_same_answer_as_a_later_one():
    with full_gateway() as url:
        ((status, early, body),) = answers(url, post("X-Request-Id: mine"), most=1)
        with patch.object(HttpGate, "refusal", lambda *_: None):
            late = httpx.post(f"{url}/predict", content=JPEG, headers={"X-Request-Id": "mine"})
    assert status == late.status_code
    assert json.loads(body) == late.json()
    assert int(early["Retry-After"]) >= 1
    assert early["X-Request-Id"] == "mine"
    date = {"date": ""}  # the answers may come in different seconds
    assert dict(early.items()) | date == dict(late.headers.items()) | date


def test_a_refusal_is_counted_and_logged_with_its_request_id(caplog):
    caplog.set_level("INFO", "affect.access")
    with full_gateway(access_log_sample=1.0) as url:
        answers(url, post("X-Request-Id: mine"), most=1)
        metrics = httpx.get(f"{url}/metrics").text
    assert 'affect_rejected_total{reason="queue_full"} 1.0' in metrics
    assert 'affect_requests_total{code="overloaded",route="/predict",status="429"} 1.0' in metrics
    (line,) = (text for record in caplog.records if "/predict 429 overloaded" in (text := record.getMessage()))
    assert line.endswith("request mine")


def test_the_connection_serves_the_next_request_however_the_refused_body_arrives():
    head = post(body=b"")
    with full_gateway() as url:
        found = answers(url, post() * 2, head, JPEG[:50], JPEG[50:], post() + GET_LIVEZ, most=5)
    assert [status for status, _, _ in found] == [429] * 4 + [200]


def test_thousands_of_pipelined_requests_are_answered_in_turn():
    chunk = post("Content-Type: image/jpeg", body=b"").replace(str(len(JPEG)).encode(), b"0")
    with full_gateway() as url:
        found = answers(url, GET_LIVEZ + chunk * 3_000 + GET_LIVEZ, most=3_002)
    assert [status for status, _, _ in found] == [200] + [429] * 3_000 + [200]


@pytest.mark.parametrize(("sent", "connection"), [(post(version="1.0"), "close"), (post("Connection: close"), "close")])
def test_a_connection_that_is_to_be_closed_is_closed_after_the_refusal(sent, connection):
    with full_gateway() as url:
        ((status, headers, _),) = answers(url, sent)
    assert (status, headers["Connection"]) == (429, connection)


def test_requests_after_the_last_answer_of_a_connection_are_ignored():
    with full_gateway() as url:
        assert len(answers(url, post("Connection: close") + post() + GET_LIVEZ)) == 1
        metrics = httpx.get(f"{url}/metrics").text
    assert 'affect_requests_total{code="overloaded",route="/predict",status="429"} 1.0' in metrics
    assert 'route="/livez"' not in metrics


def test_a_sender_that_does_not_read_answers_is_no_longer_read():
    small = b"POST /predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n" * 1_000
    with full_gateway() as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port), 2) as line, pytest.raises(TimeoutError):
            for _ in range(2_000):
                line.sendall(small)
        assert httpx.get(f"{url}/livez").status_code == 200


@pytest.mark.parametrize("header", [f"Affect-Timeout-Ms: 1{'0' * 400}", "Affect-Timeout-Ms: 86400001"])
def test_an_invalid_timeout_is_reported_whether_or_not_there_is_room(header):
    with full_gateway() as url:
        ((status, _, body),) = answers(url, post(header), most=1)
    assert (status, json.loads(body)["code"]) == (422, "invalid_request")


def test_a_content_length_with_thousands_of_digits_is_understood():
    with full_gateway() as url:
        sent = post().replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5_000)
        ((status, _, _),) = answers(url, sent, most=1)
    assert status == 429


def test_a_wrong_key_is_reported_whether_or_not_there_is_room(tmp_path):
    (tmp_path / "keys").write_text(f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with full_gateway(api_keys_file=tmp_path / "keys") as url:
        refused, full = answers(url, post(), post(f"Authorization: Bearer {KEY}"), most=2)
    assert (refused[0], refused[1]["WWW-Authenticate"]) == (401, "Bearer")
    assert full[0] == 429


def test_a_body_that_is_too_large_is_reported_whether_or_not_there_is_room():
    with full_gateway(max_image_bytes=len(JPEG)) as url:
        sent = f"POST /predict HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(JPEG) + 1}\r\n\r\n".encode()
        ((status, _, body),) = answers(url, sent, most=1)
    assert (status, json.loads(body)["code"]) == (413, "too_large")


def test_a_page_of_another_origin_can_read_the_refusal():
    with full_gateway(cors_origins="https://example.org") as url:
        ((status, headers, _),) = answers(url, post("Origin: https://example.org"), most=1)
    assert (status, headers["Access-Control-Allow-Origin"]) == (429, "https://example.org")
