"""Models run by TensorFlow Serving, over one gRPC channel."""

import asyncio
import contextlib
import logging
from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray

from affect_contract import tfserving
from affect_contract.errors import AffectError, BackendError, ModelNotReady, UnknownModel
from affect_contract.models import ServedModel
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import MAX_BATCH_SIZE
from affect_contract.versions import STABLE
from affect_serving.backends.tfserving import wire
from affect_serving.backends.tfserving.channel import open_channel
from affect_serving.backends.tfserving.errors import never_reached_a_server, obstacle, translated
from affect_serving.backends.tfserving.retry_budget import RetryBudget
from affect_serving.backends.tfserving.status_poller import StatusPoller
from affect_serving.core.backend import Catalog, ModelAnswer, Selector
from affect_serving.core.deadline import Deadline
from affect_serving.core.routing import select
from affect_serving.settings import Settings
from affect_serving.telemetry.request_context import current_request

_POLL_EVERY_S: Final = 1.0
_POLL_WHILE_AWAY_EVERY_S: Final = 0.2
_FAILED_POLLS: Final = 2
"""Polls in a row that fail before the server counts as away: one may meet a server that is busy."""
_RECONNECT_S: Final = 1.0
"""The longest that a second attempt waits for a connection, in seconds."""

_log = logging.getLogger(__name__)


class TfServingBackend:
    """Asks TensorFlow Serving, and keeps an eye on what it serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._budget = RetryBudget()
        self._catalog: Catalog | None = None
        self._trouble: AffectError = ModelNotReady("TensorFlow Serving has not been asked yet", retry_after_s=1.0)
        self._failed_polls = 0

    async def start(self) -> None:
        """Open the channel and look once; a server that is not there yet is waited for while serving.

        Raises:
            ServingError: a TLS file cannot be used.
        """
        self._channel = open_channel(self._settings)
        self._predict = self._channel.unary_unary(
            tfserving.PREDICT.path,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        self._status_poller = StatusPoller(self._channel, self._settings.backbones)
        await self._look()
        self._watch = asyncio.create_task(self._keep_looking(), name="status poller of TensorFlow Serving")

    async def close(self) -> None:
        """Close the channel."""
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        await self._channel.close()

    async def catalog(self) -> Catalog:
        """What the server had when it was last asked, a second ago at most.

        Raises:
            AffectError: it cannot be asked.
        """
        if self._catalog is not None and self._failed_polls < _FAILED_POLLS:
            return self._catalog
        # A new one each time: an exception that is raised twice keeps both tracebacks.
        raise type(self._trouble)(self._trouble.detail, retry_after_s=self._trouble.retry_after_s)

    def problem(self) -> str:
        """Return no problem: only the server knows its configuration, and it reports none over gRPC."""
        return ""

    async def run(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], *, timeout_s: float
    ) -> ModelAnswer:
        """Ask the server, in batches that it takes; see `Backend`."""
        deadline = Deadline(timeout_s)
        selector = await self._sent_selector(model, selector)
        answers: list[ModelAnswer] = []
        for start in range(0, len(images), MAX_BATCH_SIZE):
            answer = await self._ask(model, selector, images[start : start + MAX_BATCH_SIZE], deadline)
            answers.append(answer)
            # A label may move between two batches of one request; the version that began it ends it.
            selector = Selector(version=answer.version)
        return _joined(answers)

    async def _sent_selector(self, model: ServedModel, selector: Selector) -> Selector:
        """What the server is told: labels as they are, since it knows first when they move."""
        if selector.version is not None:
            return selector
        version = select((await self.catalog()).get(model, ()), selector)
        if version is None:
            raise UnknownModel(f"{model.name} has no such version: see GET /models")
        label = selector.label or STABLE
        return Selector(label=label) if label in version.labels else Selector()

    async def _ask(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], deadline: Deadline
    ) -> ModelAnswer:
        request = wire.predict_request(model, selector, images)
        try:
            response = await self._call(request, deadline)
        except grpc.aio.AioRpcError as exc:
            _log.debug("%s: %s: %s", model.name, exc.code().name, exc.details())
            raise translated(exc) from exc
        self._failed_polls = 0  # what answers is not away, were it too busy to say what it serves
        answer = wire.model_answer(response, model, len(images))
        if selector.version is not None and answer.version != selector.version:
            raise BackendError(
                f"TensorFlow Serving answered with version {answer.version} of {model.name} where {selector.version} "
                "was asked for: ask again"
            )
        return answer

    async def _call(self, request: pb.PredictRequest, deadline: Deadline) -> pb.PredictResponse:
        self._budget.earn()
        asking = current_request.get()
        metadata = asking.metadata() if asking else None
        try:
            return await self._predict(request, timeout=deadline.left_s(), metadata=metadata)
        except grpc.aio.AioRpcError as exc:
            if not (never_reached_a_server(exc) and self._budget.spend()):
                raise
            failure = exc
        left_s = deadline.left_s()
        try:
            return await self._predict(
                request, timeout=min(left_s, _RECONNECT_S), wait_for_ready=True, metadata=metadata
            )
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED and left_s > _RECONNECT_S:
                raise failure from exc
            raise

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_POLL_WHILE_AWAY_EVERY_S if self._failed_polls else _POLL_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        try:
            catalog = await self._status_poller.poll()
        except grpc.aio.AioRpcError as exc:
            self._note_failure(exc)
            return
        except Exception:
            # What cannot be foreseen must not end the watch, which is what would notice that it has passed.
            _log.exception("cannot read what TensorFlow Serving says of its models")
            self._trouble = BackendError("TensorFlow Serving says of its models what cannot be read: see the log")
            self._failed_polls = _FAILED_POLLS
            return
        if self._failed_polls or self._catalog is None:
            _log.info("TensorFlow Serving at %s answers", self._settings.tfserving)
        self._catalog, self._failed_polls = catalog, 0

    def _note_failure(self, error: grpc.aio.AioRpcError) -> None:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and self._catalog is not None:
            return  # busy with requests, and so alive
        trouble = obstacle(error)
        if not self._failed_polls or self._trouble.detail != trouble.detail:
            _log.error(
                "TensorFlow Serving at %s cannot be asked (%s: %s): %s",
                self._settings.tfserving, error.code().name, error.details(), trouble.detail,
            )  # fmt: skip
        self._trouble = trouble
        self._failed_polls += 1
        self._status_poller.forget()


def _joined(answers: list[ModelAnswer]) -> ModelAnswer:
    if len(answers) == 1:
        return answers[0]
    names = answers[0].outputs
    return ModelAnswer(
        {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in names}, answers[0].version
    )
