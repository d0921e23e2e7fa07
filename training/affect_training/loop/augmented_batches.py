"""What fine-tuning sees in an epoch: pictures changed anew, mixed in pairs, with their targets."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.labels import LABELS
from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.loop.batches import divisible, read_picture, shuffled
from affect_training.loop.targets import weights
from affect_training.recipes.recipe import FineTuning

_PREPARERS: Final = 4
_BATCHES_AHEAD: Final = 3

Targets = dict[str, NDArray[np.float32]]
"""By task: weighted one-hot expressions [n, 8]; valence, arousal and whether they are known [n, 3]."""


def targets_of(tasks: Sequence[Task], samples: Sequence[Sample], recipe: FineTuning) -> Targets:
    """What each task is to learn from some samples."""
    targets: Targets = {}
    if Task.CLASSIFICATION in tasks:
        expressions = np.array([sample.expression for sample in samples], np.int64)
        share = weights(Task.CLASSIFICATION, recipe.class_weights, expressions)
        one_hot = np.eye(len(LABELS), dtype=np.float32)[expressions]
        targets[Task.CLASSIFICATION.value] = one_hot if share is None else one_hot * share[:, None]
    if Task.REGRESSION in tasks:
        rows = [(s.valence, s.arousal, 1.0) if s.valence is not None else (0.0, 0.0, 0.0) for s in samples]
        targets[Task.REGRESSION.value] = np.array(rows, np.float32)
    return targets


@dataclass(frozen=True)
class Lessons:
    """The pictures of each epoch, changed and mixed, batch by batch."""

    samples: Sequence[Sample]
    targets: Targets
    recipe: FineTuning
    seed: int
    devices: int = 1
    """Each batch can be divided evenly among so many."""

    def batches(self, epoch: int) -> Iterator[tuple[NDArray[np.float32], Targets]]:
        """Pictures, float32 [b, side, side, 3] in [0, 255], with their targets, from seed and epoch alone."""
        order = self._order(epoch)
        with ThreadPoolExecutor(_PREPARERS, thread_name_prefix="augment") as pool:
            ahead: deque[tuple[NDArray[np.intp], list[Future[Any]]]] = deque()
            for number, indices in enumerate(order):
                ahead.append((indices, [pool.submit(self._picture, int(index), epoch) for index in indices]))
                if len(ahead) > _BATCHES_AHEAD:
                    yield self._mixed(*ahead.popleft(), epoch, number - _BATCHES_AHEAD)
            for number in range(len(order) - len(ahead), len(order)):
                yield self._mixed(*ahead.popleft(), epoch, number)

    def steps(self) -> int:
        """Batches of one epoch."""
        return len(self._order(0))

    def _order(self, epoch: int) -> list[NDArray[np.intp]]:
        """Indices of the samples, batch by batch."""
        order = shuffled(len(self.samples), self.recipe.batch_size, seed=self.seed, epoch=epoch)
        return divisible(order, self.devices)

    def _picture(self, index: int, epoch: int) -> NDArray[np.float32]:
        generator = np.random.default_rng((self.seed, epoch, index))
        side = self.recipe.side(epoch + 1)
        return self.recipe.augmentation.apply(read_picture(self.samples[index].path), generator, side)

    def _mixed(
        self, indices: NDArray[np.intp], pictures: list[Future[Any]], epoch: int, number: int
    ) -> tuple[NDArray[np.float32], Targets]:
        batch = np.stack([picture.result() for picture in pictures])
        targets = {task: rows[indices] for task, rows in self.targets.items()}
        if not self.recipe.mixup:
            return batch, targets
        generator = np.random.default_rng((self.seed, epoch, number, len(self.samples)))
        share = np.array(generator.beta(self.recipe.mixup, self.recipe.mixup), np.float32)
        other = generator.permutation(len(batch))
        mixed = {task: share * rows + (1 - share) * rows[other] for task, rows in targets.items()}
        if Task.REGRESSION in targets:  # half of an unknown value is unknown
            known = targets[Task.REGRESSION][:, 2]
            mixed[Task.REGRESSION][:, 2] = np.minimum(known, known[other])
        return share * batch + (1 - share) * batch[other], mixed
