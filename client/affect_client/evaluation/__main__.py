"""``affect-evaluate``: score a test set through the running service."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from affect_client.errors import ServiceUnreachable
from affect_client.evaluation.job import EvaluationError, ask, claim, pins
from affect_client.evaluation.predictions import FILE_NAME
from affect_client.evaluation.scoring import score, score_baselines
from affect_client.evaluation.table import table
from affect_client.http import DEFAULT_URL, AsyncClient
from affect_contract.errors import AffectError
from affect_contract.files import write_atomically
from affect_contract.models import Backbone
from affect_dataset import layouts
from affect_dataset.samples import Dataset, DatasetError, Sample, Split
from affect_dataset.split import Assignment, read_or_assign

METRICS_FILE = "metrics.json"

_ALL = "all"
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _evaluate(options)
    except (EvaluationError, DatasetError, ServiceUnreachable, AffectError) as exc:
        print(f"affect-evaluate: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("\naffect-evaluate: stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    return 0


def _evaluate(options: argparse.Namespace) -> None:
    dataset = layouts.load(options.data, progress=tqdm)
    assignment, _ = read_or_assign(dataset, path=options.split_file)
    samples = _scored(dataset, assignment, options.split)
    asyncio.run(_ask(options, dataset, assignment, samples))
    models = score(options.out / FILE_NAME, samples)
    if not any(scored["coverage"]["answered"] for scored in models.values()):
        raise EvaluationError(f"not one of {len(samples):,} pictures was answered: see {options.out / FILE_NAME}")
    baselines = score_baselines(assignment.samples(dataset, Split.TRAIN), samples)
    document = {"models": models, "baselines": baselines, "data": _data_facts(dataset, assignment, options.split)}
    write_atomically(options.out / METRICS_FILE, json.dumps(document, indent=2) + "\n")
    _print_result(options, samples, models, baselines)


async def _ask(options: argparse.Namespace, dataset: Dataset, assignment: Assignment, samples: list[Sample]) -> None:
    async with AsyncClient(options.url, timeout_s=options.timeout_s) as client:
        chosen = pins(await client.models(), options.backbones)
        versions = {pin.backbone.value: dict(pin.versions) for pin in chosen}
        claim(options.out, {**_data_facts(dataset, assignment, options.split), "versions": versions})
        await ask(client, samples, chosen, options.out)


def _scored(dataset: Dataset, assignment: Assignment, part: str) -> list[Sample]:
    samples = list(dataset.samples) if part == _ALL else assignment.samples(dataset, Split(part))
    if not samples:
        raise EvaluationError(f"the {part} split of {dataset.root} is empty: there is nothing to score")
    return samples


def _data_facts(dataset: Dataset, assignment: Assignment, part: str) -> dict[str, Any]:
    return {
        "data_digest": dataset.digest,
        "split": part,
        "split_seed": assignment.seed,
        "fractions": list(assignment.fractions),
        "excluded": {str(reason): count for reason, count in sorted(dataset.counts().items())},
    }


def _print_result(
    options: argparse.Namespace, samples: list[Sample], models: dict[str, Any], baselines: dict[str, Any]
) -> None:
    what = "all pictures, those that trained the models included" if options.split == _ALL else "the test split"
    print(f"{len(samples):,} pictures, {what}\n")  # noqa: T201
    print(table(models, baselines))  # noqa: T201
    for name, scored in models.items():
        if scored["failures"]:
            print(f"{name}: without an answer, by code: {scored['failures']}")  # noqa: T201
    print(f"\nin full: {options.out / METRICS_FILE}")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affect-evaluate",
        description="Score a data set through a running gateway.",
        epilog="The same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="a running gateway (default: %(default)s)")
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
        "--timeout-s", type=float, default=30.0, help="seconds that one picture may take (default: %(default)s)"
    )
    return parser


def _backbones(text: str) -> tuple[Backbone, ...]:
    names = text.split(",")
    unknown = [name for name in names if name not in set(Backbone)]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: choose from {', '.join(Backbone)}")
    return tuple(Backbone(name) for name in names)


if __name__ == "__main__":
    sys.exit(main())
