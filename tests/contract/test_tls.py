"""HTTP and gRPC over TLS, as clients and commands reach them."""

import hashlib
import json

import httpx
import pytest

from affect_client import Client, ServiceUnreachable, connect
from affect_client.predict_command import main as predict
from affect_contract.errors import Unauthorized
from affect_serving import probe
from affect_serving.__main__ import main as serve
from affect_testbed.pictures import encoded, patches
from tests.certificates import self_signed
from tests.gateway import FakeBackend, listening_gateway

JPEG = encoded(patches())
KEY = "affect_of-alice"


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path)


@pytest.fixture
def urls(certificate, tmp_path):
    (tmp_path / "keys").write_text(f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with listening_gateway(
        FakeBackend(), tls_cert=certificate.cert, tls_key=certificate.key, api_keys_file=tmp_path / "keys"
    ) as urls:
        yield urls


@pytest.mark.parametrize("surface", ["http", "rpc"])
def test_a_client_that_trusts_the_certificate_and_has_a_key_is_answered(urls, certificate, surface):
    url = getattr(urls, surface)
    trusted = {"root_certificates": certificate.cert.read_bytes(), "retries": 0}
    with connect(url, api_key=KEY, **trusted) as client:
        assert client.predict(JPEG).expression
    with connect(url, api_key="another", **trusted) as client, pytest.raises(Unauthorized):
        client.predict(JPEG)
    with connect(url, api_key=KEY, retries=0) as client, pytest.raises(ServiceUnreachable):
        client.predict(JPEG)


def test_browsers_are_asked_to_use_tls_from_then_on(urls, certificate):
    with Client(urls.http, root_certificates=certificate.cert.read_bytes()) as client:
        response = client._http.get("/livez")
    assert "max-age=" in response.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("surface", ["http", "rpc"])
@pytest.mark.parametrize("way", ["file", "environment"])
def test_the_command_takes_its_key_from_a_file_or_the_environment(
    urls, certificate, tmp_path, capsys, monkeypatch, surface, way
):
    (tmp_path / "face.jpg").write_bytes(JPEG)
    (tmp_path / "key").write_text(f"{KEY}\n")
    words = [str(tmp_path / "face.jpg"), "--url", getattr(urls, surface), "--ca", str(certificate.cert), "--json"]
    if way == "file":
        words += ["--api-key-file", str(tmp_path / "key")]
    else:
        monkeypatch.setenv("AFFECT_API_KEY", KEY)
    assert predict(words) == 0
    assert json.loads(capsys.readouterr().out)["expression"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--api-key-file", "nowhere"], "nowhere cannot be read: No such file"),
        (["--api-key-file", "empty"], "empty is empty"),
        (["--api-key-file", "binary"], "binary: api_key holds characters that no key has"),
        (["--ca", "nowhere", "--url", "https://localhost:1"], "nowhere cannot be read"),
        (["--ca", "empty", "--url", "http://localhost:1"], "is without TLS"),
        (["--ca", "binary", "--url", "https://localhost:1"], "not PEM"),
    ],
)
def test_unusable_credentials_are_reported_in_one_line(tmp_path, capsys, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "face.jpg").write_bytes(JPEG)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"se\xffcr\x00et")
    assert predict(["face.jpg", *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert "\ufffd" not in said


@pytest.mark.parametrize("spoil", ["missing", "no PEM", "another key"])
def test_an_unusable_certificate_is_reported_in_one_line(tmp_path, certificate, capsys, spoil):
    if spoil == "missing":
        certificate.cert.unlink()
    elif spoil == "no PEM":
        certificate.cert.write_text("nonsense")
    else:
        (tmp_path / "other").mkdir()
        self_signed(tmp_path / "other").key.replace(certificate.key)
    words = ["--models", str(tmp_path), "--http-port", "0", "--grpc-port", "0"]
    assert serve([*words, "--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]) == 2
    said = capsys.readouterr().err
    assert "AFFECT_TLS_CERT" in said
    assert len(said.splitlines()) == 1


def test_the_probe_of_a_container_finds_a_gateway_behind_tls(urls, certificate, monkeypatch, capsys):
    monkeypatch.setenv("AFFECT_HTTP_PORT", str(httpx.URL(urls.http).port))
    assert probe.main(["/livez"]) == 1
    monkeypatch.setenv("AFFECT_TLS_CERT", str(certificate.cert))
    assert probe.main(["/livez"]) == 0
    assert "/livez: 200" in capsys.readouterr().out


def test_without_tls_browsers_are_not_asked_to_use_it():
    with listening_gateway(FakeBackend()) as urls:
        assert "Strict-Transport-Security" not in httpx.get(f"{urls.http}/livez").headers
