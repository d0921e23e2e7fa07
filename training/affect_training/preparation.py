"""The beginning of every training and feature extraction: a data set, its split, bases with initial weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from affect_contract.backbones import STUDY_BACKBONES, BackboneName
from affect_dataset import split
from affect_dataset.samples import Dataset, Sample, Split
from affect_training.errors import TrainingError
from affect_training.features.cache import FeatureCache
from affect_training.history import RANDOM_BACKBONE_NOTE
from affect_training.networks import weights
from affect_training.networks.backbones import build_base
from affect_training.networks.batch_statistics import estimate_batch_statistics
from affect_training.networks.weights import Origin, Weights
from affect_training.recipes.recipe import fingerprint


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The part of an order that decides which features of which pictures are used; training and extraction share it."""

    data: Path
    cache: Path
    backbones: Sequence[BackboneName] = STUDY_BACKBONES
    weights: Sequence[str] = ()
    seed: int = 0
    split_file: Path | None = None
    split_seed: int = 0
    fractions: split.Fractions = split.STUDY_FRACTIONS


def initial_bases(basis: Basis) -> tuple[dict[BackboneName, Weights], dict[BackboneName, keras.Model]]:
    """Build every pretrained backbone with its initial weights; return those weights and the bases, by backbone.

    Raises:
        TrainingError: weights cannot be had.
    """
    chosen = weights.parse(basis.weights, basis.backbones)
    weights.require_files(chosen)
    return chosen, {backbone: build_base(backbone, one, seed=basis.seed) for backbone, one in chosen.items()}


def divided(basis: Basis, dataset: Dataset, report: Callable[[str], None]) -> split.Assignment:
    """Return the split of a data set, and report its sizes and the rows that were left out.

    Raises:
        TrainingError: there is nothing to train on, or nothing to validate with.
        DatasetError: the saved split cannot be used.
    """
    assignment, saved = split.read_or_assign(
        dataset, path=basis.split_file, seed=basis.split_seed, fractions=basis.fractions
    )
    where = f"saved in {saved}" if saved else "the data folder is read-only: it will lie beside the run's history"
    counts = ", ".join(f"{len(assignment.samples(dataset, part)):,} {part}" for part in Split)
    report(f"{len(dataset.samples):,} pictures ({counts}); split seed {assignment.seed}, {where}")
    for reason, count in dataset.counts().items():
        report(f"left out, {reason}: {count:,}")
    for part in (Split.TRAIN, Split.VALIDATION):
        if not assignment.samples(dataset, part):
            raise TrainingError(f"the {part} split is empty: {len(dataset.samples):,} pictures are too few to divide")
    return assignment


def estimate_random_statistics(
    bases: Mapping[BackboneName, keras.Model],
    chosen: Mapping[BackboneName, Weights],
    training: Sequence[Sample],
    cache: Path,
    report: Callable[[str], None],
) -> None:
    """Give random bases the statistics of the training pictures; others stay as they are."""
    pictures = fingerprint([sample.digest for sample in training])
    for backbone, base in bases.items():
        if chosen[backbone].origin is Origin.NONE:
            report(f"{backbone} has a {RANDOM_BACKBONE_NOTE} (--weights {backbone}=none)")
            initial = fingerprint(base_digest(base), pictures)
            paths = [sample.path for sample in training]
            estimate_batch_statistics(base, paths, cache / "calibrated" / f"{backbone}-{initial}.weights.h5")


def cache_of(base: keras.Model, backbone: BackboneName, cache: Path) -> FeatureCache:
    """Open the cached features of a base, in the folder of all caches."""
    return FeatureCache(cache, backbone, base_digest(base))


def base_digest(base: keras.Model) -> str:
    """Return the digest of a base's weights, under which its features are cached."""
    return weights.digest(np.asarray(array) for array in base.get_weights())
