"""The connections of the HTTP clients: how long, to which addresses, through which proxies, and how many."""

import asyncio
import time
from contextlib import suppress

import httpx
import pytest

from affect_client import AsyncClient, Client, ServiceUnreachable
from affect_client.http.calls import client_arguments
from affect_contract.errors import DeadlineExceeded
from tests.unit import client_gateway
from tests.unit.client_gateway import FakeGateway

URL = "http://gateway.test:8080"
PICTURE = b"\xff\xd8 a face"


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nX-Endless: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "chunk", "header", "informational"],
)
async def test_an_answer_that_drips_is_not_waited_for_longer_than_the_whole_call_may_take(kind, start, drop):
    dripped, ended = [], asyncio.Event()

    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(drop)
                dripped.append(drop)
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        ended.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.3 s"):
            await _asked(kind, url, "models")
        assert 1 < len(dripped) < 100
        await ended.wait()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_picture_that_is_taken_slowly_is_not_sent_for_longer_than_the_whole_call_may_take(kind):
    over, ended = asyncio.Event(), asyncio.Event()

    async def sip(reader, writer):
        while not over.is_set():
            await reader.read(2**16)
            await asyncio.sleep(0.05)
        writer.close()
        ended.set()

    async with await asyncio.start_server(sip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await _asked(kind, url, "predict", bytes(2**25))
        assert time.monotonic() - started < 5
        over.set()
        await ended.wait()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_proxy_of_the_environment_is_on_the_way_to_others_and_not_to_loopback(kind, gateway, monkeypatch):
    with gateway.listening() as url:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert await _asked(kind, url, "models", timeout_s=10)
        monkeypatch.setenv("http_proxy", url)
        assert await _asked(kind, URL, "models", timeout_s=10), "a name that only a proxy can know"


async def _asked(kind, url, method, *arguments, timeout_s=0.3):
    """What a method of a client of ``kind`` gives."""
    if kind is Client:
        with Client(url, timeout_s=timeout_s) as client:
            return await asyncio.to_thread(getattr(client, method), *arguments)
    async with AsyncClient(url, timeout_s=timeout_s) as client:
        return await getattr(client, method)(*arguments)


def test_connections_are_kept_for_all_that_is_in_flight(gateway, monkeypatch):
    connections = []
    get_request = client_gateway._Server.get_request
    reply = gateway.reply

    def counted(server):
        connections.append(server)
        return get_request(server)

    def slowly(*request):
        time.sleep(0.01)
        return reply(*request)

    monkeypatch.setattr(client_gateway._Server, "get_request", counted)
    monkeypatch.setattr(gateway, "reply", slowly)
    with gateway.listening() as url, Client(url) as client:
        assert len(list(client.predict_many([PICTURE] * 400, in_flight=40))) == 400
    assert len(connections) <= 40


@pytest.mark.parametrize("url", ["", "gateway", "gateway:8080", "ftp://gateway", "http://", "http://a:port"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_url_of_a_gateway_is_refused_with_an_example(kind, url):
    with pytest.raises(ServiceUnreachable, match="give one like http://127.0.0.1:8080"):
        kind(url)


@pytest.mark.parametrize("url", [URL, URL + "/"])
async def test_a_slash_at_the_end_of_the_url_changes_nothing(url, gateway):
    async with AsyncClient(url, transport=gateway.transport()) as client:
        assert (await client.models()).default_backbone == "mobilenet_v2"


def test_a_gateway_below_a_path_is_asked_there():
    paths = []

    def handle(request):
        paths.append(request.url.path)
        return httpx.Response(200, json={"waiting_for": []})

    with Client("http://gateway.test/affect/", transport=httpx.MockTransport(handle)) as client:
        client.ready()
    assert paths == ["/affect/readyz"]


@pytest.mark.parametrize(
    ("url", "through_proxies"),
    [("http://127.0.0.1:1", False), ("http://localhost:1", False), ("http://[::1]:1", False), (URL, True)],
)
def test_proxies_of_the_environment_never_stand_before_the_own_machine(url, through_proxies):
    assert client_arguments(url, None, None)["trust_env"] is through_proxies
