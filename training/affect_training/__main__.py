"""``affect-train``: a data set in, published models out."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, Final

from affect_contract.arguments import fraction, names, positive_number, whole_number
from affect_contract.commands import CommandParser
from affect_contract.outputs import Task
from affect_dataset.errors import DatasetError
from affect_dataset.loading import SPLIT_FILE
from affect_registry.store import StoreError
from affect_training.arguments import add_basis_arguments, basis
from affect_training.errors import TrainingError
from affect_training.features import command as features_command
from affect_training.quiet_tensorflow import quiet_start
from affect_training.recipes.files import DEFAULT_RECIPES, load_recipe, recipe_names
from affect_training.recipes.recipe import STUDY_RECIPE, ClassWeights, FineTuning, Mode, Recipe, TrainingPrecision

_FEATURES: Final = "features"
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Training is what the command is for, and has no name of its own.
    is_features = words[:1] == [_FEATURES]
    parser, run = (features_command.parser(), features_command.run) if is_features else (_parser(), _run)
    options = parser.parse_args(words[is_features:])
    try:
        run(options, _say)
    except (TrainingError, DatasetError, StoreError) as exc:
        print(f"affect-train: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("\naffect-train: stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    return 0


def _say(line: str) -> None:
    print(f"affect-train: {line}", flush=True)  # noqa: T201


def _run(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    recipe = _recipe(options)
    with quiet_start():
        from affect_training.run import Order, run  # noqa: PLC0415 - TensorFlow takes seconds, a wrong flag should not

    order = Order(
        **basis(options),
        models=options.models,
        tasks=options.tasks,
        recipe=recipe,
        overrides=_overrides(options, recipe),
        base_path=options.base_path,
        encoded_signature=options.with_encoded_signature,
        promote=options.promote,
    )
    published = run(order, say)
    say(f"published version {published.version} of {', '.join(published.models)} in {options.models}")
    say(f"history and plots: {published.records}")
    say(f"serve it: affect-serve --models {options.models}")
    split = published.records / SPLIT_FILE
    say(f"then score it: affect-evaluate --data {options.data} --split-file {split} --out scores")


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that was named, or the mode's own."""
    recipe = load_recipe(options.recipe or DEFAULT_RECIPES[options.mode or Mode.FROZEN])
    mode = Mode.FINE_TUNE if isinstance(recipe, FineTuning) else Mode.FROZEN
    if options.mode not in {None, mode}:
        raise TrainingError(f"--recipe {options.recipe} is for --mode {mode}, not {options.mode}: leave --mode out")
    return recipe


def _overrides(options: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """The recipe's figures that were given on the command line."""
    if options.precision is not None and not isinstance(recipe, FineTuning):
        raise TrainingError("--precision is for --mode fine-tune: a frozen backbone computes in float32")
    given = ((field.name, getattr(options, field.name, None)) for field in fields(recipe))
    return {name: value for name, value in given if value is not None}


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="affect-train",
        description="Train networks that read expression, valence and arousal off pictures of faces, and publish them "
        "for serving.",
        notes="An interrupted command goes on where it stopped when it is run again. A second command, affect-train "
        "features, only fills the cache of features, on several machines at a time if wanted; see its --help.",
        examples=(
            "affect-train --data faces --models models --promote",
            "affect-train --data faces.csv --models models --backbones mobilenet_v2 --weights weights --epochs 20",
            "affect-train --data faces --models models --backbones mobilenet_v2 --mode fine-tune",
        ),
    )
    parser.add_argument(
        "--models",
        type=Path,
        required=True,
        metavar="DIR",
        help="models directory to publish in; made if absent",
    )
    add_basis_arguments(parser)
    parser.add_argument(
        "--tasks",
        type=names(Task),
        default=tuple(Task),
        metavar="A,B",
        help=f"tasks to train for, separated by commas, of {', '.join(Task)} (default: both)",
    )
    parser.add_argument(
        "--promote",
        action="store_true",
        help="make the new version stable; without it, the new version of a model that is already served is its canary",
    )
    parser.add_argument(
        "--base-path",
        type=PurePosixPath,
        metavar="PATH",
        help="where TensorFlow Serving sees the models directory, if it runs elsewhere, in a container for example "
        "(default: the directory's own path)",
    )
    parser.add_argument(
        "--with-encoded-signature",
        action="store_true",
        help="add a signature that takes JPEG and PNG bytes, for programs that call TensorFlow Serving directly",
    )
    _add_recipe(
        parser.add_argument_group(
            "recipe", "A recipe sets all of these; an option replaces one figure of it. The study's figures are shown."
        )
    )
    return parser


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mode",
        type=Mode,
        choices=tuple(Mode),
        help="frozen trains heads on a frozen backbone, fine-tune trains both together (default: that of --recipe, or "
        "frozen)",
    )
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"{' or '.join(recipe_names())}, or a TOML file "
        "(default: study for --mode frozen, best for --mode fine-tune)",
    )
    group.add_argument(
        "--hidden-units",
        type=whole_number(1),
        metavar="N",
        help=f"units of each head's hidden layer (default: {STUDY_RECIPE.hidden_units})",
    )
    group.add_argument(
        "--dropout",
        type=fraction,
        metavar="FRACTION",
        help=f"share of hidden units that a training step leaves out (default: {STUDY_RECIPE.dropout})",
    )
    group.add_argument(
        "--learning-rate",
        type=positive_number,
        metavar="NUMBER",
        help="learning rate of Adam (default: 1e-4; custom_cnn: 1e-3)",
    )
    group.add_argument(
        "--batch-size",
        type=whole_number(1),
        metavar="N",
        help=f"pictures in a training step (default: {STUDY_RECIPE.batch_size})",
    )
    group.add_argument(
        "--epochs",
        type=whole_number(1),
        metavar="N",
        help=f"passes over the training split (default: {STUDY_RECIPE.epochs})",
    )
    group.add_argument(
        "--class-weights",
        type=ClassWeights,
        choices=tuple(ClassWeights),
        help="balanced gives every expression the same weight in the loss, however rare it is (default: none)",
    )
    group.add_argument(
        "--restore-best",
        action="store_const",
        const=True,
        help="keep the epoch that is best on the validation pictures instead of the last",
    )
    group.add_argument(
        "--test-time-flip",
        action="store_const",
        const=True,
        help="export networks that answer with the mean over a picture and its mirror image, at twice the work",
    )
    group.add_argument(
        "--precision",
        type=TrainingPrecision,
        choices=tuple(TrainingPrecision),
        help="arithmetic of --mode fine-tune; mixed_bfloat16 is faster on GPUs since NVIDIA's Ampere, mixed_float16 on "
        "older ones (default: float32)",
    )


if __name__ == "__main__":
    sys.exit(main())
