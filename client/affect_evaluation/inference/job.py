"""Collect the gateway's answers for a whole test set: bounded, resumable, and all from the pinned versions."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tqdm import tqdm

from affect_client.errors import ServiceUnreachable
from affect_client.http.client import AsyncClient
from affect_client.rpc.client import AsyncGrpcClient
from affect_contract.errors import FAULTS, AffectError, BackendError, Unauthorized
from affect_contract.labels import LABELS
from affect_contract.outputs import SCALAR_NAMES
from affect_contract.schemas import Failure, Prediction
from affect_dataset.samples import Sample
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference.adaptive_concurrency import AdaptiveConcurrency
from affect_evaluation.inference.version_pins import Pin, PinnedQuery
from affect_evaluation.run.predictions import AnswerLog, RecordedAnswer

IN_FLIGHT: Final = 16

AnyClient = AsyncClient | AsyncGrpcClient

_WAITS_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waits before each retry of a request that failed for a transient reason."""
_LONGEST_WAIT_S: Final = 30.0
_SUM_TOLERANCE: Final = 1e-3


async def collect_answers(
    clients: Sequence[AnyClient],
    samples: Sequence[Sample],
    chosen: Sequence[Pin],
    predictions: Path,
    *,
    on_answer: Callable[[], None] = lambda: None,
) -> None:
    """Send every picture without a final answer to the gateway, and record each answer as it comes.

    Args:
        clients: clients of the gateway, among which the requests are distributed.
        samples: the pictures.
        chosen: the pinned versions, each of which gets every picture.
        predictions: path of the file to which answers are appended.
        on_answer: called after each answer.

    Raises:
        EvaluationError: another version answered, or a picture cannot be read any more.
        ServiceUnreachable: the gateway stayed away; calling again with the same arguments continues the run.
    """
    with AnswerLog(predictions) as log:
        settled = log.settled()
        total = len(samples) * len(chosen)
        with tqdm(total=total, initial=len(settled), desc="evaluation", unit="picture") as bar:
            pending = ((pin, one) for pin in chosen for one in samples if (one.id, pin.backbone) not in settled)

            def record(recorded: RecordedAnswer) -> None:
                log.append(recorded)
                bar.update()
                on_answer()

            try:
                concurrency = AdaptiveConcurrency(IN_FLIGHT)
                async with asyncio.TaskGroup() as group:
                    for number in range(IN_FLIGHT):
                        group.create_task(_work(clients[number % len(clients)], pending, concurrency, record))
            except ExceptionGroup as failures:
                # Workers share one service and one folder, so that the first failure explains the others.
                raise failures.exceptions[0] from None


async def _work(
    client: AnyClient,
    pending: Iterator[tuple[Pin, Sample]],
    concurrency: AdaptiveConcurrency,
    record: Callable[[RecordedAnswer], None],
) -> None:
    for pin, sample in pending:
        record(await _recorded_answer(client, pin, sample, concurrency))


async def _recorded_answer(
    client: AnyClient, pin: Pin, sample: Sample, concurrency: AdaptiveConcurrency
) -> RecordedAnswer:
    try:
        picture = sample.path.read_bytes()
    except OSError as exc:
        raise EvaluationError(f"{sample.path} cannot be read any more: {exc.strerror}") from exc
    clock = _Clock()
    try:
        answer = await _predict_with_retries(client, pin.query, picture, clock, concurrency)
        _require_scorable(answer)
    except AffectError as exc:
        error = Failure(code=exc.code, detail=exc.detail)
        return RecordedAnswer(id=sample.id, backbone=pin.backbone, error=error, latency_ms=clock.milliseconds())
    pin.require(answer)
    return RecordedAnswer(
        id=sample.id,
        backbone=pin.backbone,
        answer=answer,
        versions=answer.model.versions,
        latency_ms=clock.milliseconds(),
    )


class _Clock:
    """Measures the milliseconds since the last start."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._started = time.perf_counter()

    def milliseconds(self) -> float:
        return (time.perf_counter() - self._started) * 1000


async def _predict_with_retries(
    client: AnyClient, query: PinnedQuery, picture: bytes, clock: _Clock, concurrency: AdaptiveConcurrency
) -> Prediction:
    """Return the prediction, retried after transient errors so that a restart of the gateway does not end the run."""

    async def once() -> Prediction:
        async with concurrency.slot():
            clock.start()
            return await client.predict(picture, **query)

    for wait_s in _WAITS_S:
        try:
            return await once()
        except ServiceUnreachable:
            retry_after_s = 0.0
        except Unauthorized as exc:
            # Not recorded for the picture, since the error would stay in the log once the key is right.
            raise EvaluationError(f"the gateway refuses the request without a valid key: {exc.detail}") from exc
        except AffectError as exc:
            if not FAULTS[exc.code].retryable:
                raise
            retry_after_s = exc.retry_after_s or 0.0
        await asyncio.sleep(min(max(wait_s, retry_after_s), _LONGEST_WAIT_S))
    return await once()


def _require_scorable(answer: Prediction) -> None:
    """Check that an answer can be scored.

    Raises:
        BackendError: the answer has no complete task, other labels than ours, or no probability distribution.
    """
    probabilities = answer.probabilities
    scalars = {getattr(answer, name) is None for name in SCALAR_NAMES}
    if len(scalars) > 1 or (scalars == {True} and probabilities is None):
        wanted = " and ".join(SCALAR_NAMES)
        raise BackendError(f"the answer holds no complete task: expected probabilities, or {wanted}, or both")
    if probabilities is None:
        return
    if set(probabilities) != set(LABELS):
        raise BackendError(f"the answer's labels are {', '.join(sorted(probabilities))}, not the eight of AffectNet")
    # Comparing this way round makes NaN fail.
    if min(probabilities.values()) < 0 or not math.isclose(sum(probabilities.values()), 1, abs_tol=_SUM_TOLERANCE):
        raise BackendError("the answer's probabilities are no distribution: they do not sum to 1")
