"""Traffic splitting: a share of the requests without version or label goes to the canary, and none fails by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_client import GrpcClient
from affect_contract.errors import BackendError, Overloaded, UnknownModel
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE, END, LOADING
from affect_serving.core.backend import Selector, Version
from affect_serving.core.canary import ON_CANARY, CanaryShare
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend, gateway, listening_gateway

FUSED = fused("mobilenet_v2")
STABLE_ONE = Version(1, AVAILABLE, ("stable",))
CANARY = Version(2, AVAILABLE, ("canary",))
BOTH = {FUSED: (STABLE_ONE, CANARY)}
JPEG = encoded(patches())
ANY = Selector()


def chosen(share, request_id="id", catalog=BOTH, selector=ANY):
    return share.selector(catalog, "mobilenet_v2", selector, request_id)


@pytest.mark.parametrize("percent", [0.5, 10, 50, 99])
def test_the_canarys_share_is_as_configured(percent):
    share = CanaryShare(percent)
    count = sum(chosen(share, f"request {number}") == ON_CANARY for number in range(20_000))
    assert count == pytest.approx(200 * percent, abs=300)


@given(request_id=st.text(min_size=1), percent=st.floats(0, 100))
def test_the_same_request_id_is_routed_alike_by_every_gateway(request_id, percent):
    assert chosen(CanaryShare(percent), request_id) == chosen(CanaryShare(percent), request_id)


@given(request_id=st.text(min_size=1), low=st.floats(0, 100), high=st.floats(0, 100))
def test_requests_routed_to_the_canary_stay_there_when_the_share_grows(request_id, low, high):
    smaller, larger = (CanaryShare(percent) for percent in sorted((low, high)))
    assert chosen(smaller, request_id) == ANY or chosen(larger, request_id) == ON_CANARY


@given(request_id=st.text(min_size=1))
def test_shares_of_0_and_100_percent_are_exact(request_id):
    assert chosen(CanaryShare(0), request_id) == ANY
    assert chosen(CanaryShare(100), request_id) == ON_CANARY


@pytest.mark.parametrize("selector", [Selector(version=1), Selector(label="stable"), Selector(label="canary")], ids=str)
def test_a_request_for_a_version_or_label_gets_it(selector):
    assert chosen(CanaryShare(100), selector=selector) == selector


@pytest.mark.parametrize(
    "catalog",
    [
        {FUSED: (STABLE_ONE,)},
        {FUSED: (STABLE_ONE, Version(2, LOADING, ("canary",)))},
        {FUSED: (STABLE_ONE, Version(2, END, ("canary",), "it does not load"))},
        {FUSED: (STABLE_ONE,), single("mobilenet_v2", Task.REGRESSION): (CANARY,)},
        {FUSED: (STABLE_ONE,), fused("densenet121"): (STABLE_ONE, CANARY)},
    ],
    ids=["none", "loading", "failed", "one task alone", "another backbone's"],
)
def test_without_a_canary_that_can_replace_stable_every_request_gets_stable(catalog):
    assert chosen(CanaryShare(100), catalog=catalog) == ANY


async def test_both_apis_route_the_share_and_name_the_version_that_answered():
    async with gateway(FakeBackend(BOTH), canary_percent=100) as client:
        for path, version in (("/predict", 2), ("/predict?label=stable", 1), ("/predict?version=1", 1)):
            answer = (await client.post(path, content=JPEG)).json()
            assert answer["model"]["versions"] == {FUSED.name: version}
    with listening_gateway(FakeBackend(BOTH), canary_percent=100) as urls, GrpcClient(urls.rpc) as client:
        assert client.predict(JPEG).model.versions == {FUSED.name: 2}


async def test_only_the_request_id_decides():
    async with gateway(FakeBackend(BOTH), canary_percent=50) as client:
        ways = {}
        for number in (*range(20), *range(20)):
            answer = await client.post("/predict", content=JPEG, headers={"X-Request-Id": f"id-{number}"})
            ways.setdefault(number, set()).add(answer.json()["model"]["versions"][FUSED.name])
    assert all(len(versions) == 1 for versions in ways.values())
    assert {1, 2} == set.union(*ways.values())


class FailingCanary(FakeBackend):
    """A backend that fails requests for the canary."""

    def __init__(self, failure):
        super().__init__(BOTH)
        self.canary_failure = failure

    async def run(self, model, selector, images, *, timeout_s):
        if selector == ON_CANARY:
            raise self.canary_failure
        return await super().run(model, selector, images, timeout_s=timeout_s)


@pytest.mark.parametrize("failure", [UnknownModel("gone"), BackendError("it broke")], ids=["withdrawn", "broken"])
async def test_a_canary_that_vanishes_or_fails_fails_no_request_that_did_not_ask_for_it(failure):
    async with gateway(FailingCanary(failure), canary_percent=100) as client:
        answer = await client.post("/predict", content=JPEG)
        assert answer.json()["model"]["versions"] == {FUSED.name: 1}
        assert (await client.post("/predict?label=canary", content=JPEG)).status_code in (404, 502)
        metrics = (await client.get("/metrics")).text
    counted = f'affect_label_answers_total{{backbone="mobilenet_v2",code="{failure.code}",label="canary"}} 2.0'
    assert counted in metrics
    assert 'affect_label_answers_total{backbone="mobilenet_v2",code="",label="stable"} 1.0' in metrics


async def test_an_overloaded_canary_answers_overloaded():
    async with gateway(FailingCanary(Overloaded("full", retry_after_s=1.0)), canary_percent=100) as client:
        assert (await client.post("/predict", content=JPEG)).status_code == 429


async def test_a_label_that_moves_to_other_models_while_a_request_is_routed_is_followed():
    pair = {single("mobilenet_v2", task): (Version(2, AVAILABLE, ("stable",)),) for task in Task}
    backend = FakeBackend({FUSED: (STABLE_ONE,)})

    def moved():
        backend.catalogue, backend.before = pair, None
        raise UnknownModel("the fused model has just gone")

    backend.before = moved
    async with gateway(backend) as client:
        answer = await client.post("/predict", content=JPEG)
    assert answer.json()["model"]["versions"] == {model.name: 2 for model in pair}


async def test_a_label_that_moves_between_the_calls_of_a_pair_mixes_no_versions():
    def pair(number):
        return {single("mobilenet_v2", task): (Version(number, AVAILABLE, ("stable",)),) for task in Task}

    backend = FakeBackend(pair(1))
    calls = iter(range(4))

    def moves():
        if next(calls) == 1:
            backend.catalogue = pair(2)

    backend.before = moves
    async with gateway(backend) as client:
        answer = await client.post("/predict", content=JPEG)
    assert set(answer.json()["model"]["versions"].values()) == {2}
    assert len(backend.asked) == 4


async def test_metrics_show_versions_and_their_problems():
    backend = FakeBackend({FUSED: (STABLE_ONE, Version(2, END, ("canary",), "it does not load"))})
    backend.problem_text = "models.config is nonsense"
    async with gateway(backend) as client:
        assert (await client.get("/models")).json()["problem"] == "models.config is nonsense"
        metrics = (await client.get("/metrics")).text
        name = FUSED.name
        for line in (
            f'affect_model_version_available{{model="{name}",version="1"}} 1.0',
            f'affect_model_version_available{{model="{name}",version="2"}} 0.0',
            f'affect_model_version_failed{{model="{name}",version="2"}} 1.0',
            f'affect_model_label_version{{label="canary",model="{name}"}} 2.0',
            "affect_models_trouble 1.0",
        ):
            assert line in metrics
        backend.catalogue, backend.problem_text = {FUSED: (STABLE_ONE,)}, ""
        await client.get("/readyz")
        metrics = (await client.get("/metrics")).text
        assert 'version="2"' not in metrics
        assert "affect_models_trouble 0.0" in metrics
