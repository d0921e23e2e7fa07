"""``affect-evaluate``: score a test set through the running service."""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from affect_client.connect import connect_async
from affect_client.errors import ServiceUnreachable
from affect_client.evaluation.errors import EvaluationError
from affect_client.evaluation.job import ask
from affect_client.evaluation.pins import Pin, pins, probed_pins
from affect_client.evaluation.predictions import FILE_NAME
from affect_client.evaluation.run_folder import claim, identity
from affect_client.evaluation.scoring import ModelScores, TaskScores, score, score_baselines
from affect_client.evaluation.table import table
from affect_client.http import DEFAULT_URL
from affect_client.rpc import AsyncGrpcClient
from affect_contract.errors import AffectError
from affect_contract.files import write_atomically
from affect_contract.models import Backbone
from affect_dataset import layouts
from affect_dataset.samples import Dataset, DatasetError, Sample, Split
from affect_dataset.split import Assignment, read_or_assign

METRICS_FILE: Final = "metrics.json"

_ALL: Final = "all"
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _evaluate(options)
    except (EvaluationError, DatasetError, ServiceUnreachable, AffectError) as exc:
        _say(str(exc))
        return 2
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here")
        return _INTERRUPTED
    return 0


def _evaluate(options: argparse.Namespace) -> None:
    # The service first: a large data set takes minutes to read.
    chosen = asyncio.run(_find(options))
    dataset = layouts.load(options.data, progress=tqdm)
    assignment = _assignment(options, dataset)
    samples = _scored(dataset, assignment, options.split)
    claim(options.out, identity(dataset.digest, options.split, samples, chosen))
    predictions = options.out / FILE_NAME
    asyncio.run(_ask(options, samples, chosen, predictions))
    models = score(predictions, samples)
    _require_answers(models, predictions)
    baselines = score_baselines(assignment.samples(dataset, Split.TRAIN), samples)
    _write(
        options.out / METRICS_FILE,
        {"models": models, "baselines": baselines, "data": _facts(dataset, assignment, samples, options.split)},
    )
    _print_result(options, len(samples), models, baselines)


async def _find(options: argparse.Namespace) -> list[Pin]:
    async with connect_async(options.url, timeout_s=options.timeout_s, retries=0) as client:
        if isinstance(client, AsyncGrpcClient):
            return await probed_pins(client, options.backbones)
        return pins(await client.models(), options.backbones)


async def _ask(
    options: argparse.Namespace, samples: Sequence[Sample], chosen: Sequence[Pin], predictions: Path
) -> None:
    async with connect_async(options.url, timeout_s=options.timeout_s, retries=0) as client:
        await ask(client, samples, chosen, predictions)


def _assignment(options: argparse.Namespace, dataset: Dataset) -> Assignment:
    """The saved split, or, where the data set neither has nor fixes one, the one that training makes by default."""
    if options.split_file and not options.split_file.exists():
        raise EvaluationError(f"there is no split {options.split_file}: name the one that affect-train has saved")
    saved = options.split_file or layouts.folder_of(options.data) / layouts.SPLIT_FILE
    is_new = not saved.exists() and not any(sample.fixed_split for sample in dataset.samples)
    assignment, _ = read_or_assign(dataset, path=options.split_file)
    if is_new:
        _say(
            f"no split is saved in {saved}: divided as affect-train does by default (seed {assignment.seed}); "
            "models trained on another split have seen some of these pictures"
        )
    return assignment


def _scored(dataset: Dataset, assignment: Assignment, part: str) -> list[Sample]:
    samples = list(dataset.samples) if part == _ALL else assignment.samples(dataset, Split(part))
    if not samples:
        raise EvaluationError(f"the {part} split of {dataset.root} is empty: there is nothing to score")
    return samples


def _require_answers(models: dict[str, ModelScores], predictions: Path) -> None:
    if not any(scores["coverage"]["answered"] for scores in models.values()):
        codes = sorted({code for scores in models.values() for code in scores["failures"]})
        raise EvaluationError(f"not one picture was answered ({', '.join(codes)}): {predictions} says why")


def _facts(dataset: Dataset, assignment: Assignment, samples: Sequence[Sample], part: str) -> dict[str, Any]:
    return {
        "data_digest": dataset.digest,
        "split": part,
        "split_seed": assignment.seed,
        "fractions": list(assignment.fractions),
        "pictures": len(samples),
        "excluded": {str(reason): count for reason, count in sorted(dataset.counts().items())},
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        write_atomically(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
    except OSError as exc:
        raise EvaluationError(f"{path} cannot be written: {exc.strerror}") from exc


def _print_result(
    options: argparse.Namespace, pictures: int, models: dict[str, ModelScores], baselines: TaskScores
) -> None:
    what = "ALL pictures, those that trained the models included" if options.split == _ALL else "the test split"
    print(f"{pictures:,} pictures: {what}\n\n{table(models, baselines)}\n")  # noqa: T201
    for name, scores in models.items():
        if scores["failures"]:
            counts = ", ".join(f"{code} {count:,}" for code, count in scores["failures"].items())
            print(f"{name}: no answer for {pictures - scores['coverage']['answered']:,} pictures ({counts})")  # noqa: T201
    print(f"in full: {options.out / METRICS_FILE}")  # noqa: T201


def _say(line: str) -> None:
    print(f"affect-evaluate: {line}", file=sys.stderr)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affect-evaluate",
        description="Score a data set through a running gateway.",
        epilog="The same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="a gateway, http:// or grpc:// (default: %(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="data set: AffectNet's layout, or a CSV")
    parser.add_argument("--out", type=Path, required=True, help="folder for predictions and metrics")
    parser.add_argument(
        "--split", choices=(Split.TEST.value, _ALL), default=Split.TEST.value, help="what to score (default: test)"
    )
    parser.add_argument("--split-file", type=Path, help="the split, where it is not beside the data")
    parser.add_argument(
        "--backbones", type=_backbones, default=(), metavar="A,B", help="which to score (default: all that are served)"
    )
    parser.add_argument(
        "--timeout-s", type=_seconds, default=30.0, help="seconds that one picture may take (default: %(default)g)"
    )
    return parser


def _backbones(text: str) -> tuple[Backbone, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in set(Backbone)]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: choose from {', '.join(Backbone)}")
    return tuple(Backbone(name) for name in names)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number of seconds above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
