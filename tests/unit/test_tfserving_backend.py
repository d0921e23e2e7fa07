"""The backend over TensorFlow Serving, against its own services on loopback."""

import asyncio
import socket
import subprocess
import threading
import time
from contextlib import asynccontextmanager

import grpc
import httpx
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from affect_contract.errors import (
    AffectError,
    BackendError,
    DeadlineExceeded,
    ErrorCode,
    ModelNotReady,
    Overloaded,
    UnknownModel,
)
from affect_contract.models import MODELS, Backbone, fused
from affect_serving.app import create_backend, running_gateway
from affect_serving.backend import Selector
from affect_serving.backends.tfserving_errors import MEANINGS
from affect_serving.http import create_http_app
from affect_serving.settings import Settings
from tests.pictures import encoded, patches
from tests.tfserving.made_up_models import served, tensor_info
from tests.tfserving.model_server import END, LOADING, ModelServer, ServedVersion, serve
from tests.tfserving.process import free_port

FUSED = fused(Backbone.MOBILENET_V2)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
JPEG = encoded(patches())
STABLE = Selector()


@pytest.fixture
def server():
    """A server of the fused MobileNetV2, version 1."""
    return ModelServer(served(FUSED.name))


@asynccontextmanager
async def backend_of(server, **settings):
    """The backend, started, in front of a server of its own."""
    grpc_server, port = serve(server)
    backend = create_backend(Settings(tfserving=f"127.0.0.1:{port}", **settings))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()
        server.faults.mute = False
        await asyncio.to_thread(grpc_server.stop(0).wait)


@asynccontextmanager
async def gateway_of(server, **settings):
    """An HTTP client of the whole gateway in front of a server of its own."""
    grpc_server, port = serve(server)
    try:
        async with gateway_at(port, **settings) as client:
            yield client
    finally:
        server.faults.mute = False
        await asyncio.to_thread(grpc_server.stop(0).wait)


@asynccontextmanager
async def gateway_at(port, **settings):
    chosen = Settings(tfserving=f"127.0.0.1:{port}", **settings)
    async with (
        running_gateway(chosen, create_backend(chosen)) as running,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_http_app(*running)), base_url="http://gateway"
        ) as client,
    ):
        yield client


async def ask(backend, selector=STABLE, images=IMAGES, timeout_s=10.0, model=FUSED):
    return await backend.run(model, selector, images, timeout_s=timeout_s)


async def becomes(condition, timeout_s=20.0):
    """Wait until an awaitable condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("as_tensor_content", [True, False], ids=["tensor_content", "float_val"])
async def test_answers_are_read_from_bytes_and_from_typed_values(server, as_tensor_content):
    server.faults.as_tensor_content = as_tensor_content
    async with backend_of(server) as backend:
        answer = await ask(backend)
    brightness = IMAGES.reshape(3, -1).mean(axis=1) / 256
    np.testing.assert_allclose(answer.outputs["valence"], 1.9 * brightness - 0.99, atol=1e-6)
    assert answer.outputs["probabilities"].shape == (3, 8)
    assert answer.version == 1


async def test_one_typed_value_stands_for_all_pictures(server):
    def fold(response):
        del response.outputs["valence"].float_val[1:]

    server.faults.spoil = fold
    async with backend_of(server) as backend:
        answer = await ask(backend)
    assert np.ptp(answer.outputs["valence"]) == 0


async def test_pictures_go_as_bytes_to_the_default_signature(server):
    async with backend_of(server) as backend:
        await ask(backend)
    (request,) = server.predictions
    tensor = request.inputs["images"]
    assert request.model_spec.signature_name == "serving_default"
    assert tensor.dtype == types_pb2.DT_UINT8
    assert tensor.tensor_content == IMAGES.tobytes()


async def test_more_pictures_than_a_batch_holds_are_asked_in_several_of_one_version(server):
    images = np.repeat(IMAGES, 24, axis=0)[:70]
    async with backend_of(server) as backend:
        answer = await ask(backend, images=images)
    assert len(answer.outputs["valence"]) == 70
    assert [len(request.inputs["images"].tensor_content) // 150_528 for request in server.predictions] == [32, 32, 6]
    assert [request.model_spec.version.value for request in server.predictions[1:]] == [1, 1]


async def test_a_request_for_nothing_in_particular_asks_for_the_label_stable():
    server = ModelServer(served(FUSED.name, versions=(1, 2), labels={"stable": 1, "canary": 2}))
    async with backend_of(server) as backend:
        assert (await ask(backend)).version == 1
        assert (await ask(backend, Selector(label="canary"))).version == 2
        assert (await ask(backend, Selector(version=2))).version == 2
    assert [request.model_spec.WhichOneof("version_choice") for request in server.predictions] == [
        "version_label", "version_label", "version",
    ]  # fmt: skip


async def test_a_server_without_labels_is_asked_for_its_latest_version():
    server = ModelServer(served(FUSED.name, versions=(3, 7), labels={}))
    async with backend_of(server) as backend:
        assert (await ask(backend)).version == 7
        with pytest.raises(UnknownModel):
            await ask(backend, Selector(label="canary"))


async def test_the_catalog_says_what_the_server_has():
    server = ModelServer(served(FUSED.name, "densenet121_classification", versions=(1, 2), labels={"stable": 2}))
    server.models[FUSED.name].versions[3] = ServedVersion(LOADING)
    server.models[FUSED.name].versions[4] = ServedVersion(END)
    async with backend_of(server) as backend:
        catalog = await backend.catalog()
    assert [(one.number, one.state, one.labels) for one in catalog[FUSED]] == [
        (1, "AVAILABLE", ()), (2, "AVAILABLE", ("stable",)), (3, "LOADING", ()),
    ]  # fmt: skip
    assert set(catalog) == {FUSED, MODELS["densenet121_classification"]}


async def test_only_the_backbones_configured_are_asked_for():
    server = ModelServer(served(FUSED.name, "densenet121_affect"))
    async with backend_of(server, backbones="densenet121") as backend:
        assert set(await backend.catalog()) == {MODELS["densenet121_affect"]}


def wrong_input_name(declared):
    declared.inputs["pixels"].CopyFrom(declared.inputs.pop("images"))


def wrong_input_type(declared):
    declared.inputs["images"].dtype = types_pb2.DT_FLOAT


def wrong_label_count(declared):
    declared.outputs["probabilities"].CopyFrom(tensor_info(types_pb2.DT_FLOAT, -1, 7))


@pytest.mark.parametrize(
    ("change", "part"),
    [(wrong_input_name, "pixels"), (wrong_input_type, "DT_FLOAT"), (wrong_label_count, "7")],
)
async def test_a_model_that_is_not_the_contracts_is_refused_with_what_differs(server, change, part):
    change(server.models[FUSED.name].versions[1].runnable.signatures["serving_default"])
    async with gateway_of(server) as client:
        answer = await client.post("/predict", content=JPEG)
        ready = await client.get("/readyz")
        listed = await client.get("/models")
    assert answer.json()["code"] == "backend_error"
    assert part in answer.json()["detail"]
    assert ready.status_code == 503
    assert part in ready.json()["reasons"]["mobilenet_v2"]
    assert part in listed.json()["models"][0]["versions"][0]["problem"]
    assert not server.predictions


async def test_a_fused_model_that_is_refused_leaves_the_pair_to_answer():
    names = ("mobilenet_v2_affect", "mobilenet_v2_classification", "mobilenet_v2_regression")
    server = ModelServer(served(*names))
    wrong_input_type(server.models[names[0]].versions[1].runnable.signatures["serving_default"])
    async with gateway_of(server) as client:
        answer = await client.post("/predict", content=JPEG)
    assert set(answer.json()["model"]["versions"]) == set(names[1:])


async def test_a_version_that_does_not_load_is_told_and_the_old_one_serves_on():
    server = ModelServer(served(FUSED.name))
    server.models[FUSED.name].versions[2] = ServedVersion(LOADING, None, 3, "saved_model.pb is cut off")
    async with gateway_of(server) as client:
        answer = await client.post("/predict", content=JPEG)
        listed = await client.get("/models")
        asked = await client.post("/predict?version=2", content=JPEG)
    assert answer.json()["model"]["versions"] == {FUSED.name: 1}
    assert "saved_model.pb is cut off" in listed.json()["models"][0]["versions"][1]["problem"]
    assert asked.json()["code"] == "backend_error"


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
async def test_every_status_of_the_server_is_one_error_of_the_table(server, status):
    async with backend_of(server) as backend:
        server.faults.failure = (status, "on purpose")
        with pytest.raises(MEANINGS[status].error) as caught:
            await ask(backend)
    assert "on purpose" not in caught.value.detail


@pytest.mark.parametrize(
    ("status", "text", "error", "named"),
    [
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", Overloaded, None),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", Overloaded, None),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", BackendError, "AFFECT_MAX_BATCH_IMAGES"),
        ("INVALID_ARGUMENT", "Task size 9 is larger than maximum input batch size 8", BackendError, "batching.config"),
        ("INVALID_ARGUMENT", "Unrecognized servable version label: stable", ModelNotReady, None),
        ("UNIMPLEMENTED", "", BackendError, "AFFECT_TFSERVING"),
    ],
)
async def test_texts_that_say_more_than_the_status_are_heard(server, status, text, error, named):
    async with backend_of(server) as backend:
        server.faults.failure = (grpc.StatusCode[status], text)
        with pytest.raises(error, match=named):
            await ask(backend)
    assert len(server.predictions) == 1, "it was sent again"


async def test_more_calls_than_the_server_has_threads_are_overload_and_not_sent_again(server):
    server.max_threads, server.faults.delay_s = 2, 0.3
    async with backend_of(server) as backend:
        outcomes = await asyncio.gather(*(ask(backend) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 6
    assert all(outcome.retry_after_s for outcome in outcomes if isinstance(outcome, AffectError))


async def test_a_batch_larger_than_the_server_takes_names_the_setting(server):
    server.max_batch_size = 2
    async with backend_of(server) as backend:
        with pytest.raises(BackendError, match="AFFECT_MAX_BATCH_IMAGES"):
            await ask(backend)


async def test_what_is_left_of_the_deadline_goes_with_the_call(server):
    server.faults.delay_s = 5
    async with backend_of(server) as backend:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await ask(backend, timeout_s=0.2)
        assert time.monotonic() - started < 2
        await becomes(lambda: _cancelled(server))


async def test_a_cancelled_request_stops_its_call(server):
    server.faults.delay_s = 5
    async with backend_of(server) as backend:
        call = asyncio.create_task(ask(backend))
        await becomes(lambda: _predicting(server))
        call.cancel()
        await becomes(lambda: _cancelled(server))


async def test_an_answer_of_another_version_is_no_answer(server):
    server.faults.answered_version = 5
    async with backend_of(server) as backend:
        with pytest.raises(BackendError, match="version 5"):
            await ask(backend, Selector(version=1))


def without_valence(response):
    del response.outputs["valence"]


def as_integers(response):
    response.outputs["valence"].dtype = types_pb2.DT_INT32


def of_fewer(response):
    response.outputs["valence"].tensor_shape.dim[0].size = 2


def without_values(response):
    response.outputs["valence"].ClearField("float_val")


def cut_off(response):
    response.outputs["valence"].ClearField("float_val")
    response.outputs["valence"].tensor_content = b"123"


@pytest.mark.parametrize("spoil", [without_valence, as_integers, of_fewer, without_values, cut_off])
async def test_an_answer_that_cannot_be_used_is_a_backend_error(server, spoil):
    server.faults.spoil = spoil
    async with backend_of(server) as backend:
        with pytest.raises(BackendError, match="valence"):
            await ask(backend)


async def test_a_server_that_is_not_there_yet_is_waited_for():
    port = free_port()
    async with gateway_at(port) as client:
        ready = await client.get("/readyz")
        answer = await client.post("/predict", content=JPEG)
        assert ready.status_code == answer.status_code == 503
        assert ready.json()["waiting_for"]
        assert answer.json()["code"] == "model_not_ready"
        assert "AFFECT_TFSERVING" in answer.json()["detail"]
        grpc_server, _ = serve(ModelServer(served(FUSED.name)), port)
        await becomes(lambda: _ready(client))
        assert (await client.post("/predict", content=JPEG)).status_code == 200
        await asyncio.to_thread(grpc_server.stop(0).wait)


async def test_a_restarted_server_serves_again_and_meanwhile_nothing_else_is_said():
    port = free_port()
    grpc_server, _ = serve(ModelServer(served(FUSED.name)), port)
    seen = []
    async with gateway_at(port) as client:
        running = True

        async def load():
            while running:
                answer = await client.post("/predict", content=JPEG)
                seen.append((answer.status_code, answer.json().get("code")))
                await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(grpc_server.stop(0).wait)
        await becomes(lambda: _not_ready(client))
        grpc_server, _ = serve(ModelServer(served(FUSED.name)), port)
        await becomes(lambda: _ready(client))
        assert (await client.post("/predict", content=JPEG)).status_code == 200
        running = False
        await asyncio.gather(*tasks)
        await asyncio.to_thread(grpc_server.stop(0).wait)
    assert set(seen) == {(200, None), (503, "model_not_ready")}


async def test_a_mute_server_is_noticed_and_found_again(server):
    async with gateway_of(server) as client:
        server.faults.mute = True
        await becomes(lambda: _not_ready(client))
        answer = await client.post("/predict", content=JPEG)
        assert answer.json()["code"] == "model_not_ready"
        server.faults.mute = False
        await becomes(lambda: _ready(client))


async def test_calls_that_found_no_connection_are_sent_again_within_a_tenth_of_all(server, monkeypatch):
    async with backend_of(server) as backend:
        await ask(backend)
        sent = []

        async def refuse(request, *, timeout, wait_for_ready=False):
            sent.append(wait_for_ready)
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, None, None, "connections to all backends failing; last error: refused"
            )

        monkeypatch.setattr(backend, "_predict", refuse)
        for _ in range(100):
            with pytest.raises(ModelNotReady):
                await ask(backend)
    assert 5 <= sum(sent) <= 11


async def test_calls_that_may_have_reached_a_server_are_not_sent_again(server):
    server.faults.failure = (grpc.StatusCode.UNAVAILABLE, "Socket closed")
    async with backend_of(server) as backend:
        with pytest.raises(ModelNotReady):
            await ask(backend)
    assert len(server.predictions) == 1


async def test_a_configured_backbone_that_the_server_lacks_keeps_the_gateway_waiting(server):
    async with gateway_of(server, backbones="mobilenet_v2,densenet121") as client:
        ready = await client.get("/readyz")
        lacking = await client.post("/predict?backbone=densenet121", content=JPEG)
        served_one = await client.post("/predict?backbone=mobilenet_v2", content=JPEG)
    assert ready.json()["waiting_for"] == ["densenet121"]
    assert lacking.json()["code"] == "model_not_ready"
    assert "AFFECT_BACKBONES" in lacking.json()["detail"]
    assert served_one.status_code == 200


@pytest.mark.parametrize("query", ["backbone=densenet121", "backbone=nonsense", "version=9", "label=canary"])
async def test_what_the_server_does_not_serve_is_unknown(server, query):
    async with gateway_of(server) as client:
        answer = await client.post(f"/predict?{query}", content=JPEG)
    assert answer.json()["code"] == ErrorCode.UNKNOWN_MODEL


async def test_a_server_of_none_of_the_models_is_not_ready():
    async with gateway_of(ModelServer({})) as client:
        ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert "affect-train" in next(iter(ready.json()["reasons"].values()))


async def test_a_web_server_on_the_port_is_said_to_be_one():
    with WebServer() as port:
        async with gateway_at(port) as client:
            answer = await client.post("/predict", content=JPEG)
    assert answer.json()["code"] == "backend_error"
    assert "AFFECT_TFSERVING" in answer.json()["detail"]


async def test_another_grpc_service_on_the_port_is_said_to_be_one():
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
    grpc_server, port = serve(ModelServer(served(FUSED.name)), credentials=credentials)
    yield port
    await asyncio.to_thread(grpc_server.stop(0).wait)


async def test_tls_to_the_server_answers_and_shows_the_clients_certificate(certificate):
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


async def _cancelled(server):
    return server.cancelled == 1


async def _predicting(server):
    return bool(server.predictions)


async def _ready(client):
    return (await client.get("/readyz")).status_code == 200


async def _not_ready(client):
    return (await client.get("/readyz")).status_code == 503
