"""Small real models whose versions differ: the custom CNN's pair with random weights, exported once per test run."""

import shutil
import subprocess
import sys
from pathlib import Path

from affect_contract.models import single
from affect_contract.outputs import Task

PAIR = tuple(single("custom_cnn", task).name for task in Task)
SEEDS = (1, 2, 3)

EXPORT = """
import sys
from pathlib import Path
from affect_contract.models import single
from affect_contract.outputs import Task
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head
from affect_training.export.saved_model import export
from affect_training.recipes.recipe import STUDY_RECIPE
from affect_training.export.warmup import write_warmup

for seed in map(int, sys.argv[2:]):
    base = build_base("custom_cnn", seed=seed)
    for task in Task:
        model = single("custom_cnn", task)
        directory = Path(sys.argv[1]) / str(seed) / model.name
        export(directory, base, {task: build_head(task, base.output.shape[-1], STUDY_RECIPE, seed=seed)})
        write_warmup(directory, model.name)
"""


def make(folder: Path) -> None:
    """Export one pair for each seed, as ``folder/SEED/NAME``; TensorFlow runs in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", EXPORT, str(folder), *map(str, SEEDS)], check=True, capture_output=True, text=True
    )


def staged(made: Path, seed: int, root: Path) -> dict[str, Path]:
    """Copy the pair of one seed into ``root``, ready to be published, and return the copies' paths by model name."""
    copies = {}
    for name in PAIR:
        copies[name] = root / f".staged-{seed}" / name
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made / str(seed) / name, copies[name])
    return copies
