"""The HTTP API: its requests, its answers, and the error for every kind of bad input."""

import asyncio
import base64
import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affect_contract.errors import FAULTS, AffectError, ErrorCode
from affect_contract.labels import LABELS
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.schemas import BatchPrediction, ModelList, Prediction, Problem
from affect_contract.versions import AVAILABLE
from affect_serving.core.backend import Version
from affect_testbed.pictures import animated, encoded, patches, png_header
from tests.gateway import FakeBackend, gateway

JPEG = encoded(patches())
PNG = encoded(Image.new("RGB", (30, 40), (255, 255, 255)), "PNG")
DARK = encoded(Image.new("RGB", (224, 224)), "PNG")
JPEG_TYPE = {"Content-Type": "image/jpeg"}
NOT_TAKEN = "unsupported_media_type"


def typed(media_type: str) -> dict[str, str]:
    return {"Content-Type": media_type}


def problem(response: httpx.Response, code: ErrorCode) -> Problem:
    assert response.status_code == FAULTS[code].http, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = Problem.model_validate_json(response.content)
    assert body.code is code
    assert body.request_id == response.headers["X-Request-Id"]
    assert body.detail
    return body


def picture_requests(picture: bytes) -> dict[str, dict]:
    return {
        "raw": {"content": picture, "headers": JPEG_TYPE},
        "raw, type with a parameter": {"content": picture, "headers": typed("Image/JPEG; q=1")},
        "raw, no type": {"content": picture},
        "another type of the list": {"content": picture, "headers": typed("image/webp")},
        "form": {"files": {"image": ("face.jpg", picture, "image/jpeg")}},
        "form, undeclared": {"files": {"image": ("face", picture)}},
        "json": {"json": {"image": base64.b64encode(picture).decode()}},
    }


@pytest.mark.parametrize("how", picture_requests(JPEG))
async def test_a_picture_gets_the_same_answer_however_it_is_sent(how):
    async with gateway() as client:
        response = await client.post("/predict", **picture_requests(JPEG)[how])
        usual = await client.post("/predict", content=JPEG, headers=JPEG_TYPE)
    assert response.status_code == 200, response.text
    answers = [Prediction.model_validate_json(one.content) for one in (response, usual)]
    assert answers[0].model_copy(update={"request_id": ""}) == answers[1].model_copy(update={"request_id": ""})


async def test_an_answer_has_every_field_of_the_contract():
    async with gateway() as client:
        answer = (await client.post("/predict", content=PNG, headers={"X-Request-Id": "my-id"})).json()
    assert answer == {
        "expression": "contempt",
        "expression_id": 7,
        "confidence": 1.0,
        "probabilities": dict.fromkeys(LABELS, 0.0) | {"contempt": 1.0},
        "valence": 1.0,
        "arousal": -1.0,
        "model": {"backbone": "mobilenet_v2", "versions": {"mobilenet_v2_affect": 1}},
        "request_id": "my-id",
    }


@pytest.mark.parametrize("task", Task)
async def test_a_backbone_served_for_one_task_leaves_the_other_tasks_fields_null(task):
    backend = FakeBackend({single("custom_cnn", task): (Version(4, AVAILABLE, ("stable",)),)})
    async with gateway(backend) as client:
        answer = (await client.post("/predict", content=JPEG)).json()
    classified = [answer[name] for name in ("expression", "expression_id", "confidence", "probabilities")]
    placed = [answer["valence"], answer["arousal"]]
    missing, present = (placed, classified) if task is Task.CLASSIFICATION else (classified, placed)
    assert all(value is None for value in missing)
    assert all(value is not None for value in present)
    assert answer["model"]["versions"] == {f"custom_cnn_{task}": 4}


BAD_REQUESTS = {
    "an empty body": ({"content": b"", "headers": JPEG_TYPE}, "invalid_image", "the body is empty"),
    "text sent as JPEG": ({"content": b"not a picture", "headers": JPEG_TYPE}, "invalid_image", "no JPEG, PNG or WebP"),
    "a truncated JPEG": ({"content": JPEG[:2000], "headers": JPEG_TYPE}, "invalid_image", "truncated or corrupt"),
    "a header of 3.6 gigapixels": ({"content": png_header(60_000, 60_000)}, "too_large", "40,000,000 pixels"),
    "an animated WebP": ({"content": animated("WEBP")}, "invalid_image", "send one still picture"),
    "30 MB of noise": ({"content": b"\x55" * 30_000_000}, "too_large", "10,485,760 bytes"),
    "30 MB of noise in a form": ({"files": {"image": b"\x55" * 30_000_000}}, "too_large", "10,485,760 bytes"),
    "30 MB in JSON": ({"json": {"image": "A" * 30_000_000}}, "too_large", "10,485,760 bytes"),
    "an unknown backbone": ({"content": JPEG, "params": {"backbone": "vgg"}}, "unknown_model", "mobilenet_v2"),
    "an unknown version": ({"content": JPEG, "params": {"version": 9}}, "unknown_model", "it has version 1"),
    "an unknown label": ({"content": JPEG, "params": {"label": "beta"}}, "unknown_model", "label stable"),
    "version and label": ({"content": JPEG, "params": {"version": 1, "label": "a"}}, "invalid_request", "not both"),
    "version nought": ({"content": JPEG, "params": {"version": 0}}, "invalid_request", "version"),
    "a misspelt parameter": ({"content": JPEG, "params": {"bakbone": "x"}}, "invalid_request", "bakbone"),
    "a bad deadline": ({"content": JPEG, "headers": {"Affect-Timeout-Ms": "x"}}, "invalid_request", "Timeout-Ms"),
    "a type not taken": ({"content": JPEG, "headers": typed("text/plain")}, NOT_TAKEN, "image/jpeg"),
    "a GIF, declared": ({"content": b"GIF89a", "headers": typed("image/gif")}, NOT_TAKEN, "image/gif"),
    "a part of a type not taken": ({"files": {"image": ("a.txt", b"hi", "text/plain")}}, NOT_TAKEN, "text/plain"),
    "a missing part": ({"files": {"photo": JPEG}}, "invalid_request", "no part named 'image' (it has 'photo')"),
    "two parts": ({"files": [("image", JPEG), ("image", JPEG)]}, "invalid_request", "use /predict/batch"),
    "a form without a boundary": (
        {"content": JPEG, "headers": typed("multipart/form-data")}, "invalid_request", "boundary"
    ),
    "a form that is none": (
        {"content": JPEG, "headers": typed("multipart/form-data; boundary=x")}, "invalid_request", "form"
    ),
    "JSON that is none": ({"content": b"{", "headers": typed("application/json")}, "invalid_request", "JSON"),
    "JSON without the picture": ({"json": {"picture": ""}}, "invalid_request", "image"),
    "no base64": ({"json": {"image": "***"}}, "invalid_request", "base64"),
    "an empty picture in JSON": ({"json": {"image": ""}}, "invalid_image", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_bad_input_gets_its_code_and_a_sentence_and_the_gateway_keeps_serving(name):
    request, code, sentence = BAD_REQUESTS[name]
    async with gateway() as client:
        assert sentence in problem(await client.post("/predict", **request), ErrorCode(code)).detail
        assert (await client.post("/predict", content=JPEG)).status_code == 200


async def test_a_body_of_undeclared_size_is_refused_as_soon_as_it_is_too_large():
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 2**20
            yield b"\x00" * 2**20

    async with gateway() as client:
        problem(await client.post("/predict", content=endless()), ErrorCode.TOO_LARGE)
    assert sent <= 12 * 2**20


async def test_one_bad_picture_fails_alone_in_a_batch():
    files = [("images", picture) for picture in (JPEG, b"text", DARK, animated("WEBP"), PNG)]
    async with gateway() as client:
        batch = BatchPrediction.model_validate_json((await client.post("/predict/batch", files=files)).content)
        alone = [(await client.post("/predict", content=picture)).json() for picture in (JPEG, DARK, PNG)]
    kinds = [type(result).__name__ for result in batch.results]
    assert kinds == ["Prediction", "FailedPicture", "Prediction", "FailedPicture", "Prediction"]
    good = [batch.results[index].model_dump(mode="json") for index in (0, 2, 4)]
    assert [one["valence"] for one in good] == [one["valence"] for one in alone]
    assert batch.results[1].error.code is ErrorCode.INVALID_IMAGE


async def test_a_batch_of_only_bad_pictures_still_gets_its_results():
    async with gateway() as client:
        response = await client.post("/predict/batch", files=[("images", b"a"), ("images", b"b")])
    assert [result["error"]["code"] for result in response.json()["results"]] == ["invalid_image"] * 2


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"files": [("images", PNG)] * 5}, ErrorCode.TOO_LARGE),
        ({"files": [("images", PNG)] * 50}, ErrorCode.INVALID_REQUEST),
        ({"files": [("image", PNG)]}, ErrorCode.INVALID_REQUEST),
        ({"content": PNG, "headers": typed("image/png")}, ErrorCode.UNSUPPORTED_MEDIA_TYPE),
    ],
    ids=["too many", "far too many", "wrong name", "no form"],
)
async def test_a_batch_that_is_wrong_as_a_whole_is_refused_as_a_whole(request_, code):
    async with gateway(max_batch_images=4) as client:
        problem(await client.post("/predict/batch", **request_), code)


@pytest.mark.parametrize("code", ErrorCode)
async def test_a_fault_reaches_the_caller_as_itself(code):
    backend = FakeBackend()
    backend.failure = AffectError.by_code[code]("on purpose", retry_after_s=1.2)
    async with gateway(backend) as client:
        response = await client.post("/predict", content=JPEG)
    assert problem(response, code).detail == "on purpose"
    assert response.headers["Retry-After"] == "2"


async def test_an_unforeseen_error_is_internal_and_reveals_nothing(caplog):
    backend = FakeBackend()
    backend.failure = ZeroDivisionError("secret")
    async with gateway(backend) as client:
        response = await client.post("/predict", content=JPEG)
        assert "secret" not in problem(response, ErrorCode.INTERNAL).detail
        backend.failure = None
        assert (await client.post("/predict", content=JPEG)).status_code == 200
    assert "secret" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_model_outputs_that_are_not_finite_are_a_backend_error(value):
    backend = FakeBackend()
    backend.spoil = value
    async with gateway(backend) as client:
        problem(await client.post("/predict", content=JPEG), ErrorCode.BACKEND_ERROR)


@pytest.mark.parametrize("how", ["header", "setting"])
async def test_a_request_past_its_deadline_is_answered_and_its_work_stopped(how):
    backend = FakeBackend()
    backend.delay_s = 60
    headers = {"Affect-Timeout-Ms": "400"} if how == "header" else {}
    async with gateway(backend, **({} if headers else {"deadline_ms": 400})) as client:
        problem(await client.post("/predict", content=JPEG, headers=headers), ErrorCode.DEADLINE_EXCEEDED)
    assert backend.stopped == 1


async def test_the_models_of_a_pair_run_side_by_side_where_there_is_no_fused_model():
    stable = (Version(1, AVAILABLE, ("stable",)),)
    backend = FakeBackend({single("densenet121", task): stable for task in Task})
    backend.delay_s = 0.2
    async with gateway(backend) as client:
        started = asyncio.get_running_loop().time()
        answer = Prediction.model_validate_json((await client.post("/predict", content=JPEG)).content)
        assert asyncio.get_running_loop().time() - started < 0.39
    assert answer.expression is not None
    assert answer.valence is not None
    assert set(answer.model.versions) == {"densenet121_classification", "densenet121_regression"}


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "umlaut-ä".encode().decode("latin-1")])
async def test_a_request_id_that_could_not_be_logged_safely_is_replaced(given):
    async with gateway() as client:
        response = await client.get("/livez", headers={"X-Request-Id": given.encode("latin-1")})
    assert response.headers["X-Request-Id"] != given
    assert response.headers["X-Request-Id"].isalnum()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", ErrorCode.NOT_FOUND),
        ("GET", "/predict", ErrorCode.METHOD_NOT_ALLOWED),
        ("DELETE", "/models", ErrorCode.METHOD_NOT_ALLOWED),
    ],
)
async def test_the_routers_own_refusals_are_problem_documents_too(method, path, code):
    async with gateway() as client:
        response = await client.request(method, path)
    assert problem(response, code).detail.endswith(("see /docs", "see /docs for what there is"))
    assert ("Allow" in response.headers) == (code is ErrorCode.METHOD_NOT_ALLOWED)


async def test_models_says_what_is_served_and_which_answers_by_default():
    versions = (Version(1, AVAILABLE, ("stable",)), Version(2, "LOADING", ("canary",)))
    backend = FakeBackend({fused("densenet121"): versions, single("custom_cnn", Task.REGRESSION): versions})
    async with gateway(backend, default_backbone="custom_cnn") as client:
        served = ModelList.model_validate_json((await client.get("/models")).content)
    assert served.default_backbone == "custom_cnn"
    assert [(model.name, model.tasks) for model in served.models] == [
        ("densenet121_affect", list(Task)),
        ("custom_cnn_regression", [Task.REGRESSION]),
    ]
    assert [(one.version, one.state, one.labels) for one in served.models[0].versions] == [
        (1, "AVAILABLE", ["stable"]),
        (2, "LOADING", ["canary"]),
    ]


async def test_readiness_names_the_backbones_that_cannot_answer_yet():
    loading = {fused("densenet121"): (Version(1, "LOADING", ("stable",)),)}
    backend = FakeBackend({**FakeBackend().catalogue, **loading})
    async with gateway(backend) as client:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (
            503,
            {
                "waiting_for": ["densenet121"],
                "reasons": {"densenet121": "densenet121_affect cannot answer yet: try again in a moment"},
            },
        )
        refused = await client.post("/predict", content=JPEG, params={"backbone": "densenet121"})
        problem(refused, ErrorCode.MODEL_NOT_READY)
        backend.catalogue = {fused("densenet121"): (Version(1, AVAILABLE, ("stable",)),)}
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (200, {"waiting_for": [], "reasons": {}})


async def test_metrics_count_by_route_and_code_and_never_by_a_strangers_path():
    async with gateway() as client:
        await client.post("/predict", content=JPEG)
        await client.post("/predict", content=b"text")
        await client.get("/some/strangers/path")
        text = (await client.get("/metrics")).text
    assert 'affect_requests_total{code="",route="/predict",status="200"} 1.0' in text
    assert 'affect_requests_total{code="invalid_image",route="/predict",status="400"} 1.0' in text
    assert 'affect_requests_total{code="not_found",route="none",status="404"} 1.0' in text
    assert "stranger" not in text
    assert 'affect_backend_seconds_count{backbone="mobilenet_v2",version="1"} 1.0' in text


async def test_the_documentation_shows_bodies_errors_and_examples():
    async with gateway() as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/docs")).status_code == 200
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {
        "image/jpeg", "image/png", "image/webp", "multipart/form-data", "application/json",
    }  # fmt: skip
    assert {"200", "400", "404", "413", "415", "422", "429", "503", "504"} <= set(predict["responses"])
    assert "application/problem+json" in predict["responses"]["429"]["content"]
    assert document["components"]["schemas"]["Prediction"]["examples"]
    assert "Problem" in document["components"]["schemas"]


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=300),
    media_type=st.sampled_from(
        [
            "image/jpeg",
            "image/png",
            "application/json",
            "multipart/form-data; boundary=b",
            "text/plain",
            "",
            ";;",
            "b\x7f",
        ]
    ),
    query=st.text(alphabet="abkone=&%version1label[]", max_size=24),
    path=st.sampled_from(["/predict", "/predict/batch"]),
)
def test_no_body_brings_the_gateway_down(body, media_type, query, path):
    async def send() -> httpx.Response:
        async with gateway() as client:
            return await client.post(f"{path}?{query}", content=body, headers={"Content-Type": media_type})

    response = asyncio.run(send())
    assert response.status_code < 500, response.text
    assert response.status_code == 200 or json.loads(response.content)["code"] in set(ErrorCode)


FORM = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + PNG + b"\r\n--b--\r\n"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FORM) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(FORM)))
def test_no_damaged_form_brings_the_gateway_down(damage, kept):
    form = bytearray(FORM)
    for place, value in damage:
        form[place] = value

    async def send() -> httpx.Response:
        async with gateway() as client:
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            return await client.post("/predict", content=bytes(form[:kept]), headers=headers)

    assert asyncio.run(send()).status_code < 500
