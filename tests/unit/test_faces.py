"""Synthetic faces: what is felt moves the drawing; person, pose and light are the generator's."""

from itertools import combinations

import numpy as np
import pytest

from affect_contract.labels import Expression
from affect_contract.preprocess import SIDE
from affect_dataset.faces.features import TYPICAL_AFFECT
from affect_dataset.faces.synthetic import draw_face


def face(expression, valence=None, arousal=None, *, seed=0, side=SIDE):
    centre = TYPICAL_AFFECT[expression]
    values = (centre[0] if valence is None else valence, centre[1] if arousal is None else arousal)
    return np.asarray(draw_face(expression, *values, np.random.default_rng(seed), side=side), np.float32)


def difference(one, other):
    return np.abs(one - other).mean()


def test_the_same_arguments_draw_the_same_face():
    assert np.array_equal(face(Expression.FEAR), face(Expression.FEAR))


@pytest.mark.parametrize("side", [48, SIDE])
def test_a_face_is_a_square_rgb_picture(side):
    assert face(Expression.HAPPY, side=side).shape == (side, side, 3)


@pytest.mark.parametrize("pair", list(combinations(Expression, 2)), ids=lambda pair: f"{pair[0].label}-{pair[1].label}")
def test_no_two_expressions_of_one_person_look_alike(pair):
    assert difference(face(pair[0]), face(pair[1])) > 0.5


@pytest.mark.parametrize("expression", Expression, ids=lambda expression: expression.label)
@pytest.mark.parametrize("axis", ["valence", "arousal"])
def test_valence_and_arousal_move_the_drawing_the_more_the_further(expression, axis):
    still, near, far = (
        face(expression, **{axis: TYPICAL_AFFECT[expression][axis == "arousal"] + step}) for step in (0, 0.1, 0.4)
    )
    assert 0 < difference(still, near) < difference(still, far)


def test_another_generator_draws_another_person():
    assert difference(face(Expression.NEUTRAL), face(Expression.NEUTRAL, seed=1)) > 10
