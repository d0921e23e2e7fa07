"""The study's recipe on real AffectNet pictures gives what the study found; needs pictures and weights of one's own."""

import json

from affect_client.local_gateway import local_gateway
from tests.conftest import command


def test_the_studys_recipe_on_real_pictures_gives_the_studys_figures(real_data, real_weights, tmp_path):
    models, out = tmp_path / "models", tmp_path / "out"
    command(
        "affect-train", "--data", real_data, "--models", models, "--cache", tmp_path / "cache",
        "--backbones", "mobilenet_v2", "--weights", real_weights, "--split-file", tmp_path / "split.csv",
    )  # fmt: skip
    with local_gateway(models) as url:
        command(
            "affect-evaluate", "--url", url, "--data", real_data, "--out", out, "--split-file", tmp_path / "split.csv"
        )
    metrics = json.loads((out / "metrics.json").read_text())
    assert not metrics["data"]["excluded"]
    scores = metrics["models"]["mobilenet_v2"]
    assert scores["coverage"]["share"] == 1
    # Three standard deviations of five seeds around their mean, on a test split of 512.
    assert 0.24 < scores["classification"]["accuracy"] < 0.32
    assert 0.10 < scores["regression"]["valence"]["ccc"] < 0.24
    assert scores["regression"]["valence"]["rmse"] < metrics["baselines"]["regression"]["valence"]["rmse"]
