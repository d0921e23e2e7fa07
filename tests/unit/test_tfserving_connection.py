"""Servers at AFFECT_TFSERVING that are not TensorFlow Serving, or that use TLS."""

import asyncio
import socket
import subprocess
import threading
from contextlib import asynccontextmanager

import grpc
import pytest

from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import ModelServer, serve
from tests.tfserving.gateways import (
    FUSED,
    JPEG,
    gateway_at,
)


async def test_a_web_server_on_the_port_is_recognised():
    with WebServer() as port:
        async with gateway_at(port) as client:
            answer = await client.post("/predict", content=JPEG)
    assert answer.json()["code"] == "backend_error"
    assert "AFFECT_TFSERVING" in answer.json()["detail"]


async def test_another_grpc_service_on_the_port_is_recognised():
    other = grpc.aio.server()
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    async with gateway_at(port) as client:
        answer = await client.post("/predict", content=JPEG)
    await other.stop(None)
    assert answer.json()["code"] == "backend_error"
    assert "8500" in answer.json()["detail"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of tfserving.example and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "2", "-subj", "/CN=tfserving.example", "-addext", "subjectAltName=DNS:tfserving.example"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@asynccontextmanager
async def tls_server(certificate, *, of_clients=False):
    cert, key = (path.read_bytes() for path in certificate)
    credentials = grpc.ssl_server_credentials([(key, cert)], cert if of_clients else None, of_clients)
    grpc_server, port = serve(ModelServer(served_models(FUSED.name)), credentials=credentials)
    yield port
    await asyncio.to_thread(grpc_server.stop(0).wait)


async def test_tls_to_the_server_works_and_presents_the_clients_certificate(certificate):
    cert, key = certificate
    async with tls_server(certificate, of_clients=True) as port:
        settings = {"tfserving_tls": True, "tfserving_ca": cert, "tfserving_cert": cert, "tfserving_key": key}
        async with gateway_at(port, **settings, tfserving_server_name="tfserving.example") as client:
            answer = await client.post("/predict", content=JPEG)
    assert answer.status_code == 200


@pytest.mark.parametrize("trusting", [True, False], ids=["another-name", "an-unknown-authority"])
async def test_a_certificate_that_does_not_match_names_the_settings(certificate, trusting):
    async with tls_server(certificate) as port:
        settings = {"tfserving_ca": certificate[0]} if trusting else {}
        async with gateway_at(port, tfserving_tls=True, **settings) as client:
            answer = await client.post("/predict", content=JPEG)
    assert answer.json()["code"] == "backend_error"
    assert "AFFECT_TFSERVING_CA" in answer.json()["detail"]


async def test_a_server_that_expects_tls_names_the_setting(certificate):
    async with tls_server(certificate) as port, gateway_at(port) as client:
        answer = await client.post("/predict", content=JPEG)
        ready = await client.get("/readyz")
    assert answer.json()["code"] == "model_not_ready"
    assert "AFFECT_TFSERVING_TLS" in answer.json()["detail"]
    assert "AFFECT_TFSERVING_TLS" in next(iter(ready.json()["reasons"].values()))


async def test_a_server_that_requires_client_certificates_names_the_setting(certificate):
    async with tls_server(certificate, of_clients=True) as port:
        settings = {"tfserving_tls": True, "tfserving_ca": certificate[0]}
        async with gateway_at(port, **settings, tfserving_server_name="tfserving.example") as client:
            answer = await client.post("/predict", content=JPEG)
    assert answer.json()["code"] == "model_not_ready"
    assert "AFFECT_TFSERVING_CERT" in answer.json()["detail"]


class WebServer:
    """Answers everything as a web server does."""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()
        return self._socket.getsockname()[1]

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _answer(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n")
