"""The HTTP clients: what they send, and what they make of every kind of answer."""

import time
from contextlib import asynccontextmanager

import httpx
import pytest

from affect_client import DEFAULT_TIMEOUT_S, AsyncClient, Client, ServiceUnreachable
from affect_contract.errors import (
    FAULTS,
    AffectError,
    DeadlineExceeded,
    ErrorCode,
    InvalidImage,
    ModelNotReady,
    Overloaded,
    UnknownModel,
)
from affect_contract.models import fused
from affect_contract.schemas import Prediction
from affect_serving.app import running_gateway
from affect_serving.core.backend import Version
from affect_serving.http.service import create_http_app
from affect_serving.settings import Settings
from affect_testbed.pictures import encoded, patches
from tests.gateway import FakeBackend
from tests.unit.client_gateway import FakeGateway, problem

URL = "http://gateway.test:8080"
PICTURE = b"\xff\xd8 a face"


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Call one method of a client of the parameter's kind, over a handler."""

    async def call(handler, method, *arguments, options=None, **choice):
        transport = httpx.MockTransport(handler)
        if request.param == "sync":
            with Client(URL, transport=transport, **{"retries": 0, **(options or {})}) as client:
                return getattr(client, method)(*arguments, **choice)
        async with AsyncClient(URL, transport=transport, **{"retries": 0, **(options or {})}) as client:
            return await getattr(client, method)(*arguments, **choice)

    return call


@pytest.fixture
def gateway():
    return FakeGateway()


def always(status=200, document=None, **arguments):
    def handle(request):
        return (
            httpx.Response(status, json=document, **arguments)
            if document is not None
            else httpx.Response(status, **arguments)
        )

    return handle


def failing(error):
    def handle(request):
        raise error("on purpose", request=request)

    return handle


@asynccontextmanager
async def through_the_real_gateway(backend):
    async with (
        running_gateway(Settings(models="unused"), backend) as running,
        AsyncClient(URL, retries=0, transport=httpx.ASGITransport(create_http_app(*running))) as client,
    ):
        yield client


async def test_the_client_and_the_real_gateway_understand_each_other():
    picture = encoded(patches())
    async with through_the_real_gateway(FakeBackend()) as client:
        answer = await client.predict(picture, backbone="mobilenet_v2", version=1)
        assert answer.model.versions == {"mobilenet_v2_affect": 1}
        first, second = await client.predict_batch([picture, b"text"], label="stable")
        assert first == answer.model_copy(update={"request_id": first.request_id})
        assert isinstance(second, InvalidImage)
        assert second.request_id == first.request_id
        assert (await client.models()).default_backbone == "mobilenet_v2"
        assert (await client.ready()).waiting_for == []
        with pytest.raises(InvalidImage) as caught:
            await client.predict(b"text")
        assert caught.value.request_id
        with pytest.raises(UnknownModel):
            await client.predict(picture, version=2)


async def test_the_real_gateway_says_through_the_client_what_it_waits_for():
    loading = {fused("densenet121"): (Version(1, "LOADING", ("stable",)),)}
    async with through_the_real_gateway(FakeBackend(loading)) as client:
        assert (await client.ready()).waiting_for == ["densenet121"]
        with pytest.raises(ModelNotReady) as caught:
            await client.predict(encoded(patches()))
        assert caught.value.retry_after_s == 1


async def test_an_answer_is_the_contracts_prediction(ask, gateway):
    answer = await ask(gateway.transport().handler, "predict", PICTURE)
    assert answer == Prediction.model_validate(gateway.prediction(PICTURE, "mobilenet_v2"))


async def test_the_picture_travels_untouched_with_the_choice_and_the_time_there_is(ask, gateway):
    requests = []

    def handle(request):
        requests.append(request)
        return httpx.Response(200, json=gateway.prediction(PICTURE, "densenet121"))

    await ask(handle, "predict", PICTURE, backbone="densenet121", version=3, options={"timeout_s": 2.5, "api_key": "k"})
    (request,) = requests
    assert (request.method, request.url.path, request.content) == ("POST", "/predict", PICTURE)
    assert dict(request.url.params) == {"backbone": "densenet121", "version": "3"}
    assert request.headers["Affect-Timeout-Ms"] == "2500"
    assert request.headers["Authorization"] == "Bearer k"
    # A declared type that is not the picture's would be refused; none is looked up by the bytes.
    assert "Content-Type" not in request.headers


async def test_without_a_key_none_is_sent_and_the_default_time_is_told(ask, gateway):
    requests = []

    def handle(request):
        requests.append(request)
        return httpx.Response(200, json=gateway.models())

    await ask(handle, "models")
    assert "Authorization" not in requests[0].headers
    assert requests[0].headers["Affect-Timeout-Ms"] == str(int(DEFAULT_TIMEOUT_S * 1000))


async def test_what_passes_is_sent_again_with_the_time_that_is_left(ask, gateway):
    gateway.replies = [problem(429, "overloaded", "busy", **{"Retry-After": "0"})]
    told = []

    def handle(request):
        told.append(int(request.headers["Affect-Timeout-Ms"]))
        time.sleep(0.02)
        return gateway.transport().handler(request)

    await ask(handle, "predict", PICTURE, options={"retries": 2, "timeout_s": 5.0})
    first, second = told
    assert first <= 5000
    assert first - second >= 20


async def test_a_wait_longer_than_the_time_there_is_is_not_begun(ask, gateway):
    gateway.replies = [problem(429, "overloaded", "busy", **{"Retry-After": "60"})]
    with pytest.raises(Overloaded, match="busy"):
        await ask(gateway.transport().handler, "predict", PICTURE, options={"retries": 2})
    assert len(gateway.asked) == 1


async def test_the_steps_of_a_request_share_its_time(ask, gateway):
    def handle(request):
        allowed = request.extensions["timeout"]
        connect_s = allowed["connect"]
        time.sleep(0.02)
        assert connect_s - allowed.get("read") >= 0.02
        return gateway.transport().handler(request)

    await ask(handle, "predict", PICTURE, options={"timeout_s": 5.0})


@pytest.mark.parametrize("never_connected", [True, False])
async def test_only_a_connection_that_never_came_about_is_tried_again(ask, never_connected):
    asked = []

    def handle(request):
        asked.append(request)
        raise (httpx.ConnectError if never_connected else httpx.ReadError)("on purpose", request=request)

    with pytest.raises(ServiceUnreachable) as caught:
        await ask(handle, "predict", PICTURE, options={"retries": 1})
    assert caught.value.never_connected is never_connected
    assert len(asked) == 1 + never_connected


async def test_a_path_is_read_for_the_caller(ask, gateway, tmp_path):
    file = tmp_path / "face.jpg"
    file.write_bytes(PICTURE)
    await ask(gateway.transport().handler, "predict", file, label="canary")
    assert gateway.asked == [(PICTURE, {"label": "canary"})]


async def test_a_path_that_is_not_there_is_no_fault_of_the_service(ask, gateway, tmp_path):
    with pytest.raises(FileNotFoundError):
        await ask(gateway.transport().handler, "predict", tmp_path / "none.jpg")
    assert gateway.asked == []


@pytest.mark.parametrize("code", ErrorCode)
async def test_a_problem_is_raised_as_the_class_of_its_code(ask, code):
    document = {"title": "T", "status": FAULTS[code].http, "code": code, "detail": "on purpose", "request_id": "r7"}
    with pytest.raises(AffectError) as caught:
        await ask(always(FAULTS[code].http, document), "predict", PICTURE)
    assert type(caught.value) is AffectError.by_code[code]
    assert (caught.value.detail, caught.value.request_id) == ("on purpose", "r7")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), (None, None)],
)
async def test_retry_after_counts_when_it_is_a_number_of_seconds(ask, header, seconds):
    status, headers, document = problem(429, "overloaded", "busy", **({"Retry-After": header} if header else {}))
    with pytest.raises(AffectError) as caught:
        await ask(always(status, document, headers=headers), "predict", PICTURE)
    assert caught.value.retry_after_s == seconds


async def test_a_batch_answers_in_order_and_a_bad_picture_keeps_its_place(ask, gateway):
    good = gateway.prediction(PICTURE, "mobilenet_v2")
    results = [good, {"error": {"code": "invalid_image", "detail": "no picture"}}, good]
    bodies = []

    def handle(request):
        bodies.append((request.headers["Content-Type"], request.content))
        return httpx.Response(200, json={"results": results}, headers={"X-Request-Id": "r9"})

    first, second, third = await ask(handle, "predict_batch", [PICTURE, b"second", PICTURE], version=2)
    assert first == third == Prediction.model_validate(good)
    assert isinstance(second, InvalidImage)
    assert (second.detail, second.request_id) == ("no picture", "r9")
    ((content_type, body),) = bodies
    assert content_type.startswith("multipart/form-data")
    assert body.count(b'name="images"') == 3
    assert body.count(PICTURE) == 2


async def test_a_batch_with_a_result_too_few_is_not_taken_for_the_pictures(ask, gateway):
    results = [gateway.prediction(PICTURE, "mobilenet_v2")]
    with pytest.raises(ServiceUnreachable, match="not as an Affect gateway does"):
        await ask(always(document={"results": results}), "predict_batch", [PICTURE, PICTURE])


async def test_models_are_listed_with_their_labels(ask, gateway):
    served = await ask(gateway.transport().handler, "models")
    assert served.default_backbone == "mobilenet_v2"
    assert served.models[0].versions[0].labels == ["stable"]


@pytest.mark.parametrize(("status", "waiting"), [(200, []), (503, ["densenet121"])])
async def test_readiness_is_an_answer_ready_or_not(ask, status, waiting):
    assert (await ask(always(status, {"waiting_for": waiting}), "ready")).waiting_for == waiting


async def test_a_problem_in_place_of_readiness_is_raised(ask):
    status, headers, document = problem(503, "model_not_ready", "going down")
    with pytest.raises(ModelNotReady):
        await ask(always(status, document, headers=headers), "ready")


FOREIGN = {
    "a page": always(200, text="<html>welcome</html>", headers={"Content-Type": "text/html"}),
    "a proxy's error": always(502, text="<html>bad gateway</html>", headers={"Content-Type": "text/html"}),
    "a redirection": always(307, headers={"Location": "https://elsewhere.test/"}),
    "other JSON": always(200, {"label": "happy"}),
    "other JSON that failed": always(500, {"message": "oops"}),
    "an unknown code": always(400, {"title": "T", "status": 400, "code": "x", "detail": "d", "request_id": "r"}),
    "valence out of range": always(200, FakeGateway().prediction(PICTURE, "mobilenet_v2") | {"valence": 3.0}),
    "nothing": always(200, content=b""),
}


@pytest.mark.parametrize("handler", FOREIGN.values(), ids=FOREIGN.keys())
async def test_an_answer_that_is_no_gateways_names_the_url_to_check(ask, handler):
    with pytest.raises(ServiceUnreachable, match=rf"^{URL}/predict answered \d+ with .+: check the URL$"):
        await ask(handler, "predict", PICTURE)


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.RemoteProtocolError, httpx.ProxyError],
)
async def test_no_connection_is_an_unreachable_service(ask, error):
    with pytest.raises(ServiceUnreachable, match=rf"no gateway answers at {URL} .+: start one with affect-serve"):
        await ask(failing(error), "predict", PICTURE)


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout])
async def test_a_connection_without_an_answer_in_time_is_the_deadlines_fault(ask, error):
    with pytest.raises(DeadlineExceeded, match="did not answer within 3 s"):
        await ask(failing(error), "predict", PICTURE, options={"timeout_s": 3.0})
