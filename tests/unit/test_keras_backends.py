"""Training does not depend on which Keras backend runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from affect_registry.store import PROVENANCE_FILE
from tests.conftest import ROOT, command

SCRIPT = """
import json, sys, tempfile
from dataclasses import replace
from pathlib import Path
import keras, numpy as np
from affect_contract.outputs import Task
from affect_training.networks.heads import build_head
from affect_training.loop.batches import Examples
from affect_training.loop.one_task import train_one_task
from affect_training.loop.validation import predict
from affect_training.recipes.recipe import STUDY_RECIPE
from tests.unit.training_pictures import Features

recipe = replace(STUDY_RECIPE, epochs=4, batch_size=8, hidden_units=16, learning_rate=1e-2, dropout=0.0)
rng = np.random.default_rng(0)
rows = rng.normal(size=(43, 12)).astype(np.float32)
answers = {"backend": keras.backend.backend()}
for task, labels in ((Task.CLASSIFICATION, rows[:, :8].argmax(axis=1)), (Task.REGRESSION, np.tanh(rows[:, :2]))):
    head = build_head(task, 12, recipe, seed=0)
    # Each backend draws other initial weights from a seed; these are the same for all.
    head.set_weights([rng.normal(size=array.shape, scale=0.2).astype(np.float32) for array in head.get_weights()])
    examples = Examples(Features(rows), labels)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "c.npz"
        train_one_task(head, task, recipe, examples, examples, seed=0, checkpoint=checkpoint, description="t")
    answers[task] = predict(head, examples.inputs).tolist()
print(json.dumps(answers))
"""


FINE_TUNING = """
import json, sys
from pathlib import Path
import keras, numpy as np
from affect_contract.outputs import Task
from affect_dataset import loading
from affect_testbed import tiny_backbone
from affect_training import devices
from affect_training.networks.backbones import build_base, parts
from affect_training.networks.heads import build_head
from affect_training.loop.fine_tuning import fine_tune
from affect_training.networks.joint import unfreeze
from affect_training.recipes.recipe import FineTuning
from affect_training.networks.weights import Origin, Weights

count = devices.use_all()
recipe = FineTuning(epochs=2, batch_size=6, hidden_units=8, dropout=0.0, sides=((1, 32),), learning_rate=1e-3)
samples = loading.load(Path(sys.argv[1])).samples[:20]
with tiny_backbone.registered(for_training=True) as tiny:
    base = build_base(tiny, Weights(Origin.NONE))
rng = np.random.default_rng(0)
heads = {task: build_head(task, base.output.shape[-1], recipe, seed=0) for task in Task}
for model in (base, *heads.values()):
    model.set_weights([rng.uniform(0.02, 0.3, array.shape) - 0.1 for array in model.get_weights()])
for layer in parts(base)[1].layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.set_weights([array * 0 + value for array, value in zip(layer.get_weights(), (1, 0, 0, 1))])
unfreeze(base, tiny_backbone.LAST_CONVOLUTION)
tuned = fine_tune(base, heads, recipe, samples[:12], samples[12:19], seed=0, checkpoint=Path(sys.argv[2]))
print(json.dumps({"count": count, "epochs": tuned[Task.REGRESSION].epochs}))
"""


def trained_on(backend: str, script: str = SCRIPT, *arguments: object, **environment: str) -> dict:
    words = [sys.executable, "-c", script, *map(str, arguments)]
    variables = os.environ | {"KERAS_BACKEND": backend} | environment
    done = subprocess.run(words, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_the_same_training_on_another_backend_gives_the_same_answers():
    pytest.importorskip("jax", reason="JAX is not installed")
    tensorflow, jax = trained_on("tensorflow"), trained_on("jax")
    assert (tensorflow.pop("backend"), jax.pop("backend")) == ("tensorflow", "jax")
    for task, answers in tensorflow.items():
        assert np.ptp(answers, axis=0).max() > 0.05
        np.testing.assert_allclose(answers, jax[task], atol=1e-3)


def test_a_batch_divided_among_two_accelerators_teaches_what_one_teaches(faces, tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    answers = {}
    for count in (1, 2):
        # JAX shows the processor as so many devices. The seven pictures of the validation set are no even number.
        shown = f"--xla_force_host_platform_device_count={count}"
        checkpoint = tmp_path / f"{count}.npz"
        answers[count] = trained_on("jax", FINE_TUNING, faces, checkpoint, XLA_FLAGS=shown, JAX_PLATFORMS="cpu")
        assert answers[count]["count"] == count
    for one, two in zip(*(answers[count]["epochs"] for count in (1, 2)), strict=True):
        assert {**one, "seconds": 0} == pytest.approx({**two, "seconds": 0}, rel=1e-3, abs=1e-4)


def test_what_jax_has_trained_is_published_and_served(faces, tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    models = tmp_path / "models"
    command(
        "affect-train", "--data", faces, "--models", models, "--cache", tmp_path / "cache", "--backbones", "custom_cnn",
        "--epochs", 1, "--tasks", "classification", env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    provenance = json.loads((models / "custom_cnn_classification" / "1" / PROVENANCE_FILE).read_text())
    assert provenance["libraries"]["keras_backend"] == "jax"
    answers = command("affect-predict", faces / "images" / "1.jpg", "--models", models, "--json").stdout
    assert sum(json.loads(answers)["probabilities"].values()) == pytest.approx(1, abs=1e-5)
