"""Clients: typed answers, the gateway's errors as themselves, and a clear word where there is no gateway."""

import json
from pathlib import Path

import httpx
import pytest

from affect_client.errors import ServiceUnreachable
from affect_client.http import AsyncClient, Client
from affect_client.local_gateway import local_gateway
from affect_client.predict import find_pictures, main
from affect_contract.errors import FAULTS, AffectError, BackendError, ErrorCode, InvalidImage
from affect_contract.schemas import Prediction
from affect_serving.app import running_app
from affect_serving.settings import Settings
from tests.gateway import FakeBackend
from tests.pictures import encoded, patches

JPEG = encoded(patches())
PREDICTION = {
    "expression": "happy", "expression_id": 1, "confidence": 0.5, "probabilities": {"happy": 0.5},
    "valence": 0.25, "arousal": None,
    "model": {"backbone": "custom_cnn", "versions": {"custom_cnn_classification": 3}}, "request_id": "r",
}  # fmt: skip


def answering(handler) -> Client:
    return Client("http://gateway", transport=httpx.MockTransport(handler))


async def test_both_clients_and_the_real_gateway_understand_each_other():
    backend = FakeBackend()
    async with running_app(Settings(models="unused"), backend) as app:
        transport = httpx.ASGITransport(app)
        async with AsyncClient("http://gateway", transport=transport) as client:
            answer = await client.predict(JPEG, label="stable")
            assert isinstance(answer, Prediction)
            batch = await client.predict_batch([JPEG, b"text"])
            assert isinstance(batch[0], Prediction)
            assert isinstance(batch[1], InvalidImage)
            assert (await client.models()).default_backbone == "mobilenet_v2"
            assert (await client.ready()).waiting_for == []
            with pytest.raises(InvalidImage) as caught:
                await client.predict(b"text")
            assert caught.value.request_id
            backend.catalogue = {}
            assert (await client.ready()).waiting_for == []


def test_the_blocking_client_sends_what_the_gateway_expects():
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=PREDICTION)

    with Client("http://gateway/", timeout_s=2.5, api_key="k", transport=httpx.MockTransport(handler)) as client:
        answer = client.predict(JPEG, backbone="custom_cnn", version=3)
    assert answer == Prediction.model_validate(PREDICTION)
    (request,) = seen
    assert str(request.url) == "http://gateway/predict?backbone=custom_cnn&version=3"
    assert request.headers["Affect-Timeout-Ms"] == "2500"
    assert request.headers["Authorization"] == "Bearer k"
    assert JPEG in request.content


@pytest.mark.parametrize("code", ErrorCode)
def test_every_problem_becomes_the_class_of_its_code(code):
    problem = {"title": "t", "status": FAULTS[code].http, "code": code, "detail": "why", "request_id": "r"}

    def handler(_):
        return httpx.Response(FAULTS[code].http, json=problem, headers={"Retry-After": "3"})

    with answering(handler) as client, pytest.raises(AffectError) as caught:
        client.predict(JPEG)
    assert type(caught.value) is AffectError.by_code[code]
    assert (caught.value.detail, caught.value.request_id, caught.value.retry_after_s) == ("why", "r", 3.0)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>welcome</html>"),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(200, json={"label": "cat"}),
        httpx.Response(404, json={"code": "no_such_code"}),
    ],
    ids=["a web page", "a proxy's error", "another service", "another service's error"],
)
def test_what_no_gateway_of_ours_would_say_is_named_with_the_url(response):
    expected = pytest.raises(BackendError, match="http://gateway/predict answered .* which no Affect gateway does")
    with answering(lambda _: response) as client, expected:
        client.predict(JPEG)


def test_no_gateway_is_said_with_the_url_and_what_to_do():
    def handler(_):
        raise httpx.ConnectError("connection refused")

    with answering(handler) as client, pytest.raises(ServiceUnreachable, match="at http://gateway .*affect-serve"):
        client.models()


def test_pictures_are_found_in_folders_at_any_depth_and_in_order(tmp_path):
    for name in ("b.png", "a/2.JPG", "a/1.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_pictures([tmp_path, tmp_path / "notes.txt"])
    assert [str(file.relative_to(tmp_path)) for file in found] == ["a/1.webp", "a/2.JPG", "b.png", "notes.txt"]


@pytest.mark.parametrize("spoil", ["missing file", "empty folder", "nobody there"])
def test_when_nothing_can_be_asked_one_line_says_why(tmp_path, capsys, spoil):
    (tmp_path / "face.jpg").write_bytes(JPEG)
    (tmp_path / "empty").mkdir()
    image = {"missing file": "nowhere.jpg", "empty folder": "empty", "nobody there": "face.jpg"}[spoil]
    assert main([str(tmp_path / image), "--url", "http://127.0.0.1:9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("affect-predict: ")


def fake_gateway(folder: Path, script: str, monkeypatch) -> None:
    """Stand a script in for the gateway's process."""
    (folder / "affect_serving").mkdir()
    (folder / "affect_serving" / "__init__.py").touch()
    (folder / "affect_serving" / "__main__.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_gateway_of_ones_own_ends_with_the_call(tmp_path, monkeypatch):
    script = f"import time, pathlib, os; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
    script += "print('affect-serve: ready on http://127.0.0.1:1', flush=True); time.sleep(600)"
    fake_gateway(tmp_path, script, monkeypatch)
    with local_gateway(tmp_path) as url:
        assert url == "http://127.0.0.1:1"
        pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("import sys; sys.exit('affect-serve: there is no models directory')", "there is no models directory"),
        ("pass", "it said nothing"),
    ],
)
def test_a_gateway_that_does_not_start_is_quoted(tmp_path, monkeypatch, script, word):
    fake_gateway(tmp_path, script, monkeypatch)
    with pytest.raises(ServiceUnreachable, match=f"did not start: {word}"), local_gateway(tmp_path):
        pass


def test_json_output_is_a_document_a_line_and_bad_pictures_do_not_stop_the_others(tmp_path, monkeypatch, capsys):
    server = Path(__file__).parent / "answering_server.py"
    fake_gateway(tmp_path, server.read_text(), monkeypatch)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, data in (("1.jpg", b"good"), ("2.jpg", b"bad"), ("3.jpg", b"good")):
        (pictures / name).write_bytes(data)
    assert main([str(pictures), "--models", str(tmp_path), "--json"]) == 1
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["file"]).name for one in documents] == ["1.jpg", "2.jpg", "3.jpg"]
    assert documents[1]["error"] == {"code": "invalid_image", "detail": "bad picture"}
    assert documents[2]["valence"] == 0.25
    assert main([str(pictures), "--models", str(tmp_path)]) == 1
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["picture", "expression", "confidence", "valence", "arousal", "model"]
    assert table[1].split()[1:] == ["happy", "0.500", "+0.250", "-", "custom_cnn_classification@3"]
    assert table[2].endswith("invalid_image: bad picture")
