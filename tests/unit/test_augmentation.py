"""Changed pictures are pictures still, and follow from their seed."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.preprocess import SHAPE
from affect_training.loop.augmentation import Augmentation

NOTHING = Augmentation(flip=False, zoom=0, shift=0, rotation=0, colour=0, erase=0)


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
