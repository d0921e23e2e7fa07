"""From recorded answers to scores, baselines and the table."""

import random

import numpy as np
import pytest

from affect_contract.errors import ErrorCode
from affect_contract.labels import LABELS, Expression
from affect_contract.schemas import AnsweringModel, Failure, Prediction
from affect_evaluation.errors import EvaluationError
from affect_evaluation.report.terminal_table import table
from affect_evaluation.run.answers import read_answers
from affect_evaluation.run.predictions import AnswerLog, RecordedAnswer
from affect_evaluation.run.truth import Prior
from affect_evaluation.scoring.scores import score, score_baselines
from affect_evaluation.scoring.study import STUDY_TABLE
from tests.unit.evaluation_samples import WITHOUT_AFFECT, write_samples

COUNT = 24


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path / "pictures", COUNT)


def answer(number, version=1, **spoilt):
    """Right for even pictures, and one off for odd ones; valence right, arousal constant."""
    best = (number + number % 2) % 8
    facts = {
        "expression": LABELS[best], "expression_id": best, "confidence": 0.65,
        # In another order than the ids': only the names mean anything.
        "probabilities": {label: 0.65 if label == LABELS[best] else 0.05 for label in sorted(LABELS)},
        "valence": number / COUNT - 0.5, "arousal": 0.0,
        "model": AnsweringModel(backbone="mobilenet_v2", versions={"mobilenet_v2_affect": version}),
        "request_id": "r",
    }  # fmt: skip
    return Prediction.model_validate(facts | spoilt)


def row(number, given=None, backbone="mobilenet_v2"):
    given = given or answer(number)
    return RecordedAnswer(
        id=f"{number:03}", backbone=backbone, answer=given, versions=given.model.versions, latency_ms=1.0
    )


def failed(number, code=ErrorCode.INVALID_IMAGE):
    return RecordedAnswer(
        id=f"{number:03}", backbone="mobilenet_v2", error=Failure(code=code, detail="why"), latency_ms=1.0
    )


@pytest.fixture
def scored(tmp_path, samples):
    def write_and_score(rows):
        path = tmp_path / "predictions.jsonl"
        path.unlink(missing_ok=True)
        with AnswerLog(path) as log:
            for one in rows:
                log.append(one)
        return score(read_answers(path, samples), samples)

    return write_and_score


def test_classes_are_matched_by_name_and_pictures_by_id(scored):
    scores = scored(row(number) for number in range(COUNT))["mobilenet_v2"]
    assert scores["classification"]["accuracy"] == 0.5
    assert scores["regression"]["valence"]["rmse"] == pytest.approx(0, abs=1e-9)
    assert scores["regression"]["arousal"]["corr"] is None
    assert scores["versions"] == {"mobilenet_v2_affect": 1}


def test_a_picture_without_valence_counts_for_classification_only(scored):
    scores = scored(row(number) for number in range(COUNT))["mobilenet_v2"]
    assert scores["classification"]["n"] == COUNT
    assert scores["regression"]["valence"]["n"] == scores["regression"]["arousal"]["n"] == COUNT - 1
    only = scored([row(WITHOUT_AFFECT)])["mobilenet_v2"]
    assert "regression" not in only


def test_the_order_in_which_answers_came_changes_not_one_bit(scored):
    rows = [row(number, answer(number, valence=(number**2 % 17) / 17)) for number in range(COUNT)]
    scores = scored(rows)
    random.Random(0).shuffle(rows)
    assert scored(rows) == scores


@pytest.mark.parametrize(
    ("missing", "kept"),
    [
        ({"expression": None, "expression_id": None, "confidence": None, "probabilities": None}, "regression"),
        ({"valence": None, "arousal": None}, "classification"),
    ],
    ids=["regression only", "classification only"],
)
def test_a_backbone_served_for_one_task_is_scored_for_that_task(scored, missing, kept):
    scores = scored(row(number, answer(number, **missing)) for number in range(COUNT))["mobilenet_v2"]
    assert {"classification", "regression"} & set(scores) == {kept}


def test_failures_are_counted_by_code_and_lower_the_coverage(scored):
    rows = [failed(0), failed(1), failed(2, ErrorCode.DEADLINE_EXCEEDED), *map(row, range(3, COUNT))]
    scores = scored(rows)["mobilenet_v2"]
    assert scores["failures"] == {"deadline_exceeded": 1, "invalid_image": 2}
    assert scores["coverage"] == {"asked": COUNT, "answered": COUNT - 3, "share": (COUNT - 3) / COUNT}
    assert scores["classification"]["n"] == COUNT - 3


def test_a_failure_that_was_mended_later_is_none(scored):
    scores = scored([failed(0, ErrorCode.OVERLOADED), row(0)])["mobilenet_v2"]
    assert (scores["failures"], scores["coverage"]["answered"]) == ({}, 1)


def test_backbones_are_scored_apart(scored):
    other = answer(1, model={"backbone": "custom_cnn", "versions": {"custom_cnn_regression": 2}})
    scores = scored([row(0), row(1, other, "custom_cnn")])
    assert list(scores) == ["custom_cnn", "mobilenet_v2"]
    assert scores["custom_cnn"]["classification"]["accuracy"] == 0
    assert scores["mobilenet_v2"]["classification"]["accuracy"] == 1
    assert scores["custom_cnn"]["versions"] == {"custom_cnn_regression": 2}


def test_answers_of_two_versions_are_no_result(scored):
    with pytest.raises(EvaluationError, match="mix versions 1 and 2 of mobilenet_v2_affect"):
        scored([row(0), row(1, answer(1, version=2))])


def test_a_picture_of_other_data_is_no_result(scored):
    with pytest.raises(EvaluationError, match="holds the picture 099"):
        scored([row(99, answer(0))])


def test_the_baselines_know_the_training_split_alone(samples):
    training = [one for one in samples if one.expression is Expression.FEAR] + samples[:2]
    baselines = score_baselines(Prior.of(training), samples)
    assert baselines["classification"]["accuracy"] == 1 / 8
    assert baselines["classification"]["auc_roc_macro"] == 0.5
    mean = np.mean([one.valence for one in training if one.valence is not None])
    truth = np.array([one.valence for one in samples if one.valence is not None])
    assert baselines["regression"]["valence"]["rmse"] == pytest.approx(np.sqrt(np.mean((truth - mean) ** 2)))
    assert baselines["regression"]["valence"]["ccc"] == 0


def test_without_annotations_or_training_pictures_there_is_no_baseline_for_them(samples):
    assert set(score_baselines(Prior.of([samples[WITHOUT_AFFECT]]), samples)) == {"classification"}
    assert score_baselines(Prior.of([]), samples) == {}


def test_the_table_stands_beside_baselines_and_study(scored, samples):
    text = table(scored(row(number) for number in range(COUNT)), score_baselines(Prior.of(samples), samples))
    head, model, baseline, *study = text.splitlines()
    assert head.split()[:3] == ["accuracy", "RMSE", "V"]
    assert model.split()[:5] == ["mobilenet_v2", "(version", "1)", "0.5000", "0.0000"]
    assert baseline.startswith("baseline: majority class, mean")
    assert [line.split()[1].rstrip("*") for line in study[:-1]] == list(STUDY_TABLE)
    assert study[0].split()[-9:] == ["-", "0.4435", "0.3061", "0.7183", "0.1876", "0.3696", "0.2048", "0.7650", "-"]
    assert "600 test pictures of AffectNet" in study[-1]
    assert "-0.0000" not in text
    assert len({len(line) for line in (head, model, baseline, *study[:-1])}) == 1


def test_a_model_without_an_answer_says_so_in_the_table(scored, samples):
    text = table(scored([failed(0)]), score_baselines(Prior.of(samples), samples))
    assert text.splitlines()[1].split() == ["mobilenet_v2", "(no", "answers)", *"-" * 9]
