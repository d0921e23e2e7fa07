"""Ablation study of fine-tuning: train variants of a recipe that differ in one thing, on the same pictures.

Every variant is trained on the training split and scored on the validation split, never on the test split. Differences
from the unchanged recipe have 95 % intervals from a paired bootstrap over the pictures; a run with another seed shows
how much chance alone changes. Work is measured in CPU seconds, which other processes on the machine hardly affect. An
interrupted call can be repeated: variants that are trained already are not trained again.
"""

import argparse
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from affect_contract.models import fused
from affect_contract.outputs import AROUSAL, PROBABILITIES, VALENCE
from affect_contract.preprocess import SIDE
from affect_contract.signatures import IMAGES_INPUT, SERVING_SIGNATURE
from affect_dataset import loading
from affect_dataset.samples import Sample, Split
from affect_dataset.split import read_or_assign
from affect_evaluation.scoring.bootstrap import Draws, classification_draws, differences, intervals, regression_draws
from affect_training.loop.augmentation import Augmentation
from affect_training.loop.batches import read_picture
from affect_training.recipes.files import load_recipe
from affect_training.recipes.recipe import ClassWeights, FineTuning, Recipe
from affect_training.run import Order, run

MODEL = fused("mobilenet_v2")
BATCH = 32
SMALL = 128
AS_IT_IS = "as it is"
ANOTHER_SEED = "another seed"
WORK = "cpu_seconds"
SHOWN = {"accuracy": "accuracy", f"{VALENCE} ccc": "CCC valence", f"{AROUSAL} ccc": "CCC arousal"}


def variants(recipe: FineTuning) -> dict[str, FineTuning]:
    """Return the recipe itself and its variants, each of which differs in one thing, by name."""
    no_augmentation = Augmentation(flip=False, zoom=0.0, shift=0.0, rotation=0.0, colour=0.0, erase=0.0)
    return {
        AS_IT_IS: recipe,
        "no mixup": replace(recipe, mixup=0.0),
        "weights as they are": replace(recipe, averaging=0.0),
        "flips alone": replace(recipe, augmentation=replace(no_augmentation, flip=True)),
        "squared error instead of concordance": replace(recipe, concordance=0.0, squared_error=4.0),
        ANOTHER_SEED: recipe,
        "heads not trained before": replace(recipe, head_epochs=0),
        "frozen up to block 6": replace(recipe, unfreeze_from="block_6_expand"),
        "nothing erased": replace(recipe, augmentation=replace(recipe.augmentation, erase=0.0)),
        "no label smoothing": replace(recipe, label_smoothing=0.0),
        "classes weighted": replace(recipe, class_weights=ClassWeights.BALANCED),
        "weight decay": replace(recipe, weight_decay=0.05),
        "rate falls to a tenth": replace(recipe, final_share=0.1),
        "squared error beside concordance": replace(recipe, squared_error=2.0),
        "no changed pictures": replace(recipe, augmentation=no_augmentation),
    }


def shorter(recipe: Recipe, epochs: int) -> FineTuning:
    """Shorten a recipe to ``epochs`` epochs, of which the first five eighths use small pictures."""
    if not isinstance(recipe, FineTuning):
        raise TypeError("the recipe is none of fine-tuning")
    return replace(recipe, epochs=epochs, sides=((1, SMALL), (1 + epochs * 5 // 8, SIDE)))


@dataclass(frozen=True)
class VariantResult:
    """The scores of one variant on the validation split, and its cost."""

    scores: dict[str, float]
    draws: Draws
    cpu_seconds: float


def evaluate_variant(options: argparse.Namespace, name: str, recipe: FineTuning) -> VariantResult:
    """Train a variant unless it is trained already, and score it on the validation split."""
    models = options.out / name.replace(" ", "_").replace(",", "")
    if not (models / WORK).exists():
        began = time.process_time()
        run(
            Order(
                data=options.data,
                models=models,
                cache=options.out / "cache",
                backbones=(MODEL.backbone,),
                weights=(str(options.weights),),
                recipe=recipe,
                seed=options.seed + (name == ANOTHER_SEED),
                split_file=options.out / loading.SPLIT_FILE,
            ),
            print,
        )
        (models / WORK).write_text(f"{time.process_time() - began}\n")
    samples = validation(options)
    answers = predictions(models / MODEL.name / "1", samples)
    known = np.array([sample.valence is not None for sample in samples])
    true = np.array([sample.expression for sample in samples])
    draws: dict[str, Any] = dict(classification_draws(true, answers[PROBABILITIES]))
    scores = {"accuracy": float(np.mean(answers[PROBABILITIES].argmax(axis=1) == true))}
    for track in (VALENCE, AROUSAL):
        labels = np.array([getattr(sample, track) for sample in samples if sample.valence is not None])
        found = regression_draws(labels, answers[track][known])
        draws |= {f"{track} {metric}": values for metric, values in found.items()}
        scores[f"{track} ccc"] = float(np.median(found["ccc"]))
    return VariantResult(scores, draws, float((models / WORK).read_text()))


def validation(options: argparse.Namespace) -> list[Sample]:
    """Load the validation split, by which recipes are chosen."""
    dataset = loading.load(options.data, progress=tqdm)
    assignment, _ = read_or_assign(dataset, path=options.out / loading.SPLIT_FILE)
    return list(assignment.samples(dataset, Split.VALIDATION))


def predictions(directory: Path, samples: list[Sample]) -> dict[str, Any]:
    """Return a SavedModel's outputs for the samples, by name."""
    serve = tf.saved_model.load(str(directory)).signatures[SERVING_SIGNATURE]
    starts = range(0, len(samples), BATCH)
    batches = [np.stack([read_picture(one.path) for one in samples[start : start + BATCH]]) for start in starts]
    answers = [serve(**{IMAGES_INPUT: tf.constant(batch)}) for batch in batches]
    return {
        name: np.concatenate([answer[name].numpy() for answer in answers]).astype(np.float64) for name in answers[0]
    }


def row(name: str, found: VariantResult, base: VariantResult) -> str:
    """Format a variant as a row of the table."""
    cells = []
    ends = intervals(differences(found.draws, base.draws))
    for metric in SHOWN:
        if found is base:
            cells.append(f"{found.scores[metric]:.3f}")
            continue
        low, high = ends[metric] or (float("nan"), float("nan"))
        cells.append(f"{found.scores[metric] - base.scores[metric]:+.3f} ({low:+.3f} to {high:+.3f})")
    return f"| {name} | {' | '.join(cells)} | {found.cpu_seconds / base.cpu_seconds:.2f}x |"


def main() -> None:
    """Print each row of the table as soon as it is known, and the whole table at the end."""
    options = _parser().parse_args()
    shortened = shorter(load_recipe("best"), options.epochs)
    wanted = variants(shortened)
    names = [AS_IT_IS, *(name for name in options.only.split(",") if name)] if options.only else list(wanted)
    lines = [f"| | {' | '.join(SHOWN.values())} | work |", "|---|---|---|---|---|"]
    base = evaluate_variant(options, AS_IT_IS, wanted[AS_IT_IS])
    for name in names:
        found = base if name == AS_IT_IS else evaluate_variant(options, name, wanted[name])
        lines.append(row(name, found, base))
        print(lines[-1], flush=True)
    print("\n".join(lines))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/ingredients.py",
        description="Fine-tune by recipes that differ in one thing each, and compare them on the validation split.",
        examples=("python bench/ingredients.py --data faces --weights weights --out ingredients --epochs 8",),
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="data set: a folder in AffectNet's layout, or a CSV file",
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR", help="folder of ImageNet weights")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for what is trained; an interrupted command goes on there",
    )
    parser.add_argument(
        "--epochs", type=whole_number(1), default=8, metavar="N", help="epochs of each variant (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="seed of every variant but one (default: %(default)s)",
    )
    parser.add_argument(
        "--only", default="", metavar="A,B", help="names of variants to train, separated by commas (default: all)"
    )
    return parser


if __name__ == "__main__":
    main()
