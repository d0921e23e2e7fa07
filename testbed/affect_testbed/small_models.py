"""Small real models whose versions differ: the custom CNN's pair of random weights, made once for a run of tests."""

import shutil
import subprocess
import sys
from pathlib import Path

from affect_contract.models import Backbone, Task, single

PAIR = tuple(single(Backbone.CUSTOM_CNN, task).name for task in Task)
SEEDS = (1, 2, 3)

EXPORT = """
import sys
from pathlib import Path
from affect_contract.models import Backbone, Task, single
from affect_training.backbones import build_base, build_head
from affect_training.export import export
from affect_training.recipe import STUDY
from affect_training.warmup import write_warmup

for seed in map(int, sys.argv[2:]):
    base = build_base(Backbone.CUSTOM_CNN, seed=seed)
    for task in Task:
        model = single(Backbone.CUSTOM_CNN, task)
        directory = Path(sys.argv[1]) / str(seed) / model.name
        export(directory, base, {task: build_head(task, base.output.shape[-1], STUDY, seed=seed)})
        write_warmup(directory, model.name)
"""


def make(folder: Path) -> None:
    """Export one pair a seed, as ``folder/SEED/NAME``; TensorFlow does it in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", EXPORT, str(folder), *map(str, SEEDS)], check=True, capture_output=True, text=True
    )


def staged(made: Path, seed: int, root: Path) -> dict[str, Path]:
    """Copies of one pair beside the versions in ``root``, ready to be published."""
    copies = {}
    for name in PAIR:
        copies[name] = root / f".staged-{seed}" / name
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made / str(seed) / name, copies[name])
    return copies
