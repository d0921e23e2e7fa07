"""The gateway before a model server of its own process, on models as `affect-train` publishes them.

Run against a real TensorFlow Serving where ``TFSERVING_BIN`` names one.
"""

import asyncio
import shutil
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import grpc
import httpx
import numpy as np
import psutil
import pytest
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from affect_client import AsyncClient, Client, GrpcClient, ServiceUnreachable
from affect_contract.errors import AffectError, ErrorCode, UnknownModel
from affect_contract.labels import LABELS
from affect_contract.preprocess import preprocess
from affect_registry import store
from affect_registry.model_server_settings import write_missing_files
from affect_testbed.gateway_process import gateway_process
from affect_testbed.model_server import process
from affect_testbed.pictures import encoded, patches
from tests.conftest import once

PICTURES = [encoded(patches(300, 200, seed=seed)) for seed in range(6)]
PATIENCE_S = 60


@pytest.fixture(scope="session")
def labelled_models(trained, tmp_path_factory):
    """Two versions of the fused MobileNetV2, stable and canary, and the custom CNN's pair."""

    def make(folder: Path) -> None:
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".*"))
        shutil.copytree(folder / "mobilenet_v2_affect/1", folder / "mobilenet_v2_affect/2")
        pair = ("custom_cnn_classification", "custom_cnn_regression")
        entries = {name: store.Entry(name, PurePosixPath(folder / name), (1,), {"stable": 1}) for name in pair}
        name = "mobilenet_v2_affect"
        entries[name] = store.Entry(name, PurePosixPath(folder / name), (1, 2), {"stable": 1, "canary": 2})
        store.write(folder, entries)
        write_missing_files(folder)

    return once(tmp_path_factory, "labelled_models", make)


@pytest.fixture(scope="module")
def server(labelled_models, tmp_path_factory):
    """A model server that answers; gives its port."""
    with process.model_server(labelled_models, tmp_path_factory.mktemp("server")) as (_, port):
        yield port


@pytest.fixture(scope="module")
def urls(server):
    with gateway_process("--tfserving", f"127.0.0.1:{server}") as (_, http, rpc):
        yield http, rpc


def asked_directly(port: int, images, name="mobilenet_v2_affect", version=None):
    """What TensorFlow Serving says by itself, as its own packages ask it."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "serving_default"
    if version:
        request.model_spec.version.value = version
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=n) for n in images.shape])
    request.inputs["images"].CopyFrom(
        tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, tensor_shape=shape, tensor_content=images.tobytes())
    )
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)


def test_http_grpc_and_the_model_server_itself_give_the_same_numbers(server, urls, faces):
    pictures = [file.read_bytes() for file in sorted((faces / "images").iterdir())[:16]]
    images = np.stack([preprocess(picture) for picture in pictures])
    direct = asked_directly(server, images).outputs
    probabilities = np.array(direct["probabilities"].float_val).reshape(len(pictures), len(LABELS))
    valence = np.array(direct["valence"].float_val)
    assert np.ptp(probabilities, axis=0).max() > 0.05, "agreement of constants shows nothing"
    with Client(urls[0]) as http, GrpcClient(urls[1]) as rpc:
        for client in (http, rpc):
            answers = [client.predict(picture, backbone="mobilenet_v2") for picture in pictures]
            ours = np.array([[answer.probabilities[label] for label in LABELS] for answer in answers])
            np.testing.assert_allclose(ours, probabilities, atol=1e-5)
            np.testing.assert_allclose([answer.valence for answer in answers], valence, atol=1e-5)


def test_a_batch_is_one_request_with_the_same_numbers(urls):
    with Client(urls[0]) as client:
        together = client.predict_batch(PICTURES)
        alone = [client.predict(picture) for picture in PICTURES]
    np.testing.assert_allclose([answer.valence for answer in together], [answer.valence for answer in alone], atol=1e-5)


def test_what_is_served_is_listed_with_its_labels(urls):
    with Client(urls[0]) as client:
        listed = client.models()
    versions = {model.name: model.versions for model in listed.models}
    assert [(one.version, one.state, one.labels) for one in versions["mobilenet_v2_affect"]] == [
        (1, "AVAILABLE", ["stable"]), (2, "AVAILABLE", ["canary"]),
    ]  # fmt: skip
    assert set(versions) == {"mobilenet_v2_affect", "custom_cnn_classification", "custom_cnn_regression"}


@pytest.mark.parametrize(("choice", "version"), [({}, 1), ({"label": "canary"}, 2), ({"version": 2}, 2)])
def test_the_version_asked_for_answers(urls, choice, version):
    for client in (Client(urls[0]), GrpcClient(urls[1])):
        with client:
            answer = client.predict(PICTURES[0], backbone="mobilenet_v2", **choice)
            assert answer.model.versions == {"mobilenet_v2_affect": version}


def test_a_pair_is_asked_together(urls):
    with Client(urls[0]) as client:
        answer = client.predict(PICTURES[0], backbone="custom_cnn")
    assert answer.model.versions == {"custom_cnn_classification": 1, "custom_cnn_regression": 1}
    assert answer.expression
    assert answer.valence is not None


@pytest.mark.parametrize("choice", [{"backbone": "densenet121"}, {"version": 9}, {"label": "nonsense"}])
def test_what_the_server_does_not_have_is_unknown(urls, choice):
    with Client(urls[0]) as client, pytest.raises(UnknownModel):
        client.predict(PICTURES[0], **{"backbone": "mobilenet_v2", **choice})


def test_the_gateway_stays_small_and_loads_no_tensorflow(server):
    with gateway_process("--tfserving", f"127.0.0.1:{server}") as (running, http, _):
        started = psutil.Process(running.pid)
        with Client(http) as client:
            answers = list(client.predict_many(PICTURES[:1] * 300, backbone="mobilenet_v2"))
        assert not any(isinstance(answer.outcome, AffectError) for answer in answers)
        mapped = {Path(one.path).name for one in started.memory_maps()}
        assert not any("tensorflow" in name or "openvino" in name for name in mapped)
        assert started.memory_info().rss < 150 * 2**20


def test_a_restart_of_the_model_server_under_load_says_nothing_but_not_ready(labelled_models, tmp_path):
    port, seen = process.free_port(), []
    with ExitStack() as server:
        server.enter_context(process.model_server(labelled_models, tmp_path, port))
        with gateway_process("--tfserving", f"127.0.0.1:{port}", "--backbones", "mobilenet_v2") as (_, http, _):
            wanted = asyncio.run(one_answer(http))
            ended = threading.Event()
            loads = [threading.Thread(target=load, args=(http, ended, wanted, seen)) for _ in range(3)]
            for one in loads:
                one.start()
            try:
                until(lambda: seen.count("answered") > 20)
                server.close()
                until(lambda: not ready(http))
                server.enter_context(process.model_server(labelled_models, tmp_path, port))
                until(lambda: ready(http))
                asyncio.run(one_answer(http))
            finally:
                ended.set()
                for one in loads:
                    one.join()
    assert set(seen) == {"answered", ErrorCode.MODEL_NOT_READY}


async def one_answer(http):
    async with AsyncClient(http) as client:
        return await client.predict(PICTURES[0], backbone="mobilenet_v2")


def load(http, ended, wanted, seen):
    with Client(http, retries=0) as client:
        while not ended.is_set():
            try:
                answer = client.predict(PICTURES[0], backbone="mobilenet_v2")
            except AffectError as exc:
                seen.append(exc.code)
                time.sleep(0.02)
            else:
                assert answer.probabilities.keys() == wanted.probabilities.keys()
                same = abs(answer.valence - wanted.valence) < 1e-5
                seen.append("answered" if same else "a wrong answer")


def ready(http):
    try:
        return httpx.get(f"{http}/readyz", trust_env=False).status_code == 200
    except (httpx.HTTPError, ServiceUnreachable):
        return False


def until(condition):
    """Wait for what has to come, on however busy a machine."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_stuck_model_server_is_noticed_and_found_again(labelled_models, tmp_path):
    with (
        process.model_server(labelled_models, tmp_path) as (server, port),
        gateway_process("--tfserving", f"127.0.0.1:{port}") as (_, http, _),
    ):
        until(lambda: ready(http))
        process.send(server, signal.SIGSTOP)
        until(lambda: not ready(http))
        process.send(server, signal.SIGCONT)
        until(lambda: ready(http))
