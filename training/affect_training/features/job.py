"""Feature extraction by itself: a part of the pictures, into the cache that trainings read."""

from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from affect_contract.backbones import BackboneName
from affect_dataset import loading
from affect_dataset.samples import Split
from affect_dataset.shards import WHOLE, Shard
from affect_training import devices
from affect_training.errors import TrainingError
from affect_training.features.extraction import extract
from affect_training.preparation import Basis, cache_of, divided, estimate_random_statistics, initial_bases


@dataclass(frozen=True, kw_only=True)
class FeatureOrder(Basis):
    """An order to extract the features of one shard."""

    shard: Shard = WHOLE


@dataclass(frozen=True)
class Extracted:
    """The number of pictures that a job handled for one backbone."""

    backbone: BackboneName
    pictures: int
    """Pictures that belong to its shard."""
    computed: int
    """Pictures whose features were not in the cache yet."""


def run(order: FeatureOrder, report: Callable[[str], None]) -> list[Extracted]:
    """Bring the features that a training with the same weights, split and cache will ask for into that cache.

    Each picture belongs to one part by the digest of its bytes alone, so parts need not know of each other, and a part
    that is done again finds its pictures there.

    Args:
        order: what to extract.
        report: told in one line about each thing the user should know.

    Raises:
        TrainingError: there are no weights, or no pictures to train on.
        DatasetError: the data set or its split cannot be used.
    """
    devices.use_all()
    chosen, bases = initial_bases(order)
    if not bases:
        raise TrainingError("custom_cnn is trained from scratch and has no features to extract: name other --backbones")
    dataset = loading.load(order.data, progress=tqdm)
    assignment = divided(order, dataset, report)
    training, validation = (assignment.samples(dataset, part) for part in (Split.TRAIN, Split.VALIDATION))
    estimate_random_statistics(bases, chosen, training, order.cache, report)
    samples = [sample for sample in (*training, *validation) if order.shard.contains(sample.digest)]
    return [
        Extracted(backbone, len(samples), extract(base, samples, cache_of(base, backbone, order.cache)))
        for backbone, base in bases.items()
    ]
