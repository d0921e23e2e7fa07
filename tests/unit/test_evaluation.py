"""The evaluation job: each picture scored once, one version throughout, whatever interrupts."""

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from affect_client.errors import ServiceUnreachable
from affect_client.evaluation import job
from affect_client.evaluation.job import EvaluationError, ask, claim, pins
from affect_client.evaluation.predictions import PredictionLog, read_rows
from affect_client.evaluation.scoring import score, score_baselines
from affect_client.evaluation.table import table
from affect_client.http import AsyncClient
from affect_contract.errors import FAULTS, ErrorCode
from affect_contract.labels import LABELS, Expression
from affect_contract.schemas import ModelList
from affect_dataset.samples import Sample

SERVED = {
    "default_backbone": "mobilenet_v2",
    "models": [
        {
            "name": "mobilenet_v2_affect", "backbone": "mobilenet_v2", "tasks": ["classification", "regression"],
            "versions": [
                {"version": 3, "state": "AVAILABLE", "labels": ["stable"]},
                {"version": 4, "state": "AVAILABLE", "labels": ["canary"]},
            ],
        }
    ],
}  # fmt: skip


def samples(folder: Path, count: int = 24) -> list[Sample]:
    made = []
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        path.write_bytes(f"picture {number}".encode())
        affect = None if number == 5 else number / count - 0.5
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made.append(Sample(path.stem, path, Expression(number % 8), affect, affect, digest))
    return made


class Service:
    """Answers like a gateway, right for even pictures; may refuse, stall or go away."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.most_at_once = 0
        self.version = 3
        self.refusals: dict[int, list[ErrorCode]] = {}
        self.dies_after: int | None = None
        self._now = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/models":
            return httpx.Response(200, json=SERVED)
        assert dict(request.url.params) == {"backbone": "mobilenet_v2", "version": "3"}
        number = int(request.content.split(b"picture ")[1].split(b"\r\n")[0])
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise httpx.ConnectError("gone")
        self.asked.append(number)
        if self.refusals.get(number):
            code = self.refusals[number].pop(0)
            body = {"title": "t", "status": FAULTS[code].http, "code": code, "detail": "no", "request_id": "r"}
            return httpx.Response(FAULTS[code].http, json=body)
        return httpx.Response(200, json=self.answer(number))

    def answer(self, number: int) -> dict[str, object]:
        expression = (number + number % 2) % 8
        # In another order than the ids': only the names mean anything.
        probabilities = {label: 0.65 if label == LABELS[expression] else 0.05 for label in sorted(LABELS)}
        return {
            "expression": LABELS[expression], "expression_id": expression, "confidence": 0.65,
            "probabilities": probabilities, "valence": number % 24 / 24 - 0.5, "arousal": 0.0,
            "model": {"backbone": "mobilenet_v2", "versions": {"mobilenet_v2_affect": self.version}}, "request_id": "r",
        }  # fmt: skip


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(job, "_FIRST_WAIT_S", 0.0)


def run(service: Service, todo: list[Sample], out: Path) -> None:
    async def asking() -> None:
        async with AsyncClient("http://gateway", transport=httpx.MockTransport(service)) as client:
            chosen = pins(await client.models(), [])
            claim(out, {"versions": {pin.backbone.value: dict(pin.versions) for pin in chosen}})
            await ask(client, todo, chosen, out)

    asyncio.run(asking())


def test_every_picture_is_asked_once_with_a_bounded_number_in_flight(tmp_path):
    service, todo = Service(), samples(tmp_path, 60)
    run(service, todo, tmp_path / "out")
    assert sorted(service.asked) == list(range(60))
    assert 1 < service.most_at_once <= 16
    rows = list(read_rows(tmp_path / "out" / "predictions.jsonl"))
    assert {row["id"] for row in rows} == {sample.id for sample in todo}
    assert all(row["versions"] == {"mobilenet_v2_affect": 3} and row["latency_ms"] > 0 for row in rows)


def test_a_recorded_answer_is_never_asked_again_and_a_torn_line_is_cut(tmp_path):
    todo, out = samples(tmp_path), tmp_path / "out"
    run(Service(), todo[:10], out)
    path = out / "predictions.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    service = Service()
    run(service, todo, out)
    assert len(service.asked) == 24 - 9
    assert sorted(row["id"] for row in read_rows(path)) == [sample.id for sample in todo]


def test_a_service_that_goes_away_ends_the_run_and_the_next_goes_on(tmp_path):
    todo, out = samples(tmp_path), tmp_path / "out"
    service = Service()
    service.dies_after = 7
    with pytest.raises(ServiceUnreachable):
        run(service, todo, out)
    assert len(list(read_rows(out / "predictions.jsonl"))) <= 7
    run(Service(), todo, out)
    undisturbed = tmp_path / "undisturbed"
    run(Service(), todo, undisturbed)
    assert score(out / "predictions.jsonl", todo) == score(undisturbed / "predictions.jsonl", todo)


def test_what_may_pass_is_asked_again_and_what_will_not_is_a_row(tmp_path):
    service, out = Service(), tmp_path / "out"
    service.refusals = {3: [ErrorCode.OVERLOADED, ErrorCode.MODEL_NOT_READY], 4: [ErrorCode.INVALID_IMAGE]}
    todo = samples(tmp_path)
    run(service, todo, out)
    assert service.asked.count(3) == 3
    assert service.asked.count(4) == 1
    scored = score(out / "predictions.jsonl", todo)["mobilenet_v2"]
    assert scored["coverage"] == {"asked": 24, "answered": 23, "share": 23 / 24}
    assert scored["failures"] == {"invalid_image": 1}


def test_answers_of_another_version_end_the_run(tmp_path):
    service = Service()
    service.version = 4
    with pytest.raises(EvaluationError, match="answered with version 4 where the run began with 3"):
        run(service, samples(tmp_path), tmp_path / "out")


def test_a_folder_of_another_run_is_refused_and_kept(tmp_path):
    claim(tmp_path, {"data_digest": "a", "split": "test"})
    claim(tmp_path, {"data_digest": "a", "split": "test"})
    with pytest.raises(EvaluationError, match=r"holds another run \(data_digest differ\)"):
        claim(tmp_path, {"data_digest": "b", "split": "test"})
    (tmp_path / "run.json").unlink()
    (tmp_path / "predictions.jsonl").touch()
    with pytest.raises(EvaluationError, match="predictions of an unknown run"):
        claim(tmp_path, {"data_digest": "a"})


def test_a_backbone_that_is_not_served_is_named():
    with pytest.raises(EvaluationError, match="does not serve densenet121; it has mobilenet_v2"):
        pins(ModelList.model_validate(SERVED), ["densenet121"])


def test_classes_are_matched_by_name_and_pictures_by_id(tmp_path):
    todo, out = samples(tmp_path), tmp_path / "out"
    run(Service(), todo, out)
    scored = score(out / "predictions.jsonl", todo)["mobilenet_v2"]
    assert scored["classification"]["accuracy"] == 0.5
    assert scored["regression"]["valence"]["rmse"] == pytest.approx(0, abs=1e-9)
    assert scored["regression"]["valence"]["n"] == 23, "one picture has no valence"
    assert scored["regression"]["arousal"]["corr"] is None
    shuffled = tmp_path / "shuffled.jsonl"
    lines = (out / "predictions.jsonl").read_text().splitlines(keepends=True)
    shuffled.write_text("".join(lines[::-1]))
    assert score(shuffled, todo)["mobilenet_v2"] == scored


def test_the_baselines_know_the_training_split_alone(tmp_path):
    todo = samples(tmp_path)
    training = [one for one in todo if one.expression is Expression.FEAR] + todo[:2]
    baselines = score_baselines(training, todo)
    assert baselines["classification"]["accuracy"] == 1 / 8
    mean = np.mean([one.valence for one in training if one.valence is not None])
    truth = np.array([one.valence for one in todo if one.valence is not None])
    assert baselines["regression"]["valence"]["rmse"] == pytest.approx(np.sqrt(np.mean((truth - mean) ** 2)))


def test_the_table_stands_beside_the_study_and_has_no_minus_zero(tmp_path):
    todo = samples(tmp_path)
    run(Service(), todo, tmp_path / "out")
    text = table(score(tmp_path / "out" / "predictions.jsonl", todo), score_baselines(todo, todo))
    rows = text.splitlines()
    assert rows[1].startswith("mobilenet_v2 (version 3)")
    assert "0.5000" in rows[1]
    assert any("0.1876" in row for row in rows)
    assert "-0.0000" not in text


def test_a_log_reopened_after_any_cut_holds_whole_rows(tmp_path):
    path = tmp_path / "p.jsonl"
    with PredictionLog(path) as log:
        for number in range(3):
            log.append({"id": str(number), "backbone": "b"})
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with PredictionLog(path) as log:
            assert len(log.asked()) == whole[:cut].count(b"\n")
        assert all(json.loads(line) for line in path.read_text().splitlines())
