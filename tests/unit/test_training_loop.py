"""The training loop: seeded, resumable, the same on features as behind the backbone."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from affect_contract.outputs import Task
from affect_testbed import tiny_backbone
from affect_training import devices
from affect_training.errors import TrainingError
from affect_training.loop import training_loop
from affect_training.loop.batches import Examples, Pictures, divisible, shuffled
from affect_training.loop.one_task import evaluate, train_one_task
from affect_training.loop.tasks import TASKS
from affect_training.loop.validation import predict
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head, chain
from affect_training.networks.weights import Origin, Weights
from affect_training.recipes.recipe import STUDY_RECIPE, ClassWeights
from tests.unit.training_pictures import Features, write_samples

FEATURES = 12
RECIPE = replace(STUDY_RECIPE, epochs=3, batch_size=8, hidden_units=16, learning_rate=1e-2)


def made_up(task: Task, count: int = 44, *, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, FEATURES)).astype(np.float32)
    if task is Task.CLASSIFICATION:
        return Examples(Features(rows), rows[:, :8].argmax(axis=1).astype(np.int64))
    return Examples(Features(rows), np.tanh(rows[:, :2]))


def head_after_training(folder: Path, task: Task = Task.CLASSIFICATION, *, seed: int = 0, recipe=RECIPE):
    head = build_head(task, FEATURES, recipe, seed=seed)
    history = train_one_task(
        head,
        task,
        recipe,
        made_up(task),
        made_up(task, seed=1),
        seed=seed,
        checkpoint=folder / "c.npz",
        description="t",
    )
    return head, history.epochs


def equal(left: keras.Model, right: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


@pytest.mark.parametrize("task", Task)
def test_a_head_learns_what_there_is_to_learn(task, tmp_path):
    recipe = replace(RECIPE, epochs=8, dropout=0.0)
    head = build_head(task, FEATURES, recipe, seed=0)
    sets = made_up(task, 400), made_up(task, 100, seed=1)
    checkpoint = tmp_path / "c.npz"
    history, _ = train_one_task(head, task, recipe, *sets, seed=0, checkpoint=checkpoint, description="t")
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["val_loss"] < history[0]["val_loss"]


@pytest.mark.parametrize("task", Task)
def test_two_trainings_with_one_seed_are_equal_and_another_seed_differs(task, tmp_path):
    first, history = head_after_training(tmp_path / "1", task)
    second, again = head_after_training(tmp_path / "2", task)
    other, _ = head_after_training(tmp_path / "3", task, seed=1)
    without_time = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in run] for run in (history, again)]
    assert without_time[0] == without_time[1]
    assert equal(first, second)
    assert not equal(first, other)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("epoch_of_death", [0, 1, 2])
@pytest.mark.parametrize("restore_best", [False, True])
def test_an_interrupted_training_goes_on_to_the_same_weights(epoch_of_death, restore_best, tmp_path, monkeypatch):
    recipe = replace(RECIPE, restore_best=restore_best)
    undisturbed, history = head_after_training(tmp_path / "whole", recipe=recipe)

    def dies(*args, epoch, **kwargs):
        if epoch == epoch_of_death:
            raise Stopped
        return real(*args, epoch=epoch, **kwargs)

    real = training_loop._train_epoch
    monkeypatch.setattr(training_loop, "_train_epoch", dies)
    with pytest.raises(Stopped):
        head_after_training(tmp_path / "torn", recipe=recipe)
    monkeypatch.setattr(training_loop, "_train_epoch", real)
    resumed, continued = head_after_training(tmp_path / "torn", recipe=recipe)
    assert equal(undisturbed, resumed)
    assert [epoch["val_loss"] for epoch in continued] == [epoch["val_loss"] for epoch in history]


def test_the_last_epoch_is_kept_unless_the_best_is_asked_for(tmp_path):
    # So steep a rate that the last epochs are worse than an earlier one.
    recipe = replace(RECIPE, epochs=8, learning_rate=0.5)
    last, history = head_after_training(tmp_path / "last", recipe=recipe)
    best, _ = head_after_training(tmp_path / "best", recipe=replace(recipe, restore_best=True))
    losses = [epoch["val_loss"] for epoch in history]
    assert losses[-1] > min(losses)
    validation = made_up(Task.CLASSIFICATION, seed=1)
    assert evaluate(last, Task.CLASSIFICATION, validation)["val_loss"] == pytest.approx(losses[-1], rel=1e-5)
    assert evaluate(best, Task.CLASSIFICATION, validation)["val_loss"] == pytest.approx(min(losses), rel=1e-5)


def test_the_training_loss_is_the_mean_over_pictures_and_not_over_batches(tmp_path):
    head = build_head(Task.REGRESSION, FEATURES, replace(RECIPE, dropout=0.0), seed=0)
    examples = made_up(Task.REGRESSION, 9)  # a batch of eight and a batch of one
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-12, dropout=0.0)
    history, _ = train_one_task(
        head, Task.REGRESSION, recipe, examples, examples, seed=0, checkpoint=tmp_path / "c.npz", description="t"
    )
    assert history[0]["loss"] == pytest.approx(history[0]["val_loss"], rel=1e-5)


@pytest.mark.parametrize("task", Task)
def test_a_head_on_cached_features_equals_the_same_head_behind_the_frozen_backbone(task, tmp_path):
    samples = write_samples(tmp_path / "pictures", 24)
    paths = [sample.path for sample in samples]
    with tiny_backbone.registered(for_training=True) as tiny:
        base = build_base(tiny, Weights(Origin.NONE))
    targets = TASKS[task].labels(samples)
    recipe = replace(STUDY_RECIPE, epochs=2, batch_size=8, learning_rate=1e-2)
    answers = []
    features = Features(predict(base, Pictures(paths), batch_size=8))
    # A random backbone's features hardly differ between pictures; scaled up, they do.
    spread = keras.layers.Rescaling(1 / float(features.rows.std(axis=0).max()), offset=0.0)
    for behind in (False, True):
        head = build_head(task, features.rows.shape[1], recipe, seed=0)
        model = keras.Model(base.input, head(spread(base.output))) if behind else head
        inputs = Pictures(paths) if behind else Features(np.asarray(spread(features.rows)))
        train_one_task(
            model,
            task,
            recipe,
            Examples(inputs, targets),
            Examples(inputs, targets),
            seed=0,
            checkpoint=tmp_path / f"{behind}.npz",
            description="t",
        )
        answers.append(predict(model, inputs, batch_size=8))
    assert np.ptp(answers[0], axis=0).max() > 0.05
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_a_chained_network_gives_what_its_parts_give():
    base = build_base("custom_cnn")
    head = build_head(Task.CLASSIFICATION, base.output.shape[-1], STUDY_RECIPE, seed=0)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    whole = chain(base, head).predict_on_batch(pictures)
    np.testing.assert_allclose(whole, head.predict_on_batch(base.predict_on_batch(pictures)), atol=1e-6)


def test_every_epoch_has_its_own_order_that_holds_every_picture_once():
    orders = [np.concatenate(shuffled(50, 16, seed=3, epoch=epoch)) for epoch in range(2)]
    assert not np.array_equal(*orders)
    for order in orders:
        assert sorted(order) == list(range(50))
    np.testing.assert_array_equal(orders[1], np.concatenate(shuffled(50, 16, seed=3, epoch=1)))


def test_balanced_weights_give_every_expression_the_same_say():
    targets = np.array([0, 0, 0, 1])
    expression, affect = TASKS[Task.CLASSIFICATION], TASKS[Task.REGRESSION]
    balanced = expression.weights(targets, ClassWeights.BALANCED)
    assert balanced is not None
    np.testing.assert_allclose(balanced, [2 / 3, 2 / 3, 2 / 3, 2])
    assert expression.weights(targets, ClassWeights.NONE) is None
    assert affect.weights(targets, ClassWeights.BALANCED) is None


def test_what_cannot_be_divided_among_the_accelerators_is_left_out_of_the_last_batch():
    batches = [np.arange(6), np.arange(6, 12), np.arange(12, 15)]
    assert [len(batch) for batch in divisible(batches, 1)] == [6, 6, 3]
    assert [len(batch) for batch in divisible(batches, 2)] == [6, 6, 2]
    assert [len(batch) for batch in divisible(batches, 6)] == [6, 6]


def test_a_batch_that_cannot_be_divided_is_refused_with_what_can(monkeypatch):
    monkeypatch.setattr("affect_training.devices.count", lambda: 3)
    devices.require_divisible(6)
    with pytest.raises(TrainingError, match=r"batches of 16 cannot be divided among 3 accelerators.*a multiple of 3"):
        devices.require_divisible(16)
