"""Which versions a run asks, and which folder it may write to."""

import json

import pytest

from affect_contract.schemas import ModelList, Prediction
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference.version_pins import Pin, pin_versions
from affect_evaluation.run.manifest import RUN_FILE, claim, identity
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from tests.unit.client_gateway import FakeGateway
from tests.unit.evaluation_samples import write_samples

MOBILENET = "mobilenet_v2"


def served(**models):
    """``mobilenet_v2_affect={1: ["stable"], 2: []}`` and so on."""
    return ModelList.model_validate(
        {
            "default_backbone": MOBILENET,
            "models": [
                {
                    "name": name,
                    "backbone": name.rpartition("_")[0],
                    "tasks": ["classification"],
                    "versions": [
                        {"version": version, "state": "AVAILABLE", "labels": labels}
                        for version, labels in versions.items()
                    ],
                }
                for name, versions in models.items()
            ],
        }
    )


def test_the_stable_version_is_pinned_by_its_number():
    (pin,) = pin_versions(served(mobilenet_v2_affect={3: ["stable"], 4: ["canary"]}))
    assert pin == Pin(MOBILENET, {"mobilenet_v2_affect": 3})
    assert pin.query == {"backbone": "mobilenet_v2", "version": 3}


def test_models_published_apart_are_asked_for_by_label():
    (pin,) = pin_versions(served(custom_cnn_classification={2: ["stable"]}, custom_cnn_regression={1: ["stable"]}))
    assert pin.versions == {"custom_cnn_classification": 2, "custom_cnn_regression": 1}
    assert pin.query == {"backbone": "custom_cnn", "label": "stable"}


def test_a_label_picks_the_versions_and_the_backbones_that_have_it():
    listed = served(mobilenet_v2_affect={3: ["stable"], 4: ["canary"]}, custom_cnn_classification={1: ["stable"]})
    (pin,) = pin_versions(listed, label="canary")
    assert pin == Pin(MOBILENET, {"mobilenet_v2_affect": 4}, "canary")
    assert pin.query == {"backbone": "mobilenet_v2", "version": 4}
    with pytest.raises(EvaluationError, match="no model of custom_cnn has a canary version: publish one first"):
        pin_versions(listed, ["custom_cnn"], "canary")
    with pytest.raises(EvaluationError, match="no model has the label 'beta'"):
        pin_versions(listed, label="beta")


def test_without_labels_the_latest_version_is_the_stable_one():
    (pin,) = pin_versions(served(mobilenet_v2_affect={3: [], 4: []}))
    assert pin.versions == {"mobilenet_v2_affect": 4}


def test_the_backbones_wanted_are_asked_in_the_order_given():
    listed = served(custom_cnn_regression={1: ["stable"]}, mobilenet_v2_affect={1: ["stable"]})
    assert [pin.backbone for pin in pin_versions(listed)] == ["custom_cnn", "mobilenet_v2"]
    assert [pin.backbone for pin in pin_versions(listed, [MOBILENET])] == ["mobilenet_v2"]


@pytest.mark.parametrize(
    ("listed", "wanted", "sentence"),
    [
        (served(mobilenet_v2_affect={1: ["stable"]}), ["densenet121"], "does not serve densenet121; it has mob"),
        (served(mobilenet_v2_affect={1: ["canary"]}), [], "no model of mobilenet_v2 has a stable version: promote one"),
        (served(), [], "the gateway serves no model"),
    ],
    ids=["not served", "not stable", "nothing"],
)
def test_what_cannot_be_pinned_is_said(listed, wanted, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        pin_versions(listed, wanted)


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [({"a": 2}, "began with 1"), ({"a": 1, "b": 1}, "b answered with version 1 where the run began with none of it")],
    ids=["a newer version", "a model published meanwhile"],
)
def test_an_answer_of_anything_else_than_what_is_pinned_is_refused(versions, sentence):
    facts = FakeGateway().prediction(b"", "mobilenet_v2")
    Pin(MOBILENET, {"a": 1, "c": 1}).require(Prediction.model_validate(facts | {"model": model({"a": 1})}))
    with pytest.raises(EvaluationError, match=sentence):
        Pin(MOBILENET, {"a": 1, "c": 1}).require(Prediction.model_validate(facts | {"model": model(versions)}))


def model(versions):
    return {"backbone": "mobilenet_v2", "versions": versions}


@pytest.fixture
def run(tmp_path):
    return identity("digest", "test", write_samples(tmp_path / "pictures", 3), [Pin(MOBILENET, {"a": 1})])


def test_the_same_run_may_come_back_to_its_folder(tmp_path, run):
    claim(tmp_path / "deep" / "out", run)
    before = (tmp_path / "deep" / "out" / RUN_FILE).read_bytes()
    claim(tmp_path / "deep" / "out", run)
    assert (tmp_path / "deep" / "out" / RUN_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data_digest": "other"}, "data digest"),
        ({"split": "all"}, "split"),
        ({"pictures": "other"}, "pictures"),
        ({"versions": {"mobilenet_v2": {"a": 2}}}, "versions"),
    ],
)
def test_the_folder_of_another_run_is_refused_and_kept(tmp_path, run, change, word):
    claim(tmp_path, run)
    before = (tmp_path / RUN_FILE).read_bytes()
    with pytest.raises(EvaluationError, match=rf"holds another run \(other {word}\): name another folder with --out"):
        claim(tmp_path, run | change)
    assert (tmp_path / RUN_FILE).read_bytes() == before


def test_the_identity_knows_which_pictures_but_not_their_order(tmp_path, run):
    samples = write_samples(tmp_path / "pictures", 4)
    chosen = [Pin(MOBILENET, {"a": 1})]
    assert identity("digest", "test", samples[2::-1], chosen) == run
    assert identity("digest", "test", samples[1:], chosen) != run


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"identity": 1}', json.dumps({"data_digest": "x"})])
def test_a_file_that_no_run_wrote_is_left_alone(tmp_path, run, text):
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(EvaluationError, match="is not what a run writes"):
        claim(tmp_path, run)
    assert (tmp_path / RUN_FILE).read_text() == text


def test_predictions_without_their_run_are_not_gone_on_with(tmp_path, run):
    (tmp_path / PREDICTIONS_FILE).touch()
    with pytest.raises(EvaluationError, match="predictions of an unknown run"):
        claim(tmp_path, run)


def test_a_folder_that_cannot_be_made_is_said(tmp_path, run):
    (tmp_path / "file").touch()
    with pytest.raises(EvaluationError, match="cannot be used for the results"):
        claim(tmp_path / "file" / "out", run)
