"""Recovery from faults of callers, of the machine's memory and of its disk."""

import resource
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

import grpc
import httpx
import psutil
import pytest
from PIL import Image

from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_registry import store
from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import ModelServer, serve
from affect_testbed.pictures import encoded
from tests.faults.gateway_process import ANSWERED, JPEG, assert_recovers, gateway_process, until
from tests.tfserving.gateways import FUSED

CONNECTIONS = 2_000
CALLERS = 100
HEAD = b"POST /predict HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % len(JPEG)


@pytest.fixture(scope="module")
def server():
    return ModelServer(served_models(FUSED.name))


@pytest.fixture(scope="module")
def gateway(server):
    grpc_server, port = serve(server)
    options = ("--tfserving", f"127.0.0.1:{port}", "--backbones", FUSED.backbone, "--body-timeout-s", 2)
    with gateway_process(*options) as gateway:
        until(lambda: gateway.ask() == ANSWERED)
        yield gateway
    grpc_server.stop(0).wait()


@pytest.fixture(autouse=True)
def ended(server):
    yield
    server.faults.delay_s = 0


def connected(url):
    parts = httpx.URL(url)
    line = socket.create_connection((parts.host, parts.port), timeout=30)
    # With this option closing the socket sends a reset, as if the caller's process had been killed.
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return line


def is_alive(gateway):
    """Whether a liveness probe is answered.

    It may find the places for connections beyond the limit taken, each for a second.
    """
    try:
        return httpx.get(f"{gateway.http}/livez", timeout=30, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def room_for_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        pytest.skip(f"this process may open {hard} files, and {count} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("begun", [b"", HEAD[:30], HEAD + JPEG[:100]], ids=["idle", "half a head", "half a body"])
def test_thousands_of_idle_connections(gateway, begun):
    def fault():
        with ExitStack() as lines:
            for _ in range(CONNECTIONS):
                lines.enter_context(line := connected(gateway.http))
                if begun:
                    line.send(begun)
            until(lambda: is_alive(gateway))

    with room_for_files(CONNECTIONS + 500):
        assert_recovers(gateway, fault)


@pytest.mark.parametrize("sent", [HEAD + JPEG[:100], HEAD + JPEG], ids=["within a body", "before the answer"])
def test_callers_that_vanish(gateway, server, sent):
    def fault():
        server.faults.delay_s = 0.5
        for _ in range(CALLERS):
            with connected(gateway.http) as line:
                line.sendall(sent)
        server.faults.delay_s = 0

    assert_recovers(gateway, fault)


def test_callers_that_vanish_over_grpc(gateway, server):
    def fault():
        server.faults.delay_s = 0.5
        with grpc.insecure_channel(gateway.rpc) as channel:
            stub = affect_pb2_grpc.AffectServiceStub(channel)
            calls = [stub.Predict.future(affect_pb2.PredictRequest(image=JPEG)) for _ in range(CALLERS)]
            streams = [
                stub.PredictStream(iter([affect_pb2.StreamRequest(request=affect_pb2.PredictRequest(image=JPEG))]))
                for _ in range(10)
            ]
            for one in [*calls, *streams]:
                one.cancel()
        server.faults.delay_s = 0

    assert_recovers(gateway, fault)


def test_a_process_at_its_memory_limit(gateway):
    """A picture that finds no memory fails alone; the gateway keeps serving."""
    large = encoded(Image.new("RGB", (6_000, 6_000)), "JPEG", quality=1)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def send():
        headers = {"Content-Type": "image/jpeg"}
        return httpx.post(f"{gateway.http}/predict", content=large, headers=headers, timeout=60, trust_env=False)

    def fault():
        limit = gateway.process.memory_info().vms + 32 * 2**20
        gateway.process.rlimit(psutil.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            refused = send()
            assert (refused.status_code, refused.json()["code"]) == (500, "internal")
            assert gateway.ask() == ANSWERED
        finally:
            gateway.process.rlimit(psutil.RLIMIT_AS, unlimited)

    assert_recovers(gateway, fault)
    assert send().status_code == 200


def test_a_full_disk_leaves_what_is_served_as_it_was(tmp_path):
    name = FUSED.name
    store.write(tmp_path, {name: store.Entry(name, PurePosixPath(tmp_path / name), (1,), {"stable": 1})})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", WRITES_A_VERSION_MORE, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{tmp_path / store.CONFIG_FILE} cannot be written: File too large\n", done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


WRITES_A_VERSION_MORE = """
import resource, signal, sys
from dataclasses import replace
from pathlib import Path
from affect_registry import store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
root = Path(sys.argv[1])
(entry,) = store.read(root).values()
try:
    store.write(root, {entry.name: replace(entry, versions=(1, 2))})
except store.StoreError as exc:
    print(exc)
"""
