"""Training does not depend on which Keras backend runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, sys, tempfile
from dataclasses import replace
from pathlib import Path
import keras, numpy as np
from affect_contract.models import Task
from affect_training.backbones import build_head
from affect_training.inputs import Features
from affect_training.loop import Examples, predict, train
from affect_training.recipe import STUDY

recipe = replace(STUDY, epochs=4, batch_size=8, hidden_units=16, learning_rate=1e-2, dropout=0.0)
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
        train(head, task, recipe, examples, examples, seed=0, checkpoint=checkpoint, description="t")
    answers[task] = predict(head, examples.inputs).tolist()
print(json.dumps(answers))
"""


def trained_on(backend: str) -> dict:
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict = json.loads(done.stdout)
    return answers


def test_the_same_training_on_another_backend_gives_the_same_answers():
    pytest.importorskip("jax", reason="JAX is not installed")
    tensorflow, jax = trained_on("tensorflow"), trained_on("jax")
    assert (tensorflow.pop("backend"), jax.pop("backend")) == ("tensorflow", "jax")
    for task, answers in tensorflow.items():
        assert np.ptp(answers, axis=0).max() > 0.05
        np.testing.assert_allclose(answers, jax[task], atol=1e-3)


def test_an_export_from_another_backend_is_refused_before_any_work(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    words = [sys.executable, "-m", "affect_training", "--data", str(tmp_path), "--models", str(tmp_path / "models")]
    done = subprocess.run(words, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("exported from TensorFlow: set KERAS_BACKEND=tensorflow")
    assert not (tmp_path / "models").exists()
