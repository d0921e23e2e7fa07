"""``affect-evaluate --url ...``: send a test set to the gateway, and record its answers."""

import argparse
import asyncio
import platform
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from affect_client.connect import connect_async, is_grpc_url
from affect_client.credentials import CredentialsError, add_credential_arguments, read_credentials
from affect_client.http.client import DEFAULT_URL, AsyncClient
from affect_client.rpc.client import AsyncGrpcClient
from affect_contract.arguments import names, seconds
from affect_contract.backbones import BACKBONES
from affect_contract.versions import STABLE
from affect_dataset import loading
from affect_dataset.samples import Dataset, Sample, Split
from affect_dataset.shards import WHOLE, add_shard_argument
from affect_dataset.split import Assignment, read_or_assign
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference.job import IN_FLIGHT, collect_answers
from affect_evaluation.inference.version_pins import Pin, pin_versions, probe_versions
from affect_evaluation.remarks import print_remark
from affect_evaluation.run.manifest import Session, add_sessions, claim, identity
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import Prior, Truth

ALL: Final = "all"


def run(options: argparse.Namespace) -> None:
    """Send every picture to the gateway, and record the answers in the run's folder.

    Raises:
        EvaluationError: the run cannot start or go on; the message says why.
        DatasetError: the data set cannot be read.
        ServiceUnreachable: no gateway answers.
        AffectError: the gateway refuses to list its models.
    """
    # The gateway comes first, since a large data set takes minutes to read.
    chosen = asyncio.run(_pin_versions(options))
    dataset = loading.load(options.data, progress=tqdm)
    truth = _truth(options, dataset)
    claim(options.out, identity(dataset.digest, options.split, truth.samples, chosen, str(options.shard)))
    _write_truth(truth, options.out)
    _collect(options, truth.samples, chosen)


async def _pin_versions(options: argparse.Namespace) -> list[Pin]:
    async with _client(options) as client:
        if isinstance(client, AsyncGrpcClient):
            return await probe_versions(client, options.backbones, options.label)
        return pin_versions(await client.models(), options.backbones, options.label)


def _client(options: argparse.Namespace) -> AsyncClient | AsyncGrpcClient:
    try:
        return connect_async(options.url, timeout_s=options.timeout_s, retries=0, **read_credentials(options))
    except (CredentialsError, ValueError) as exc:
        raise EvaluationError(str(exc)) from exc


def _connections(url: str) -> int:
    """Return the number of clients: one over gRPC; over HTTP one per request, since a large pool is slow to search."""
    return 1 if is_grpc_url(url) else IN_FLIGHT


def _truth(options: argparse.Namespace, dataset: Dataset) -> Truth:
    assignment = _assignment(options, dataset)
    samples = _samples(dataset, assignment, options.split)
    truth = Truth.of(samples, Prior.of(assignment.samples(dataset, Split.TRAIN)), _facts(dataset, assignment, options))
    if options.shard == WHOLE:
        return truth
    part = options.shard.of(truth.samples)
    if not part:
        raise EvaluationError(f"part {options.shard} of {len(samples)} pictures is empty: ask for fewer parts")
    return Truth.of(part, truth.prior, truth.facts)


def _write_truth(truth: Truth, out: Path) -> None:
    try:
        truth.write(out)
    except OSError as exc:
        raise EvaluationError(f"{out} cannot be written: {exc.strerror}") from exc


def _collect(options: argparse.Namespace, samples: Sequence[Sample], chosen: Sequence[Pin]) -> None:
    """Collect the missing answers, and record the session even if it is interrupted."""
    started, clock = datetime.now(UTC), time.perf_counter()
    answered = 0

    def count() -> None:
        nonlocal answered
        answered += 1

    async def work() -> None:
        async with AsyncExitStack() as stack:
            clients = [_client(options) for _ in range(_connections(options.url))]
            for client in clients:
                await stack.enter_async_context(client)
            await collect_answers(clients, samples, chosen, options.out / PREDICTIONS_FILE, on_answer=count)

    try:
        asyncio.run(work())
    finally:
        if answered:
            session = Session(
                started=started.isoformat(timespec="seconds"),
                seconds=time.perf_counter() - clock,
                answered=answered,
                url=options.url,
                host=platform.node(),
            )
            add_sessions(options.out, [session])


def _assignment(options: argparse.Namespace, dataset: Dataset) -> Assignment:
    """Return the saved split, or the one that training makes by default if the data set neither has nor fixes one."""
    if options.split_file and not options.split_file.exists():
        raise EvaluationError(f"there is no split {options.split_file}: name the one that affect-train has saved")
    saved = options.split_file or loading.folder_of(options.data) / loading.SPLIT_FILE
    is_new = not saved.exists() and not any(sample.fixed_split for sample in dataset.samples)
    assignment, _ = read_or_assign(dataset, path=options.split_file)
    if is_new:
        print_remark(
            f"no split is saved in {saved}: divided as affect-train does by default (seed {assignment.seed}); "
            "models trained on another split have seen some of these pictures"
        )
    return assignment


def _samples(dataset: Dataset, assignment: Assignment, part: str) -> list[Sample]:
    samples = list(dataset.samples) if part == ALL else assignment.samples(dataset, Split(part))
    if not samples:
        raise EvaluationError(f"the {part} split of {dataset.root} is empty: there is nothing to score")
    return samples


def _facts(dataset: Dataset, assignment: Assignment, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "data_digest": dataset.digest,
        "split": options.split,
        "split_seed": assignment.seed,
        "fractions": list(assignment.fractions),
        "excluded": {str(reason): count for reason, count in sorted(dataset.counts().items())},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``affect-evaluate`` without the name of another command."""
    parser.add_argument(
        "--url",
        default=DEFAULT_URL,
        metavar="URL",
        help="address of the gateway: http, https, grpc or grpcs (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="data set: a folder in AffectNet's layout, or a CSV file",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for answers, scores and the report"
    )
    parser.add_argument(
        "--split",
        choices=(Split.TEST.value, ALL),
        default=Split.TEST.value,
        help="pictures to ask for: the test split, or all, training pictures among them (default: %(default)s)",
    )
    parser.add_argument(
        "--split-file",
        type=Path,
        metavar="FILE",
        help="file that holds the split, as affect-train saved it (default: split.csv in the folder of the data set)",
    )
    parser.add_argument(
        "--backbones",
        type=names(BACKBONES),
        default=(),
        metavar="A,B",
        help="backbones to score, separated by commas (default: all that are served)",
    )
    parser.add_argument(
        "--label",
        default=STABLE,
        metavar="NAME",
        help="label of the versions to score, such as canary (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout-s",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="time that one picture may take (default: %(default)g)",
    )
    add_credential_arguments(parser)
    add_shard_argument(parser, "ask for one part of the pictures only, for affect-evaluate merge to join")
