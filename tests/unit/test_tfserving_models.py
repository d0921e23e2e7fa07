"""The models of a server that requests are sent to: those of the contract whose signatures fit it."""

import pytest
from tensorflow.core.framework import types_pb2

from affect_contract.errors import (
    ErrorCode,
)
from affect_testbed.model_server.made_up_models import served_models, tensor_info
from affect_testbed.model_server.server import LOADING, ModelServer, ServedVersion
from tests.tfserving.gateways import FUSED, JPEG, gateway_of


@pytest.fixture
def server():
    """A server of the fused MobileNetV2, version 1."""
    return ModelServer(served_models(FUSED.name))


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


async def test_where_the_fused_model_is_refused_the_pair_answers():
    names = ("mobilenet_v2_affect", "mobilenet_v2_classification", "mobilenet_v2_regression")
    server = ModelServer(served_models(*names))
    wrong_input_type(server.models[names[0]].versions[1].runnable.signatures["serving_default"])
    async with gateway_of(server) as client:
        answer = await client.post("/predict", content=JPEG)
    assert set(answer.json()["model"]["versions"]) == set(names[1:])


async def test_a_version_that_does_not_load_is_reported_and_the_old_one_keeps_serving():
    server = ModelServer(served_models(FUSED.name))
    server.models[FUSED.name].versions[2] = ServedVersion(LOADING, None, 3, "saved_model.pb is cut off")
    async with gateway_of(server) as client:
        answer = await client.post("/predict", content=JPEG)
        listed = await client.get("/models")
        asked = await client.post("/predict?version=2", content=JPEG)
    assert answer.json()["model"]["versions"] == {FUSED.name: 1}
    assert "saved_model.pb is cut off" in listed.json()["models"][0]["versions"][1]["problem"]
    assert asked.json()["code"] == "backend_error"


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
async def test_models_and_versions_that_the_server_does_not_serve_are_unknown(server, query):
    async with gateway_of(server) as client:
        answer = await client.post(f"/predict?{query}", content=JPEG)
    assert answer.json()["code"] == ErrorCode.UNKNOWN_MODEL


async def test_a_server_without_any_of_the_models_is_not_ready():
    async with gateway_of(ModelServer({})) as client:
        ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert "affect-train" in next(iter(ready.json()["reasons"].values()))
