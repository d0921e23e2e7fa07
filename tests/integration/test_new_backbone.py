"""A backbone that is a row in two tables goes the whole way: trained, exported, published, served, scored and drawn."""

import json

import pytest

from affect_client.http.client import Client
from affect_contract.backbones import BACKBONES
from affect_evaluation.__main__ import main as evaluate
from affect_serving.backends.embedded.backend import EmbeddedBackend
from affect_testbed import tiny_backbone
from affect_training.__main__ import main as train
from tests.gateway import listening_gateway


@pytest.fixture(scope="module")
def tiny():
    with tiny_backbone.registered(for_training=True) as name:
        yield name


@pytest.fixture(scope="module")
def models(tiny, faces, tmp_path_factory):
    """Two versions: heads on the frozen base, then everything fine-tuned and promoted."""
    folder = tmp_path_factory.mktemp("tiny")
    usual = ["--data", faces, "--models", folder / "models", "--cache", folder / "cache", "--backbones", tiny]
    frozen = ["--weights", "none", "--epochs", "2", "--learning-rate", "0.01"]
    assert train([str(word) for word in (*usual, *frozen)]) == 0
    tuned = ["--weights", "none", "--mode", "fine-tune", "--epochs", "1", "--promote"]
    assert train([str(word) for word in (*usual, *tuned)]) == 0
    return folder / "models"


def test_it_is_trained_exported_and_published(tiny, models):
    for version, recipe in ((1, "frozen"), (2, "fine-tuned")):
        history = json.loads((models / "runs" / str(version) / "history.json").read_text())
        assert set(history["models"]) == {f"{tiny}_classification", f"{tiny}_regression"}, recipe
        for model in (f"{tiny}_affect", f"{tiny}_classification", f"{tiny}_regression"):
            assert (models / model / str(version) / "saved_model.pb").exists()


def test_its_curves_are_drawn(tiny, models):
    drawn = {path.name for path in (models / "runs" / "2").glob("*.png")}
    assert {f"curves_{tiny}_classification.png", "comparison_classification.png"} <= drawn


def test_it_is_served_and_scored(tiny, models, faces, tmp_path, capsys):
    with listening_gateway(EmbeddedBackend(models, cpus=1)) as urls:
        with Client(urls.http) as client:
            answer = client.predict(next((faces / "images").iterdir()))
            assert client.models().default_backbone == tiny
        assert (answer.model.backbone, answer.model.versions) == (tiny, {f"{tiny}_affect": 2})
        words = ["--url", urls.http, "--data", faces, "--out", tmp_path / "scores"]
        assert evaluate([str(word) for word in words]) == 0
    assert f"{tiny} (version 2)" in capsys.readouterr().out
    assert BACKBONES[tiny].display_name in (tmp_path / "scores" / "report.html").read_text()
    assert (tmp_path / "scores" / "plots" / f"{tiny}_confusion.png").exists()
