"""One training run: data set in, a published version of every model out."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import keras
from tqdm import tqdm

from affect_contract.atomic_files import write_json
from affect_contract.backbones import BackboneName
from affect_contract.models import ServedModel, fused, single
from affect_contract.outputs import Task
from affect_dataset import loading, split
from affect_dataset.samples import Dataset, Split
from affect_registry import store
from affect_registry.publication import publish
from affect_training import devices, plots
from affect_training.errors import TrainingError
from affect_training.export.any_backend import export_network
from affect_training.export.provenance import write_provenance
from affect_training.export.warmup import write_warmup
from affect_training.history import history_of, library_versions, shared_facts
from affect_training.modes import Course, Trained, train_end_to_end, train_heads, train_together
from affect_training.networks.weights import Weights
from affect_training.preconditions import require_labels, require_trainable
from affect_training.preparation import Basis, cache_of, divided, estimate_random_statistics, initial_bases
from affect_training.recipes.recipe import STUDY_RECIPE, FineTuning, Recipe, fingerprint, recipe_for

_WORKSPACES = ".training"
_RUNS = "runs"


@dataclass(frozen=True, kw_only=True)
class Order(Basis):
    """An order to train and publish: the options of ``affect-train``."""

    models: Path
    tasks: Sequence[Task] = tuple(Task)
    recipe: Recipe = STUDY_RECIPE
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the recipe that the user gave, by field of `Recipe`."""
    base_path: PurePosixPath | None = None
    encoded_signature: bool = False
    promote: bool = False


@dataclass(frozen=True)
class Published:
    """The result of a run in the models directory."""

    version: int
    models: list[str]
    records: Path
    """The folder with the run's history and plots."""


def run(order: Order, report: Callable[[str], None]) -> Published:
    """Train everything in ``order`` and publish it under one version number.

    Interrupted, the same call goes on after the last finished epoch.

    Args:
        order: what to train.
        report: told in one line about each thing the user should know.

    Raises:
        TrainingError: the run cannot start or go on.
        DatasetError: the data set or its split cannot be used.
        StoreError: the models directory cannot be read or written.
    """
    _prepare(order.models)
    devices.use_all()
    chosen, bases = initial_bases(order)
    recipes = {backbone: recipe_for(backbone, order.recipe, order.overrides) for backbone in order.backbones}
    for backbone, recipe in recipes.items():
        require_trainable(recipe, order.tasks, bases.get(backbone))
    dataset = loading.load(order.data, progress=tqdm)
    assignment = divided(order, dataset, report)
    for part in (Split.TRAIN, Split.VALIDATION):
        require_labels(order.tasks, assignment.samples(dataset, part))
    with _workspace(order, _key(order, dataset, assignment, chosen, recipes)) as workspace:
        course = Course(
            assignment.samples(dataset, Split.TRAIN),
            assignment.samples(dataset, Split.VALIDATION),
            order.tasks,
            order.seed,
            workspace / "checkpoints",
        )
        estimate_random_statistics(bases, chosen, course.training, order.cache, report)
        trained = _train(order, bases, recipes, course)
        _report_calibration(trained, report)
        facts = shared_facts(dataset.digest, _split_facts(assignment), order.seed)
        history = history_of(trained, {backbone: one.origin for backbone, one in chosen.items()}, facts)
        return _publish(order, workspace, trained, history, dataset, assignment)


def _prepare(models: Path) -> None:
    """Make the models directory and read it, before hours are spent on what could not be published."""
    try:
        models.mkdir(parents=True, exist_ok=True)
        with store.locked(models):
            store.read(models)
    except OSError as exc:
        raise TrainingError(f"the models directory {models} cannot be written: {exc.strerror}") from exc


def _split_facts(assignment: split.Assignment) -> dict[str, Any]:
    return {"seed": assignment.seed, "fractions": list(assignment.fractions)}


def _key(
    order: Order,
    dataset: Dataset,
    assignment: split.Assignment,
    chosen: Mapping[BackboneName, Weights],
    recipes: Mapping[BackboneName, Recipe],
) -> str:
    origins = {backbone: (one.origin, str(one.folder)) for backbone, one in chosen.items()}
    libraries = library_versions()
    split_digest = fingerprint(sorted(assignment.by_id.items()))
    return fingerprint(dataset.digest, split_digest, origins, dict(recipes), order.tasks, order.seed, libraries)


@contextmanager
def _workspace(order: Order, key: str) -> Iterator[Path]:
    """The folder in which a run's unfinished work survives an interruption, held against a second run."""
    workspace = order.models / _WORKSPACES / key
    workspace.mkdir(parents=True, exist_ok=True)
    with workspace.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise TrainingError(f"this very run is under way in another process, in {workspace}") from exc
        yield workspace


def _report_calibration(trained: Sequence[Trained], report: Callable[[str], None]) -> None:
    for one in trained:
        if one.calibration is not None:
            found = one.calibration
            report(
                f"{one.backbone}: temperature {found.temperature:.2f}; expected calibration error on the validation "
                f"split {found.error_before:.3f} without it, {found.error_after:.3f} with it"
            )


def _train(
    order: Order, bases: Mapping[BackboneName, keras.Model], recipes: Mapping[BackboneName, Recipe], course: Course
) -> list[Trained]:
    trained: list[Trained] = []
    for backbone in order.backbones:
        if backbone in bases:
            base = bases[backbone]
            cache = cache_of(base, backbone, order.cache)
            recipe = recipes[backbone]
            if isinstance(recipe, FineTuning):
                trained += train_together(backbone, base, cache, recipe, course)
            else:
                trained += train_heads(backbone, base, cache, recipe, course)
        else:
            trained += train_end_to_end(backbone, recipes[backbone], course)
    return trained


def _publish(
    order: Order,
    workspace: Path,
    trained: Sequence[Trained],
    history: dict[str, Any],
    dataset: Dataset,
    assignment: split.Assignment,
) -> Published:
    staged = _export(order, workspace / "export", trained, history)
    version = publish(order.models, staged, base_path=order.base_path, promote=order.promote)
    shutil.rmtree(workspace / "export")
    shutil.rmtree(workspace / "checkpoints")
    write_json(workspace / "history.json", history)
    split.write(assignment, workspace / loading.SPLIT_FILE)
    dataset.write_exclusions(workspace / loading.EXCLUSIONS_FILE)
    plots.draw_all(history, workspace)
    kept = order.models / _RUNS / str(version)
    kept.parent.mkdir(exist_ok=True)
    workspace.rename(kept)
    return Published(version, sorted(staged), kept)


def _export(order: Order, folder: Path, trained: Sequence[Trained], history: dict[str, Any]) -> dict[str, Path]:
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted export left
    staged: dict[str, Path] = {}
    for model, parts in tqdm(_servables(trained), desc="export", unit="model"):
        directory = folder / model.name
        heads = {part.task: part.head for part in parts}
        export_network(
            directory,
            parts[0].base,
            heads,
            encoded_signature=order.encoded_signature,
            test_time_flip=parts[0].recipe.test_time_flip,
        )
        write_warmup(directory, model.name, encoded_signature=order.encoded_signature)
        write_provenance(directory, model, history)
        staged[model.name] = directory
    return staged


def _servables(trained: Sequence[Trained]) -> list[tuple[ServedModel, list[Trained]]]:
    """One servable for each network, and a fused one for each base that both tasks share."""
    servables = [(single(one.backbone, one.task), [one]) for one in trained]
    for backbone in dict.fromkeys(one.backbone for one in trained):
        parts = [one for one in trained if one.backbone == backbone]
        if len(parts) == len(Task) and all(part.base is parts[0].base for part in parts):
            servables.append((fused(backbone), parts))
    return servables
