"""Fine-tuning: what it computes, that it can be interrupted, and what it refuses."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from affect_contract.outputs import Task
from affect_contract.preprocess import SHAPE
from affect_dataset import loading
from affect_testbed import tiny_backbone
from affect_testbed.tiny_backbone import LAST_CONVOLUTION
from affect_training.errors import TrainingError
from affect_training.loop.batches import read_picture
from affect_training.loop.fine_tuning import fine_tune
from affect_training.loop.validation import affect_measures
from affect_training.networks.backbones import build_base, parts
from affect_training.networks.folding import folded
from affect_training.networks.heads import build_head, chain
from affect_training.networks.joint import JointNetwork, unfreeze
from affect_training.networks.weights import Origin, Weights
from affect_training.preconditions import require_labels, require_trainable
from affect_training.recipes.recipe import FineTuning, TrainingPrecision, Watched

TINY = FineTuning(averaging=0.0, epochs=3, batch_size=8, hidden_units=8, sides=((1, 32), (2, 64)), learning_rate=1e-3)


@pytest.fixture
def samples(faces):
    return loading.load(faces).samples[:20]


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Two convolutions do where any network will."""
    with tiny_backbone.registered(for_training=True):
        yield


def random_base(backbone=tiny_backbone.NAME):
    base = build_base(backbone, Weights(Origin.NONE))
    generator = np.random.default_rng(0)
    for layer in parts(base)[1].layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (generator.uniform(0.1, 0.3, value.shape) for value in layer.get_weights())
            layer.set_weights([1 + gamma, beta - 0.2, mean - 0.2, variance])
    return base


def heads_of(base, tasks=tuple(Task)):
    return {task: build_head(task, base.output.shape[-1], TINY, seed=0) for task in tasks}


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "densenet121"])
def test_a_folded_network_gives_the_maps_of_the_network_in_inference_mode(backbone):
    network = parts(random_base(backbone))[1]
    pictures = np.random.default_rng(1).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(network(pictures, training=False))
    assert np.ptp(expected, axis=0).max() > 0.05 * np.abs(expected).max()
    maps = keras.ops.convert_to_numpy(folded(network)(pictures))
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


def test_the_joint_network_answers_like_its_parts_at_any_side():
    base = random_base()
    heads = heads_of(base)
    pictures = np.random.default_rng(1).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    together = JointNetwork(base, heads)
    for task, head in heads.items():
        np.testing.assert_allclose(together(pictures)[task], head(base(pictures)), atol=1e-4)
    assert together(pictures[:, :64, :64])[Task.REGRESSION].shape == (2, 2)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_an_interrupted_run_gives_what_an_uninterrupted_one_gives(tmp_path, samples, averaging):
    class Stopped(Exception):
        pass

    recipe = replace(TINY, averaging=averaging)

    def trained(checkpoint):
        base = random_base()
        unfreeze(base, LAST_CONVOLUTION)
        heads = heads_of(base)
        tuned = fine_tune(base, heads, recipe, samples[:12], samples[12:], seed=3, checkpoint=checkpoint)
        epochs = {task: history.epochs for task, history in tuned.items()}
        return epochs, [base.get_weights(), *(head.get_weights() for head in heads.values())]

    whole_epochs, whole = trained(tmp_path / "whole.npz")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("affect_training.loop.checkpoint.Checkpoint.save", stopping_after(2, Stopped))
        with pytest.raises(Stopped):
            trained(tmp_path / "resumed.npz")
    resumed_epochs, resumed = trained(tmp_path / "resumed.npz")
    for task in Task:
        for one, other in zip(whole_epochs[task], resumed_epochs[task], strict=True):
            assert {**one, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-4, abs=1e-5)
    for one, other in zip(whole, resumed, strict=True):
        for array, same in zip(one, other, strict=True):
            np.testing.assert_allclose(array, same, atol=1e-5)


def test_averaged_weights_are_the_running_mean_of_what_the_steps_gave(tmp_path, samples, monkeypatch):
    base = random_base()
    unfreeze(base, LAST_CONVOLUTION)
    head = heads_of(base, [Task.REGRESSION])[Task.REGRESSION]
    after_each = []
    monkeypatch.setattr(
        "affect_training.loop.checkpoint.Checkpoint.save", lambda *_: after_each.append(head.get_weights()[-1])
    )
    recipe = replace(TINY, epochs=3, batch_size=12, averaging=0.75)
    fine_tune(base, {Task.REGRESSION: head}, recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz")
    mean = after_each[0]
    for weights in after_each[1:]:
        mean = 0.75 * mean + 0.25 * weights
    assert np.abs(mean - after_each[-1]).max() > 1e-5
    np.testing.assert_allclose(head.get_weights()[-1], mean, atol=1e-6)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_kept_epoch_is_the_one_with_the_best_measure(tmp_path, samples, averaging, monkeypatch):
    monkeypatch.setattr(
        "affect_training.loop.fine_tuning.warmup_cosine",
        lambda recipe, steps: lambda step: 1e-4 if 2 * step < steps else 0.1,
    )
    base = random_base()
    unfreeze(base, LAST_CONVOLUTION)
    heads = heads_of(base, [Task.REGRESSION])
    recipe = replace(TINY, epochs=4, restore_best=True, squared_error=1.0, averaging=averaging)
    tuned = fine_tune(base, heads, recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz")
    epochs, kept = tuned[Task.REGRESSION]
    losses = [epoch["val_loss"] for epoch in epochs]
    assert losses[kept] == min(losses)
    assert kept < 2, "what was learnt at the higher rate is worse"
    pictures = np.stack([read_picture(sample.path) for sample in samples[12:]])
    true = np.array([(sample.valence, sample.arousal) for sample in samples[12:]], np.float32)
    found = affect_measures(true, np.asarray(chain(base, heads[Task.REGRESSION]).predict_on_batch(pictures)))
    lacking = 1 - (found["val_ccc_valence"] + found["val_ccc_arousal"]) / 2
    assert lacking + found["val_loss"] == pytest.approx(min(losses), rel=1e-3)


def test_training_stops_where_nothing_gets_better_and_does_not_go_on_when_it_is_called_again(tmp_path, samples):
    def tuned():
        base = random_base()
        unfreeze(base, LAST_CONVOLUTION)
        # Nothing can get better at this rate, and of several alike the first was the better one.
        recipe = replace(TINY, epochs=9, learning_rate=1e-30, patience=2, sides=((1, 32),))
        return fine_tune(
            base, heads_of(base), recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz"
        )

    assert len(tuned()[Task.REGRESSION].epochs) == 3
    assert len(tuned()[Task.REGRESSION].epochs) == 3


def test_weight_decay_takes_from_kernels_alone(tmp_path, samples):
    def last_layer(decay):
        base = random_base()
        unfreeze(base, LAST_CONVOLUTION)
        head = heads_of(base, [Task.REGRESSION])[Task.REGRESSION]
        head.layers[-1].set_weights([np.ones_like(array) for array in head.layers[-1].get_weights()])
        recipe = replace(TINY, epochs=1, batch_size=12, learning_rate=0.1, warmup=0.0, weight_decay=decay)
        fine_tune(
            base, {Task.REGRESSION: head}, recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / str(decay)
        )
        return head.layers[-1].get_weights()

    (kernel, bias), (smaller_kernel, same_bias) = last_layer(0.0), last_layer(0.5)
    np.testing.assert_allclose(kernel - smaller_kernel, 0.1 * 0.5, atol=1e-5)
    np.testing.assert_allclose(bias, same_bias, atol=1e-6)


@pytest.mark.parametrize("precision", [TrainingPrecision.MIXED_BFLOAT16, TrainingPrecision.MIXED_FLOAT16])
def test_mixed_precision_trains_float32_weights_to_about_the_same(tmp_path, samples, precision):
    def trained(one):
        base = random_base()
        unfreeze(base, LAST_CONVOLUTION)
        heads = heads_of(base)
        recipe = replace(TINY, epochs=2, precision=one, sides=((1, 32),))
        tuned = fine_tune(base, heads, recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / one)
        layer = parts(base)[1].get_layer(LAST_CONVOLUTION)
        assert layer.compute_dtype == layer.kernel.dtype == "float32"
        return [epoch["loss"] for epoch in tuned[Task.REGRESSION].epochs]

    expected, found = trained(TrainingPrecision.FLOAT32), trained(precision)
    assert found == pytest.approx(expected, rel=0.05)
    assert found != pytest.approx(expected, rel=1e-6)


def stopping_after(epochs, exception):
    from affect_training.loop.checkpoint import Checkpoint  # noqa: PLC0415 - the method as it is before it is replaced

    save = Checkpoint.save

    def saved(self, history, *measured):
        save(self, history, *measured)
        if len(history) == epochs:
            raise exception

    return saved


def test_what_lies_before_the_named_layer_stays_as_it_was(tmp_path, samples):
    base = random_base()
    unfreeze(base, LAST_CONVOLUTION)
    network = parts(base)[1]
    before = {layer.name: layer.get_weights() for layer in network.layers}
    fine_tune(
        base, heads_of(base), replace(TINY, epochs=1), samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz"
    )
    changed = {
        layer.name
        for layer in network.layers
        if any((new != old).any() for new, old in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {LAST_CONVOLUTION, "tiny_norm_2"}


@pytest.mark.parametrize("task", list(Task))
def test_one_task_alone_is_trained_on_its_own_loss(tmp_path, samples, task):
    base = random_base()
    unfreeze(base, LAST_CONVOLUTION)
    recipe = replace(TINY, epochs=1, classification=0.25)
    tuned = fine_tune(
        base, heads_of(base, [task]), recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz"
    )
    assert set(tuned) == {task}
    assert np.isfinite(list(tuned[task].epochs[0].values())).all()


@pytest.mark.parametrize(
    ("wrong", "tasks", "sentence"),
    [
        ({"unfreeze_from": "block_99"}, list(Task), r"no layer 'block_99' to unfreeze from.*block_1"),
        ({"concordance": 0.0}, [Task.REGRESSION], "concordance and squared_error are both 0; raise one"),
        ({"classification": 0.0}, list(Task), "nothing teaches classification: its weight is 0"),
        ({"patience": 3, "watch": Watched.ACCURACY}, [Task.REGRESSION], "watch = val_accuracy needs classification"),
        ({"restore_best": True, "watch": Watched.CONCORDANCE}, [Task.CLASSIFICATION], "val_ccc needs regression"),
    ],
    ids=["a layer", "a loss", "another loss", "a watched accuracy", "a watched concordance"],
)
def test_what_a_recipe_needs_and_is_not_there_is_said_before_any_work(wrong, tasks, sentence):
    with pytest.raises(TrainingError, match=sentence):
        require_trainable(replace(TINY, **wrong), tasks, random_base("mobilenet_v2"))


def test_labels_that_are_not_there_are_said_before_any_work(samples):
    unknown = [replace(sample, valence=None, arousal=None) for sample in samples]
    with pytest.raises(TrainingError, match="has the labels that regression needs: leave regression out of --tasks"):
        require_labels(list(Task), unknown)
