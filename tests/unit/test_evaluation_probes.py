"""Over gRPC, which lists no models, a run pins what answers."""

import pytest

from affect_client import AsyncGrpcClient
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference.version_pins import probe_versions
from affect_serving.core.backend import Version
from tests.gateway import FakeBackend, listening_gateway

CATALOG = {
    fused("mobilenet_v2"): (Version(3, AVAILABLE, ("stable",)), Version(4, AVAILABLE, ("canary",))),
    single("custom_cnn", Task.CLASSIFICATION): (Version(1, AVAILABLE, ("stable",)),),
    single("custom_cnn", Task.REGRESSION): (Version(2, AVAILABLE, ("stable",)),),
}


@pytest.fixture
def address():
    with listening_gateway(FakeBackend(CATALOG)) as urls:
        yield urls.rpc


async def test_every_backbone_that_answers_is_pinned_to_what_answered(address):
    async with AsyncGrpcClient(address) as client:
        found = {pin.backbone: pin for pin in await probe_versions(client)}
    assert set(found) == {"mobilenet_v2", "custom_cnn"}
    assert found["mobilenet_v2"].query == {"backbone": "mobilenet_v2", "version": 3}
    assert found["custom_cnn"].versions == {"custom_cnn_classification": 1, "custom_cnn_regression": 2}
    assert found["custom_cnn"].query == {"backbone": "custom_cnn", "label": "stable"}


async def test_a_backbone_that_is_wanted_and_not_served_is_named(address):
    async with AsyncGrpcClient(address) as client:
        with pytest.raises(EvaluationError, match="does not serve densenet121"):
            await probe_versions(client, ["densenet121"])
