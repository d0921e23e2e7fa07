"""Requests to TensorFlow Serving, and the outputs read from its responses."""

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from affect_contract.errors import (
    BackendError,
    UnknownModel,
)
from affect_contract.models import MODELS
from affect_serving.core.backend import Selector
from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import END, LOADING, ModelServer, ServedVersion
from tests.tfserving.gateways import FUSED, IMAGES, ask, backend_of


@pytest.fixture
def server():
    """A server of the fused MobileNetV2, version 1."""
    return ModelServer(served_models(FUSED.name))


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


async def test_more_pictures_than_a_batch_holds_are_sent_in_several_to_one_version(server):
    images = np.repeat(IMAGES, 24, axis=0)[:70]
    async with backend_of(server) as backend:
        answer = await ask(backend, images=images)
    assert len(answer.outputs["valence"]) == 70
    assert [len(request.inputs["images"].tensor_content) // 150_528 for request in server.predictions] == [32, 32, 6]
    assert [request.model_spec.version.value for request in server.predictions[1:]] == [1, 1]


async def test_a_request_without_version_or_label_asks_for_the_label_stable():
    server = ModelServer(served_models(FUSED.name, versions=(1, 2), labels={"stable": 1, "canary": 2}))
    async with backend_of(server) as backend:
        assert (await ask(backend)).version == 1
        assert (await ask(backend, Selector(label="canary"))).version == 2
        assert (await ask(backend, Selector(version=2))).version == 2
    assert [request.model_spec.WhichOneof("version_choice") for request in server.predictions] == [
        "version_label", "version_label", "version",
    ]  # fmt: skip


async def test_a_server_without_labels_is_asked_for_its_latest_version():
    server = ModelServer(served_models(FUSED.name, versions=(3, 7), labels={}))
    async with backend_of(server) as backend:
        assert (await ask(backend)).version == 7
        with pytest.raises(UnknownModel):
            await ask(backend, Selector(label="canary"))


async def test_the_catalog_says_what_the_server_has():
    server = ModelServer(served_models(FUSED.name, "densenet121_classification", versions=(1, 2), labels={"stable": 2}))
    server.models[FUSED.name].versions[3] = ServedVersion(LOADING)
    server.models[FUSED.name].versions[4] = ServedVersion(END)
    async with backend_of(server) as backend:
        catalog = await backend.catalog()
    assert [(one.number, one.state, one.labels) for one in catalog[FUSED]] == [
        (1, "AVAILABLE", ()), (2, "AVAILABLE", ("stable",)), (3, "LOADING", ()),
    ]  # fmt: skip
    assert set(catalog) == {FUSED, MODELS["densenet121_classification"]}


async def test_only_the_configured_backbones_are_polled():
    server = ModelServer(served_models(FUSED.name, "densenet121_affect"))
    async with backend_of(server, backbones="densenet121") as backend:
        assert set(await backend.catalog()) == {MODELS["densenet121_affect"]}


async def test_an_answer_of_another_version_is_a_backend_error(server):
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
