"""Compare two ways to train a head on the features of a large data set: read from disk when used, or all in memory.

A cache of random features is written as `affect-train features` writes it; then each way trains a regression head for
one epoch in a process of its own. Memory of the process itself is stated apart from mapped files, whose memory the
system takes back when others need it.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from numpy.typing import NDArray

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from affect_contract.labels import Expression
from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.features.cache import FeatureCache

CHUNK: Final = 256
WAYS: Final = ("from disk", "in memory")


def samples(count: int) -> list[Sample]:
    """Make up the samples of a data set."""
    rng = np.random.default_rng(0)
    return [
        Sample(
            id=f"train_set/{number}",
            path=Path(f"/data/affectnet/train_set/images/{number}.jpg"),
            expression=Expression(number % len(Expression)),
            valence=float(rng.uniform(-1, 1)),
            arousal=float(rng.uniform(-1, 1)),
            digest=hashlib.sha256(str(number).encode()).hexdigest(),
        )
        for number in range(count)
    ]


def cache_in(folder: Path) -> FeatureCache:
    """Open the feature cache of the made-up backbone."""
    return FeatureCache(folder, "mobilenet_v2", "0" * 64)


def fill(folder: Path, count: int, width: int) -> None:
    """Write random features of ``count`` pictures to the cache."""
    cache, rng = cache_in(folder), np.random.default_rng(0)
    digests = [one.digest for one in samples(count)]
    for start in range(0, count, CHUNK):
        part = digests[start : start + CHUNK]
        cache.add(part, rng.random((len(part), width), np.float32))


@dataclass(frozen=True)
class InMemory:
    """Features that were all read into memory beforehand."""

    rows: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of each batch of indices."""
        return (self.rows[batch] for batch in indices)


class PeakMemory(threading.Thread):
    """Records the most memory that the process has had, by kind, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.files = 0.0

    def run(self) -> None:
        """Measure ten times a second."""
        while True:
            self.measure()
            time.sleep(0.1)

    def measure(self) -> None:
        """Measure the memory once."""
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        own, files = (int(lines[name].split()[0]) / 1000 for name in ("RssAnon", "RssFile"))
        self.own, self.files = max(self.own, own), max(self.files, files)


def train(way: str, folder: Path, count: int, batch_size: int) -> dict[str, float]:
    """Train for one epoch in this process, and return its memory in MB and its seconds."""
    from affect_training.loop.batches import Examples, in_order  # noqa: PLC0415
    from affect_training.loop.one_task import train_one_task  # noqa: PLC0415
    from affect_training.loop.targets import affect  # noqa: PLC0415
    from affect_training.networks.heads import build_head  # noqa: PLC0415 - the process that fills the cache needs no Keras
    from affect_training.recipes.recipe import STUDY_RECIPE  # noqa: PLC0415

    peak = PeakMemory()
    peak.measure()
    before = peak.own
    peak.start()
    listed = samples(count)
    inputs = cache_in(folder).rows([one.digest for one in listed])
    started = time.perf_counter()
    first = next(inputs.batches(in_order(count, 1)))
    chosen = inputs
    if way == "in memory":
        rows = np.empty((count, first.shape[1]), np.float32)
        for indices, batch in zip(in_order(count, CHUNK), inputs.batches(in_order(count, CHUNK)), strict=True):
            rows[indices] = batch
        chosen = InMemory(rows)  # type: ignore[assignment]
    examples = Examples(chosen, affect(listed))
    recipe = replace(STUDY_RECIPE, epochs=1, batch_size=batch_size)
    head = build_head(Task.REGRESSION, first.shape[1], recipe, seed=0)
    with tempfile.TemporaryDirectory() as checkpoints:
        train_one_task(
            head, Task.REGRESSION, recipe, examples, examples,
            seed=0, checkpoint=Path(checkpoints) / "c.npz", description=way,
        )  # fmt: skip
    peak.measure()
    return {"before": before, "own": peak.own, "files": peak.files, "seconds": time.perf_counter() - started}


def main() -> None:
    """Measure both ways and print a table."""
    options = _parser().parse_args()
    if options.way:
        print(json.dumps(train(options.way, options.folder, options.pictures, options.batch_size)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        fill(Path(folder), options.pictures, options.width)
        print("| features | memory of its own | before it began | mapped files | seconds an epoch |")
        print("|---|---|---|---|---|")
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", folder]
            command += ["--pictures", str(options.pictures), "--batch-size", str(options.batch_size)]
            quiet = os.environ | {"TQDM_DISABLE": "1"}
            done = subprocess.run(command, env=quiet, stdout=subprocess.PIPE, text=True, check=True)
            took = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {way} | {took['own']:,.0f} MB | {took['before']:,.0f} MB | {took['files']:,.0f} MB | "
                f"{took['seconds']:,.1f} |"
            )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/features.py",
        description="Train a head on the features of a large data set, once read from disk and once held in memory.",
        examples=("python bench/features.py --batch-size 128",),
    )
    parser.add_argument(
        "--pictures",
        type=whole_number(1),
        default=450_000,
        metavar="N",
        help="pictures in the cache (default: %(default)s)",
    )
    parser.add_argument(
        "--width", type=whole_number(1), default=1280, metavar="N", help="features of a picture (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=16,
        metavar="N",
        help="pictures in a training step (default: %(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the cache is made (default: the system's temporary folder)"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
