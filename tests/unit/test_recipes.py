"""Recipes are files; what cannot be in one is refused by its key."""

import pytest

from affect_training.errors import TrainingError
from affect_training.recipes.files import load_recipe, recipe_names
from affect_training.recipes.recipe import FineTuning, Recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_read_and_gives_its_command(name):
    assert isinstance(load_recipe(name), Recipe)


def test_the_study_is_what_the_defaults_are():
    assert load_recipe("study") == Recipe()


def test_the_best_recipe_is_what_the_defaults_of_fine_tuning_are_but_for_small_pictures_first():
    best = load_recipe("best")
    assert best == FineTuning(sides=best.sides)


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
        load_recipe(str(path))
    assert sentence in str(refused.value)
    assert str(path) in str(refused.value)
