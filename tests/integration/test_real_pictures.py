"""The study's recipe on real AffectNet pictures gives what the study found; needs pictures and weights of one's own."""

import json

import numpy as np
import tensorflow as tf

from affect_contract.preprocess import preprocess
from affect_evaluation.run.answers import read_answers
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import read_truth
from affect_testbed.gateway_process import gateway_process
from tests.conftest import command


def test_the_studys_recipe_on_real_pictures_gives_the_studys_figures(real_data, real_weights, tmp_path):
    models, out = tmp_path / "models", tmp_path / "out"
    command(
        "affect-train", "--data", real_data, "--models", models, "--cache", tmp_path / "cache",
        "--backbones", "mobilenet_v2", "--weights", real_weights, "--split-file", tmp_path / "split.csv",
    )  # fmt: skip
    split = ["--data", real_data, "--split-file", tmp_path / "split.csv"]
    with gateway_process("--models", models) as (_, http, rpc):
        command("affect-evaluate", "--url", http, *split, "--out", out)
        command("affect-evaluate", "--url", rpc, *split, "--out", tmp_path / "rpc")
    assert (out / "metrics.json").read_bytes() == (tmp_path / "rpc" / "metrics.json").read_bytes()
    agree_with_tensorflow(models, out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert not metrics["data"]["excluded"]
    scores = metrics["models"]["mobilenet_v2"]
    assert scores["coverage"]["share"] == 1
    # Three standard deviations of five seeds around their mean, on a test split of 512.
    assert 0.24 < scores["classification"]["accuracy"] < 0.32
    assert 0.10 < scores["regression"]["valence"]["ccc"] < 0.24
    assert scores["regression"]["valence"]["rmse"] < metrics["baselines"]["regression"]["valence"]["rmse"]


def agree_with_tensorflow(models, run):
    """The recorded answers are TensorFlow's own of the same SavedModel."""
    samples = read_truth(run).samples
    answers = read_answers(run / PREDICTIONS_FILE, samples)["mobilenet_v2"]
    model = tf.saved_model.load(str(models / "mobilenet_v2_affect" / "1")).signatures["serving_default"]
    for start in range(0, len(samples), 64):
        images = np.stack([preprocess(sample.path.read_bytes()) for sample in samples[start : start + 64]])
        outputs = {name: values.numpy() for name, values in model(images=tf.constant(images)).items()}
        probabilities = answers.probabilities[start : start + 64]
        assert np.ptp(probabilities, axis=0).max() > 0.05
        np.testing.assert_allclose(probabilities, outputs["probabilities"], atol=1e-4)
        affect = np.stack([outputs["valence"], outputs["arousal"]], axis=1)
        np.testing.assert_allclose(answers.affect[start : start + 64], affect, atol=1e-4)
