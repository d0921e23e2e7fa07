"""Fine-tuning: what it computes, that it can be interrupted, and what it refuses."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.models import Backbone, Task
from affect_contract.preprocess import SHAPE
from affect_dataset import layouts
from affect_training import recipes
from affect_training.augmentation import Augmentation
from affect_training.backbones import build_base, build_head, parts
from affect_training.errors import TrainingError
from affect_training.fine_tuning import JointNetwork, fine_tune, require_layer, unfreeze
from affect_training.folding import folded
from affect_training.losses import AffectLoss, SmoothedCrossEntropy
from affect_training.recipe import FineTuning, Recipe
from affect_training.temperature import apply, fitted
from affect_training.weights import Origin, Weights

NOTHING = Augmentation(flip=False, zoom=0, shift=0, rotation=0, colour=0)
TINY = FineTuning(epochs=3, batch_size=8, hidden_units=8, sides=((1, 32), (2, 64)), learning_rate=1e-3)


@pytest.fixture
def samples(faces):
    return layouts.load(faces).samples[:20]


def random_base(backbone=Backbone.MOBILENET_V2):
    base = build_base(backbone, Weights(Origin.NONE))
    generator = np.random.default_rng(0)
    for layer in parts(base)[1].layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (generator.uniform(0.1, 0.3, value.shape) for value in layer.get_weights())
            layer.set_weights([1 + gamma, beta - 0.2, mean - 0.2, variance])
    return base


def heads_of(base, tasks=tuple(Task)):
    return {task: build_head(task, base.output.shape[-1], TINY, seed=0) for task in tasks}


@pytest.mark.parametrize("backbone", [Backbone.MOBILENET_V2, Backbone.DENSENET121])
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
        unfreeze(base, "block_15_expand")
        heads = heads_of(base)
        epochs = fine_tune(base, heads, recipe, samples[:12], samples[12:], seed=3, checkpoint=checkpoint)
        return epochs, [base.get_weights(), *(head.get_weights() for head in heads.values())]

    whole_epochs, whole = trained(tmp_path / "whole.npz")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("affect_training.checkpoint.Checkpoint.save", stopping_after(2, Stopped))
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
    unfreeze(base, "Conv_1")
    head = heads_of(base, [Task.REGRESSION])[Task.REGRESSION]
    after_each = []
    monkeypatch.setattr(
        "affect_training.checkpoint.Checkpoint.save", lambda *_: after_each.append(head.get_weights()[-1])
    )
    recipe = replace(TINY, epochs=3, batch_size=12, averaging=0.75)
    fine_tune(base, {Task.REGRESSION: head}, recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz")
    mean = after_each[0]
    for weights in after_each[1:]:
        mean = 0.75 * mean + 0.25 * weights
    assert np.abs(mean - after_each[-1]).max() > 1e-5
    np.testing.assert_allclose(head.get_weights()[-1], mean, atol=1e-6)


def stopping_after(epochs, exception):
    from affect_training.checkpoint import Checkpoint  # noqa: PLC0415 - the method as it is before it is replaced

    save = Checkpoint.save

    def saved(self, history):
        save(self, history)
        if len(history) == epochs:
            raise exception

    return saved


def test_what_lies_before_the_named_layer_stays_as_it_was(tmp_path, samples):
    base = random_base()
    unfreeze(base, "block_16_expand")
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
    assert "block_16_project" in changed
    assert "Conv_1" in changed
    assert not any(name.startswith("block_15") for name in changed)


@pytest.mark.parametrize("task", list(Task))
def test_one_task_alone_is_trained_on_its_own_loss(tmp_path, samples, task):
    base = random_base()
    unfreeze(base, "Conv_1")
    recipe = replace(TINY, epochs=1, classification=0.25)
    epochs = fine_tune(
        base, heads_of(base, [task]), recipe, samples[:12], samples[12:], seed=0, checkpoint=tmp_path / "c.npz"
    )
    assert set(epochs) == {task}
    assert np.isfinite(list(epochs[task][0].values())).all()


def test_a_layer_that_is_not_there_is_refused_with_some_that_are():
    with pytest.raises(TrainingError, match=r"no layer 'block_99' to unfreeze from.*block_1"):
        require_layer(random_base(), "block_99")


@given(seed=st.integers(0, 2**32 - 1), side=st.integers(32, 224))
def test_a_changed_picture_is_a_picture_and_follows_from_its_seed(seed, side):
    picture = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    strong = Augmentation(zoom=0.5, shift=0.2, rotation=90, colour=1, erase=1)
    once, again = (strong.apply(picture, np.random.default_rng(seed), side) for _ in range(2))
    assert once.shape == (side, side, 3)
    assert once.dtype == np.float32
    assert once.min() >= 0
    assert once.max() <= 255
    np.testing.assert_array_equal(once, again)


def test_a_picture_that_nothing_changes_stays_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    np.testing.assert_allclose(NOTHING.apply(picture, np.random.default_rng(0), SHAPE[0]), picture, atol=1e-3)


def test_half_of_the_pictures_are_mirrored():
    picture = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    flipping = replace(NOTHING, flip=True)
    changed = [flipping.apply(picture, np.random.default_rng(seed), SHAPE[0]) for seed in range(40)]
    mirrored = [np.allclose(one, picture[:, ::-1], atol=1e-3) for one in changed]
    assert all(flipped or np.allclose(one, picture, atol=1e-3) for flipped, one in zip(mirrored, changed, strict=True))
    assert 8 < sum(mirrored) < 32


def test_the_cross_entropy_is_that_of_keras():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(8), 20).astype(np.float32)
    targets = np.eye(8, dtype=np.float32)[generator.integers(0, 8, 20)]
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(targets, probabilities)
    assert float(SmoothedCrossEntropy(0.1)(targets, probabilities)) == pytest.approx(float(expected), rel=1e-5)


def test_the_affect_loss_is_what_concordance_lacks_and_passes_over_what_is_unknown():
    generator = np.random.default_rng(0)
    true = generator.uniform(-1, 1, (20, 2)).astype(np.float32)
    predicted = (0.5 * true + generator.normal(0, 0.2, true.shape)).astype(np.float32)
    ccc = np.mean(keras.metrics.ConcordanceCorrelation(axis=0)(true, predicted))
    error = np.mean((true - predicted) ** 2)
    known = np.concatenate([true, np.ones((20, 1), np.float32)], axis=1)
    unknown = np.zeros((3, 3), np.float32)
    both = (np.concatenate([known, unknown]), np.concatenate([predicted, np.full((3, 2), 0.9, np.float32)]))
    loss = AffectLoss(concordance=1.0, squared_error=0.5)
    assert float(loss(known, predicted)) == pytest.approx(1 - ccc + 0.5 * error, abs=1e-4)
    assert float(loss(*both)) == pytest.approx(float(loss(known, predicted)), abs=1e-5)


def test_the_temperature_makes_confidence_honest_and_changes_no_winner():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (4000, 8))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (generator.random((4000, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=7)
    overconfident = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    assert fitted(overconfident.astype(np.float32), labels) == pytest.approx(3, rel=0.1)
    head = build_head(Task.CLASSIFICATION, 16, TINY, seed=0)
    rows = generator.normal(0, 3, (50, 16)).astype(np.float32)
    before = keras.ops.convert_to_numpy(head(rows))
    apply(head, 2.0)
    after = keras.ops.convert_to_numpy(head(rows))
    expected = np.sqrt(before) / np.sqrt(before).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, atol=1e-5)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_read_and_gives_its_command(name):
    assert isinstance(recipes.load(name), Recipe)


def test_the_study_is_what_the_defaults_are():
    assert recipes.load("study") == Recipe()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs = 3", "gives no mode: write mode = one of frozen, fine-tune"),
        ("mode = 'fine-tune'\nepoch = 3", "no recipe of its mode has the key 'epoch'"),
        ("mode = 'fine-tune'\n[augmentation]\nflips = true", "no recipe of its mode has the key 'augmentation.flips'"),
        ("mode = 'frozen'\nmixup = 0.2", "no recipe of its mode has the key 'mixup'"),
        ("mode = 'fine-tune'\nepochs = 0", "epochs = 0: "),
        ("mode = 'fine-tune'\nsides = [[1, 300]]", "sides.0.1 = 300: "),
        ("mode = ", "is no TOML"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_its_key(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(TrainingError) as refused:
        recipes.load(str(path))
    assert sentence in str(refused.value)
    assert str(path) in str(refused.value)
