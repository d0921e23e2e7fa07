"""``affect-train``: a data set in, published models out."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from affect_contract.models import Backbone, Task
from affect_contract.store import StoreError
from affect_dataset.layouts import SPLIT_FILE
from affect_dataset.samples import DatasetError
from affect_training import recipes
from affect_training.errors import TrainingError
from affect_training.quiet import quiet_start
from affect_training.recipe import STUDY, ClassWeights, FineTuning, Mode, Precision, Recipe

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (TrainingError, DatasetError, StoreError) as exc:
        print(f"affect-train: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("\naffect-train: stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    return 0


def _run(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    with quiet_start():
        from affect_training.run import Order, run  # noqa: PLC0415 - TensorFlow takes seconds, a wrong flag should not

    order = Order(
        data=options.data,
        models=options.models,
        cache=options.cache,
        backbones=options.backbones,
        tasks=options.tasks,
        weights=options.weights,
        recipe=recipe,
        overrides=_overrides(options, recipe),
        seed=options.seed,
        split_file=options.split_file,
        split_seed=options.split_seed,
        fractions=options.fractions,
        base_path=options.base_path,
        encoded_signature=options.with_encoded_signature,
        promote=options.promote,
    )
    published = run(order, _say)
    _say(f"published version {published.version} of {', '.join(published.models)} in {options.models}")
    _say(f"history and plots: {published.records}")
    _say(f"serve it: affect-serve --models {options.models}")
    split = published.records / SPLIT_FILE
    _say(f"then score it: affect-evaluate --data {options.data} --split-file {split} --out scores")


def _say(line: str) -> None:
    print(f"affect-train: {line}", flush=True)  # noqa: T201


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that was named, or the mode's own."""
    recipe = recipes.load(options.recipe or recipes.DEFAULTS[options.mode or Mode.FROZEN])
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-train",
        description="Train expression and valence/arousal models on pictures of faces and publish them for serving.",
        epilog="The same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data set: AffectNet's layout, or a CSV")
    parser.add_argument("--models", type=Path, required=True, help="models directory to publish to")
    parser.add_argument(
        "--backbones",
        type=_several(Backbone),
        default=(Backbone.MOBILENET_V2, Backbone.DENSENET121),
        metavar="A,B",
        help=f"of {', '.join(Backbone)} (default: mobilenet_v2,densenet121)",
    )
    parser.add_argument(
        "--tasks",
        type=_several(Task),
        default=tuple(Task),
        metavar="A,B",
        help="default: classification,regression",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[BACKBONE=]imagenet|none|DIR",
        help="initial weights: Keras's download (the default), random, or a folder with "
        "BACKBONE_imagenet_notop.weights.h5; repeat for several backbones",
    )
    parser.add_argument("--seed", type=_from(0), default=0, help="of heads, order and dropout (default: 0)")
    parser.add_argument(
        "--promote", action="store_true", help="make the new version stable; without, it becomes canary"
    )
    parser.add_argument(
        "--base-path",
        type=PurePosixPath,
        help="where the model server mounts the models directory (default: the directory's own path)",
    )
    parser.add_argument(
        "--with-encoded-signature", action="store_true", help="add a signature that takes JPEG and PNG bytes"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        help="folder of cached features (default: %(default)s)",
    )
    _add_split(parser.add_argument_group("split"))
    _add_recipe(parser.add_argument_group("recipe", "the defaults are the recipe's; those shown are the study's"))
    return parser


def _add_split(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--split-file", type=Path, help="read the split from, or save it to, this file")
    group.add_argument("--split-seed", type=_from(0), default=0, help="of a new split (default: 0)")
    group.add_argument(
        "--fractions",
        type=_fractions,
        default=(0.70, 0.15, 0.15),
        metavar="A,B,C",
        help="train, validation, test of a new split (default: 0.70,0.15,0.15)",
    )


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mode",
        type=Mode,
        choices=tuple(Mode),
        help="frozen: heads on the frozen backbone (the default); fine-tune: both together",
    )
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"{' or '.join(recipes.names())}, or a TOML file "
        "(default: study for --mode frozen, best for --mode fine-tune)",
    )
    group.add_argument("--hidden-units", type=_from(1), help=f"default: {STUDY.hidden_units}")
    group.add_argument("--dropout", type=_fraction, help=f"default: {STUDY.dropout}")
    group.add_argument("--learning-rate", type=_positive, help="of Adam (default: 1e-4; custom_cnn: 1e-3)")
    group.add_argument("--batch-size", type=_from(1), help=f"default: {STUDY.batch_size}")
    group.add_argument("--epochs", type=_from(1), help=f"default: {STUDY.epochs}")
    group.add_argument(
        "--class-weights", type=ClassWeights, choices=tuple(ClassWeights), help="balanced: for skewed data"
    )
    group.add_argument(
        "--restore-best",
        action="store_const",
        const=True,
        help="keep the epoch that is best on the validation split instead of the last",
    )
    group.add_argument(
        "--test-time-flip",
        action="store_const",
        const=True,
        help="export graphs that answer with the mean over a picture and its mirror image, at twice the work",
    )
    group.add_argument(
        "--precision",
        type=Precision,
        choices=tuple(Precision),
        help="of fine-tuning (default: float32; mixed_bfloat16 suits GPUs since NVIDIA's Ampere)",
    )


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affect"


def _several(choices: type[StrEnum]) -> Any:
    def parse(text: str) -> tuple[StrEnum, ...]:
        names = tuple(dict.fromkeys(name for name in text.split(",") if name))
        unknown = [name for name in names if name not in set(choices)]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(choices)}")
        return tuple(choices(name) for name in names)

    return parse


def _from(lowest: int) -> Any:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from {lowest}")
        return int(text)

    return parse


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}") from None


def _positive(text: str) -> float:
    number = _number(text, "a number above 0")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return number


def _fraction(text: str) -> float:
    number = _number(text, "a number from 0 to below 1")
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to below 1")
    return number


def _fractions(text: str) -> tuple[float, float, float]:
    parts = tuple(_fraction(part) for part in text.split(","))
    if len(parts) != 3 or abs(sum(parts) - 1) > 1e-9 or 0 in parts:  # noqa: PLR2004 - train, validation, test
        raise argparse.ArgumentTypeError(f"{text!r}: give three fractions above 0 that sum to 1")
    return (parts[0], parts[1], parts[2])


if __name__ == "__main__":
    sys.exit(main())
