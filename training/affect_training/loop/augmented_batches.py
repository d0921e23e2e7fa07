"""The augmented batches of fine-tuning: pictures changed anew in each epoch and mixed in pairs, with their targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.loop.batches import Batch, prepared_ahead, read_picture
from affect_training.loop.tasks import TASKS
from affect_training.recipes.recipe import FineTuning

Targets = dict[str, NDArray[np.float32]]
"""By the value of a task: weighted one-hot expressions [n, 8]; valence, arousal and whether they are known [n, 3]."""


def joint_targets(tasks: Sequence[Task], samples: Sequence[Sample], recipe: FineTuning) -> Targets:
    """The targets of all samples for each task."""
    return {task.value: TASKS[task].joint_targets(samples, recipe.class_weights) for task in tasks}


@dataclass(frozen=True)
class AugmentedBatches:
    """The pictures of each epoch, changed and mixed, batch by batch; both follow from seed and epoch alone."""

    samples: Sequence[Sample]
    targets: Targets
    recipe: FineTuning
    seed: int

    def __len__(self) -> int:
        return len(self.samples)

    def batches(self, order: Sequence[NDArray[np.intp]], epoch: int) -> Iterator[Batch]:
        """Pictures, float32 [b, side, side, 3] in [0, 255], with their targets, for each array of indices."""
        pictures = prepared_ahead(lambda index: self._picture(index, epoch), order)
        for number, (indices, batch) in enumerate(zip(order, pictures, strict=True)):
            targets = {task: rows[indices] for task, rows in self.targets.items()}
            yield self._mixed(batch, targets, epoch, number) if self.recipe.mixup else Batch(batch, targets)

    def _picture(self, index: int, epoch: int) -> NDArray[np.float32]:
        generator = np.random.default_rng((self.seed, epoch, index))
        side = self.recipe.side(epoch + 1)
        return self.recipe.augmentation.apply(read_picture(self.samples[index].path), generator, side)

    def _mixed(self, pictures: NDArray[np.float32], targets: Targets, epoch: int, number: int) -> Batch:
        generator = np.random.default_rng((self.seed, epoch, number, len(self.samples)))
        share = np.array(generator.beta(self.recipe.mixup, self.recipe.mixup), np.float32)
        other = generator.permutation(len(pictures))
        mixed = {task: TASKS[Task(task)].joint_mixed(rows, other, share) for task, rows in targets.items()}
        return Batch(share * pictures + (1 - share) * pictures[other], mixed)
