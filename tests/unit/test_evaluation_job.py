"""Asking for a test set: each picture once, a bounded number at a time, one version, whatever interrupts."""

import asyncio
import json

import httpx
import pytest

from affect_client.errors import ServiceUnreachable
from affect_client.http.client import AsyncClient
from affect_contract.errors import ErrorCode
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference import job
from affect_evaluation.inference.job import IN_FLIGHT, collect_answers
from affect_evaluation.inference.version_pins import pin_versions
from affect_evaluation.run.answers import read_answers
from affect_evaluation.run.predictions import read_recorded_answers
from affect_evaluation.scoring.scores import score
from tests.unit.client_gateway import FakeGateway, problem
from tests.unit.evaluation_samples import write_samples

URL = "http://gateway.test"


class Service:
    """The fake gateway, as a transport that counts what is in flight and may go away."""

    def __init__(self, gateway=None):
        self.gateway = gateway or FakeGateway()
        self.goes_away_after = None
        self.in_flight = self.most_in_flight = 0

    async def __call__(self, request):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if self.goes_away_after is not None and len(self.gateway.asked) >= self.goes_away_after:
            raise httpx.ConnectError("gone", request=request)
        status, headers, document = self.gateway.reply(
            request.method, request.url.path, dict(request.url.params), request.content
        )
        return httpx.Response(status, headers=headers, json=document)

    @property
    def pictures(self):
        return [picture.decode() for picture, _ in self.gateway.asked]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Every wait between two tries, none of which is waited."""
    slept = []
    at_once = asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await at_once(0)

    monkeypatch.setattr(job.asyncio, "sleep", sleep)
    return slept


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path / "pictures")


@pytest.fixture
def predictions(tmp_path):
    return tmp_path / "predictions.jsonl"


def run(service, samples, predictions):
    async def asking():
        async with AsyncClient(URL, retries=0, transport=httpx.MockTransport(service)) as client:
            await collect_answers([client], samples, pin_versions(await client.models()), predictions)

    asyncio.run(asking())


def test_every_picture_is_asked_of_every_backbone_once(tmp_path, samples, predictions):
    service = Service(FakeGateway(backbones=("densenet121", "mobilenet_v2"), version=3))
    run(service, samples, predictions)
    asked = sorted((picture.decode(), query["backbone"]) for picture, query in service.gateway.asked)
    expected = [(one.path.read_text(), name) for one in samples for name in ("densenet121", "mobilenet_v2")]
    assert asked == sorted(expected)
    assert {query["version"] for _, query in service.gateway.asked} == {"3"}


def test_a_bounded_number_is_in_flight(tmp_path, service, predictions):
    run(service, write_samples(tmp_path / "many", 5 * IN_FLIGHT), predictions)
    assert service.most_in_flight == IN_FLIGHT


def test_a_row_holds_the_whole_answer_its_versions_and_its_time(service, samples, predictions):
    run(service, samples, predictions)
    rows = {row.id: row for row in read_recorded_answers(predictions)}
    assert set(rows) == {one.id for one in samples}
    for one in samples:
        row = rows[one.id]
        assert row.answer is not None
        assert row.answer.model_dump() == service.gateway.prediction(one.path.read_bytes(), "mobilenet_v2")
        assert (row.backbone, row.versions) == ("mobilenet_v2", {"mobilenet_v2_affect": 1})
        assert row.latency_ms > 0


@pytest.mark.parametrize("cut", [1, 40, 700], ids=["the newline", "a little", "into the line before"])
def test_a_recorded_answer_is_never_asked_again_and_a_torn_line_is_cut(samples, predictions, cut):
    run(Service(), samples[:10], predictions)
    whole = predictions.read_bytes()
    predictions.write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"\n")
    again = Service()
    run(again, samples, predictions)
    assert len(again.pictures) == len(samples) - kept
    assert sorted(row.id for row in read_recorded_answers(predictions)) == [one.id for one in samples]


def test_a_finished_run_asks_nothing(service, samples, predictions):
    run(Service(), samples, predictions)
    before = predictions.read_bytes()
    run(service, samples, predictions)
    assert service.pictures == []
    assert predictions.read_bytes() == before


def test_a_service_that_goes_away_ends_the_run_and_the_next_one_goes_on(tmp_path, service, samples, predictions):
    service.goes_away_after = 7
    with pytest.raises(ServiceUnreachable, match=f"no gateway answers at {URL}"):
        run(service, samples, predictions)
    assert len(list(read_recorded_answers(predictions))) <= 7
    run(Service(), samples, predictions)
    run(Service(), samples, tmp_path / "undisturbed.jsonl")
    assert score(read_answers(predictions, samples), samples) == score(
        read_answers(tmp_path / "undisturbed.jsonl", samples), samples
    )


def test_a_service_that_comes_back_soon_is_waited_for(service, samples, predictions):
    bad_gateway = (502, {}, {"message": "bad gateway"})
    service.gateway.replies = [bad_gateway] * 20
    run(service, samples, predictions)
    assert all(row.answer for row in read_recorded_answers(predictions))


def test_what_is_no_gateway_ends_the_run_instead_of_counting_as_failed_pictures(service, samples, predictions):
    service.gateway.replies = [(502, {}, {"message": "bad gateway"})] * 1000
    with pytest.raises(ServiceUnreachable, match="check the URL"):
        run(service, samples, predictions)
    assert list(read_recorded_answers(predictions)) == []


def test_what_may_pass_is_asked_again_and_gives_one_row(service, samples, predictions, waits):
    service.gateway.replies = [problem(429, "overloaded", "busy"), problem(503, "model_not_ready", "loading")]
    run(service, samples[:1], predictions)
    (row,) = read_recorded_answers(predictions)
    assert row.answer is not None
    assert len(service.pictures) == 3
    assert [seconds for seconds in waits if seconds] == [0.25, 0.5]


@pytest.mark.parametrize(("told", "waited"), [("2", 2.0), ("86400", 30.0), ("0", 0.25)])
def test_retry_after_is_honoured_within_reason(service, samples, predictions, waits, told, waited):
    service.gateway.replies = [problem(429, "overloaded", "busy", **{"Retry-After": told})]
    run(service, samples[:1], predictions)
    assert [seconds for seconds in waits if seconds] == [waited]


def test_what_does_not_pass_in_time_is_a_row_and_the_next_run_asks_it_again(service, samples, predictions):
    service.gateway.replies = [problem(503, "model_not_ready", "loading")] * 6
    run(service, samples[:1], predictions)
    (row,) = read_recorded_answers(predictions)
    assert row.error is not None
    assert row.error.code is ErrorCode.MODEL_NOT_READY
    assert len(service.pictures) == 6
    run(service, samples[:1], predictions)
    scores = score(read_answers(predictions, samples[:1]), samples[:1])["mobilenet_v2"]
    assert (scores["coverage"]["answered"], scores["failures"]) == (1, {})


def test_a_picture_that_is_refused_is_a_row_and_stays_one(service, samples, predictions):
    samples[4].path.write_bytes(b"bad")
    run(service, samples, predictions)
    run(service, samples, predictions)
    assert service.pictures.count("bad") == 1
    scores = score(read_answers(predictions, samples), samples)["mobilenet_v2"]
    assert scores["coverage"] == {"asked": 24, "answered": 23, "share": 23 / 24}
    assert scores["failures"] == {"invalid_image": 1}


def test_a_picture_that_takes_too_long_is_a_row_and_the_others_go_on(service, samples, predictions):
    async def handle(request):
        if request.content == b"picture 2":
            raise httpx.ReadTimeout("late", request=request)
        return await service(request)

    run(handle, samples, predictions)
    failed = [row for row in read_recorded_answers(predictions) if row.error]
    assert [(row.id, row.error.code) for row in failed if row.error] == [("002", ErrorCode.DEADLINE_EXCEEDED)]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"probabilities": {"happy": 1.0}},
        {"probabilities": None, "valence": None, "arousal": None},
        {"arousal": None},
        {"probabilities": dict.fromkeys(FakeGateway().prediction(b"", "x")["probabilities"], 0.3)},
        {"probabilities": dict.fromkeys(FakeGateway().prediction(b"", "x")["probabilities"], float("nan"))},
    ],
    ids=["other labels", "no task", "half a task", "no distribution", "not a number"],
)
def test_an_answer_that_cannot_be_scored_is_a_failure(service, samples, predictions, spoilt):
    answer = service.gateway.prediction(b"picture 0", "mobilenet_v2") | spoilt

    async def handle(request):
        if request.url.path == "/models":
            return await service(request)
        return httpx.Response(200, content=json.dumps(answer).encode())

    run(handle, samples[:1], predictions)
    (row,) = read_recorded_answers(predictions)
    assert row.error is not None
    assert row.error.code is ErrorCode.BACKEND_ERROR


def test_answers_of_another_version_end_the_run(service, samples, predictions):
    answer = FakeGateway(version=2).prediction(samples[0].path.read_bytes(), "mobilenet_v2")
    service.gateway.replies = [(200, {}, answer)]
    with pytest.raises(EvaluationError, match="answered with version 2 where the run began with 1: no result may mix"):
        run(service, samples, predictions)


def test_a_picture_that_is_gone_ends_the_run_with_its_name(service, samples, predictions):
    samples[3].path.unlink()
    with pytest.raises(EvaluationError, match="003.jpg cannot be read any more: No such file"):
        run(service, samples, predictions)
