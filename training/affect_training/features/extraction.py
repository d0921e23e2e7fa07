"""A frozen base's features of many pictures: computed once, then read from the cache."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affect_dataset.samples import Sample
from affect_training import devices
from affect_training.features.cache import FeatureCache
from affect_training.loop.batches import Pictures, in_order

BATCH_SIZE = 32
_BATCHES_A_CHUNK = 8
"""An interrupted run loses at most this many batches."""


def extract(base: keras.Model, samples: Sequence[Sample], cache: FeatureCache) -> int:
    """Bring the features of ``samples`` into the cache.

    Args:
        base: uint8 [n, 224, 224, 3] -> float32 [n, d].
        samples: the pictures; those already in the cache are not read.
        cache: the cache of this base.

    Returns:
        How many pictures the base ran over.
    """
    missing = [samples[position] for position in cache.missing([sample.digest for sample in samples])]
    order = in_order(len(missing), BATCH_SIZE)
    batches = Pictures([sample.path for sample in missing]).batches(order)
    pending: list[NDArray[np.float32]] = []
    done = 0
    with tqdm(total=len(missing), desc=f"{base.name} features", unit="picture", disable=not missing) as bar:
        for number, batch in enumerate(batches, start=1):
            pending.append(_features(base, batch))
            bar.update(len(batch))
            if number % _BATCHES_A_CHUNK == 0 or number == len(order):
                features = np.concatenate(pending)
                chunk = missing[done : done + len(features)]
                cache.add([sample.digest for sample in chunk], features)
                done += len(features)
                pending.clear()
    return len(missing)


def _features(base: keras.Model, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features of one batch; a short one is filled up, so that the backend compiles for one size only."""
    short = BATCH_SIZE - len(batch)
    full = np.concatenate([batch, np.zeros((short, *batch.shape[1:]), batch.dtype)]) if short else batch
    return np.asarray(devices.predict(base, full), np.float32)[: len(batch)]
