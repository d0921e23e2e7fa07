"""Compare a step of fine-tuning in Keras's own loop with ours, in one run, on the same pictures.

Both train MobileNetV2 and two heads on the same losses, batch normalisation in inference mode, on batches of 32
pictures of 224 x 224 that are in memory. Keras's loop is `train_on_batch` on the network as it is; ours folds the
normalisation.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from affect_contract.outputs import Task
from affect_contract.preprocess import SHAPE
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head
from affect_training.networks.joint import JointNetwork, compile_joint, unfreeze
from affect_training.networks.weights import Origin, Weights
from affect_training.recipes.recipe import FineTuning

RECIPE = FineTuning()


def networks() -> tuple[keras.Model, keras.Model]:
    """Build the plain network and ours, each with a backbone of its own."""
    made = []
    for ours in (False, True):
        base = build_base("mobilenet_v2", Weights(Origin.NONE))
        heads = {task: build_head(task, base.output.shape[-1], RECIPE, seed=0) for task in Task}
        unfreeze(base, None)
        if ours:
            model = JointNetwork(base, heads)
        else:
            model = keras.Model(base.input, {task.value: head(base.output) for task, head in heads.items()})
        compile_joint(model, tuple(Task), RECIPE)
        made.append(model)
    return made[0], made[1]


def seconds_a_step(model: keras.Model, batch: np.ndarray, targets: dict[str, np.ndarray], steps: int) -> float:
    """Return the mean seconds of one step, after a step that warms up."""
    model.train_on_batch(batch, targets)
    started = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(batch, targets)
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Print the ratio of the two loops' speeds."""
    options = _parser().parse_args()
    generator = np.random.default_rng(0)
    batch = generator.integers(0, 256, (RECIPE.batch_size, *SHAPE)).astype(np.float32)
    targets = {
        Task.CLASSIFICATION.value: np.eye(8, dtype=np.float32)[generator.integers(0, 8, len(batch))],
        Task.REGRESSION.value: np.c_[generator.uniform(-1, 1, (len(batch), 2)), np.ones(len(batch))].astype(np.float32),
    }
    plain, ours = networks()
    ratios = []
    for number in range(options.rounds):
        before, after = (seconds_a_step(model, batch, targets, options.steps) for model in (plain, ours))
        ratios.append(before / after)
        print(f"round {number + 1}: plain {before:.3f} s a step, ours {after:.3f} s, {before / after:.2f}x")
    print(f"median: {statistics.median(ratios):.2f}x the plain loop's steps a second")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/fine_tune.py",
        description="Measure a step of fine-tuning in Keras's own loop and in ours.",
        examples=("python bench/fine_tune.py --steps 12 --rounds 3",),
    )
    parser.add_argument(
        "--steps", type=whole_number(1), default=12, metavar="N", help="steps in a round (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="rounds, of which the median counts (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
