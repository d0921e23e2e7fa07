"""Asking the service for a whole test set: bounded, resumable, one version from beginning to end."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from affect_client.evaluation.predictions import FILE_NAME, PredictionLog, Row
from affect_client.http import AsyncClient
from affect_contract.errors import FAULTS, AffectError
from affect_contract.files import write_atomically
from affect_contract.models import Backbone
from affect_contract.schemas import ModelList, Prediction
from affect_contract.store import STABLE
from affect_dataset.samples import Sample

RUN_FILE: Final = "run.json"

_IN_FLIGHT: Final = 16
_ATTEMPTS: Final = 6
_FIRST_WAIT_S: Final = 0.25


class EvaluationError(Exception):
    """A job that cannot start or go on; the text is one sentence for the user."""


@dataclass(frozen=True)
class Pin:
    """Which version of a backbone a whole run asks."""

    backbone: Backbone
    versions: Mapping[str, int]
    """Stable version by model name, as the gateway had them when the run began."""

    @property
    def choice(self) -> dict[str, Any]:
        """The query that asks for it."""
        numbers = set(self.versions.values())
        if len(numbers) == 1:
            return {"backbone": self.backbone.value, "version": numbers.pop()}
        return {"backbone": self.backbone.value, "label": STABLE}


def pins(served: ModelList, wanted: Sequence[Backbone]) -> list[Pin]:
    """The stable versions of the backbones wanted, or of all.

    Raises:
        EvaluationError: a backbone that is not served, or has no stable version.
    """
    found = {model.backbone for model in served.models}
    missing = [backbone for backbone in wanted if backbone not in found]
    if missing:
        raise EvaluationError(f"the gateway does not serve {', '.join(missing)}; it has {', '.join(sorted(found))}")
    return [_pin(served, backbone) for backbone in (wanted or sorted(found))]


def _pin(served: ModelList, backbone: Backbone) -> Pin:
    versions: dict[str, int] = {}
    for model in served.models:
        if model.backbone is backbone:
            unlabelled = not any(one.labels for one in model.versions)
            stable = [one.version for one in model.versions if STABLE in one.labels or unlabelled]
            if stable:
                versions[model.name] = max(stable)
    if not versions:
        raise EvaluationError(f"no model of {backbone} has a stable version: promote one first")
    return Pin(backbone, versions)


def claim(out: Path, facts: dict[str, Any]) -> None:
    """Make ``out`` the folder of the run that ``facts`` describe, or go on with it.

    Raises:
        EvaluationError: it holds another run, or cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        run = out / RUN_FILE
        if run.exists():
            _require_same(out, json.loads(run.read_text(encoding="utf-8")), facts)
        elif (out / FILE_NAME).exists():
            raise EvaluationError(f"{out} holds predictions of an unknown run: name an empty folder with --out")
        else:
            write_atomically(run, json.dumps(facts, indent=2) + "\n")
    except (OSError, ValueError) as exc:
        raise EvaluationError(f"{out} cannot be used for the results: {exc}") from exc


def _require_same(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    different = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if different:
        raise EvaluationError(
            f"{out} holds another run ({', '.join(different)} differ): name another folder with --out, or remove it"
        )


async def ask(client: AsyncClient, samples: Sequence[Sample], chosen: Sequence[Pin], out: Path) -> None:
    """Ask for every picture that has no row yet, and record each answer as it comes.

    Raises:
        EvaluationError: the versions changed midway.
        ServiceUnreachable: the service went away; the same call goes on from there.
    """
    with PredictionLog(out / FILE_NAME) as log:
        asked = log.asked()
        todo = [(pin, one) for pin in chosen for one in samples if (one.id, pin.backbone) not in asked]
        total = len(samples) * len(chosen)
        with tqdm(total=total, initial=total - len(todo), desc="evaluation", unit="picture") as bar:
            pending = iter(todo)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(_IN_FLIGHT):
                        group.create_task(_work(client, pending, log, bar))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None


async def _work(client: AsyncClient, pending: Iterator[tuple[Pin, Sample]], log: PredictionLog, bar: Any) -> None:
    for pin, sample in pending:
        log.append(await _row(client, pin, sample))
        bar.update()


async def _row(client: AsyncClient, pin: Pin, sample: Sample) -> Row:
    row: Row = {"id": sample.id, "backbone": pin.backbone.value}
    picture = sample.path.read_bytes()
    started = time.perf_counter()
    try:
        answer = await _patiently(client, pin, picture)
    except AffectError as exc:
        row["error"] = {"code": exc.code, "detail": exc.detail}
    else:
        _require_pinned(pin, answer)
        row["answer"] = answer.model_dump(mode="json", exclude={"model", "request_id"})
        row["versions"] = dict(answer.model.versions)
    row["latency_ms"] = (time.perf_counter() - started) * 1000
    return row


async def _patiently(client: AsyncClient, pin: Pin, picture: bytes) -> Prediction:
    """The answer, asked for again where that may help."""
    wait_s = _FIRST_WAIT_S
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await client.predict(picture, **pin.choice)
        except AffectError as exc:
            if attempt == _ATTEMPTS or not FAULTS[exc.code].retryable:
                raise
            await asyncio.sleep(max(wait_s, exc.retry_after_s or 0.0))
            wait_s *= 2
    raise AssertionError("unreachable: the last attempt returns or raises")


def _require_pinned(pin: Pin, answer: Prediction) -> None:
    for name, version in answer.model.versions.items():
        if pin.versions.get(name, version) != version:
            raise EvaluationError(
                f"{name} answered with version {version} where the run began with {pin.versions[name]}: "
                "no result may mix versions; start again with another --out"
            )
