"""A backbone and its heads trained together on augmented batches, with a warm-up and a running mean of the weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.loop.augmented_batches import AugmentedBatches, joint_targets
from affect_training.loop.batches import Pictures, epoch_order
from affect_training.loop.early_stopping import SCORES, EarlyStopping
from affect_training.loop.schedule import warmup_cosine
from affect_training.loop.tasks import TASKS
from affect_training.loop.training_loop import History, Training, train
from affect_training.loop.validation import PICTURES_BATCH, Epoch, predict
from affect_training.networks.joint import JointNetwork, compile_joint, computing_in
from affect_training.recipes.recipe import FineTuning


def fine_tune(
    base: keras.Model,
    heads: Mapping[Task, keras.Model],
    recipe: FineTuning,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    *,
    seed: int,
    checkpoint: Path,
) -> dict[Task, History]:
    """Train a base, made trainable by `unfreeze`, and its heads in place; see `train`."""
    tasks = tuple(heads)
    steps = recipe.epochs * len(epoch_order(len(training), recipe.batch_size, seed=seed, epoch=0))
    with computing_in(recipe.precision, base):
        model = JointNetwork(base, heads)
        compile_joint(model, tasks, recipe)
        plan = Training(
            data=AugmentedBatches(training, joint_targets(tasks, training, recipe), recipe, seed),
            validate=lambda: _evaluate(model, tasks, recipe, validation),
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            schedule=warmup_cosine(recipe, steps),
            seed=seed,
            averaging=recipe.averaging > 0,
            stopping=EarlyStopping(SCORES[recipe.watch], recipe.patience, recipe.keeps_best),
        )
        epochs, kept = train(model, plan, checkpoint, model.name)
    return {task: History([_of_task(task, epoch) for epoch in epochs], kept) for task in tasks}


def _evaluate(model: JointNetwork, tasks: Sequence[Task], recipe: FineTuning, samples: Sequence[Sample]) -> Epoch:
    """Measure every head on pictures at full size and unchanged; a name begins with the head's task.

    A head's loss is the one that it is trained on, but without smoothing, and ``val_loss`` is the sum of all.
    """
    answers = predict(model, Pictures([sample.path for sample in samples]), batch_size=PICTURES_BATCH)
    measures: Epoch = {"val_loss": 0.0}
    for task in tasks:
        known = [number for number, sample in enumerate(samples) if TASKS[task].has_labels(sample)]
        labels = TASKS[task].labels([samples[number] for number in known])
        found = TASKS[task].measures(labels, answers[task.value][known])
        found["val_loss"] = TASKS[task].joint_val_loss(found, recipe)
        measures["val_loss"] += found["val_loss"]
        measures |= {f"{task}_{name}": value for name, value in found.items()}
    return measures


def _of_task(task: Task, epoch: Epoch) -> Epoch:
    """One task's measures, by the names of a training for that task alone; the time is that of both."""
    own = {name.removeprefix(f"{task}_"): value for name, value in epoch.items() if name.startswith(f"{task}_")}
    return {"loss": epoch["loss"], **own, "seconds": epoch["seconds"]}
