"""The TensorFlow Serving backend: predictions, their retries, and a regular poll of what the server serves."""

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
from affect_serving.backends.tfserving.errors import never_reached_a_server, translated, unavailable_reason
from affect_serving.backends.tfserving.retry_budget import RetryBudget
from affect_serving.backends.tfserving.status_poller import StatusPoller
from affect_serving.core.backend import Catalog, ModelAnswer, Selector
from affect_serving.core.deadline import Deadline
from affect_serving.core.routing import select
from affect_serving.settings import Settings
from affect_serving.telemetry.request_context import current_request

_POLL_EVERY_S: Final = 1.0
_POLL_UNAVAILABLE_EVERY_S: Final = 0.2
_FAILED_POLLS: Final = 2
"""Polls that must fail in a row before the server counts as unavailable; a single one may fail on a busy server."""
_RECONNECT_S: Final = 1.0
"""The longest time that a retry waits for a connection, in seconds."""

_log = logging.getLogger(__name__)


class TfServingBackend:
    """Runs models on TensorFlow Serving, and polls it for the versions that it serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._budget = RetryBudget()
        self._catalog: Catalog | None = None
        self._poll_error: AffectError = ModelNotReady("TensorFlow Serving has not been asked yet", retry_after_s=1.0)
        self._failed_polls = 0

    async def start(self) -> None:
        """Open the channel and poll once; if the server does not answer yet, start all the same, and go on polling.

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
        await self._poll()
        self._watch = asyncio.create_task(self._poll_forever(), name="status poller of TensorFlow Serving")

    async def close(self) -> None:
        """Stop polling and close the channel."""
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        await self._channel.close()

    async def catalog(self) -> Catalog:
        """Return what the server served at the last successful poll, about a second ago.

        Raises:
            AffectError: the server cannot be polled.
        """
        if self._catalog is not None and self._failed_polls < _FAILED_POLLS:
            return self._catalog
        # Raise a new exception each time: one that is raised again would accumulate tracebacks.
        raise type(self._poll_error)(self._poll_error.detail, retry_after_s=self._poll_error.retry_after_s)

    def problem(self) -> str:
        """Return no problem: only the server knows its configuration, and it reports none over gRPC."""
        return ""

    async def run(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], *, timeout_s: float
    ) -> ModelAnswer:
        """Send the pictures in batches that the server takes; see `Backend.run`."""
        deadline = Deadline(timeout_s)
        selector = await self._sent_selector(model, selector)
        answers: list[ModelAnswer] = []
        for start in range(0, len(images), MAX_BATCH_SIZE):
            answer = await self._predict_batch(model, selector, images[start : start + MAX_BATCH_SIZE], deadline)
            answers.append(answer)
            # A label may move between two batches of one request: pin the rest to the version of the first batch.
            selector = Selector(version=answer.version)
        return _joined(answers)

    async def _sent_selector(self, model: ServedModel, selector: Selector) -> Selector:
        """Return the selector to send, which leaves labels to the server: it is the first to know where they are."""
        if selector.version is not None:
            return selector
        version = select((await self.catalog()).get(model, ()), selector)
        if version is None:
            raise UnknownModel(f"{model.name} has no such version: see GET /models")
        label = selector.label or STABLE
        return Selector(label=label) if label in version.labels else Selector()

    async def _predict_batch(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], deadline: Deadline
    ) -> ModelAnswer:
        request = wire.predict_request(model, selector, images)
        try:
            response = await self._call(request, deadline)
        except grpc.aio.AioRpcError as exc:
            _log.debug("%s: %s: %s", model.name, exc.code().name, exc.details())
            raise translated(exc) from exc
        self._failed_polls = 0  # a server that answers is available, even if it is too busy to be polled
        answer = wire.model_answer(response, model, len(images))
        if selector.version is not None and answer.version != selector.version:
            raise BackendError(
                f"TensorFlow Serving answered with version {answer.version} of {model.name} where {selector.version} "
                "was asked for: ask again"
            )
        return answer

    async def _call(self, request: pb.PredictRequest, deadline: Deadline) -> pb.PredictResponse:
        """Send the request; if it found no connection, send it once more, within the retry budget."""
        self._budget.earn()
        context = current_request.get()
        metadata = context.metadata() if context else None
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

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(_POLL_UNAVAILABLE_EVERY_S if self._failed_polls else _POLL_EVERY_S)
            await self._poll()

    async def _poll(self) -> None:
        try:
            catalog = await self._status_poller.poll()
        except grpc.aio.AioRpcError as exc:
            self._note_failure(exc)
            return
        except Exception:
            # An unforeseen error may pass. Polling must go on, or the gateway would never notice that it has.
            _log.exception("cannot read TensorFlow Serving's answers about its models")
            self._poll_error = BackendError("TensorFlow Serving's answers about its models cannot be read: see the log")
            self._failed_polls = _FAILED_POLLS
            return
        if self._failed_polls or self._catalog is None:
            _log.info("TensorFlow Serving at %s answers", self._settings.tfserving)
        self._catalog, self._failed_polls = catalog, 0

    def _note_failure(self, error: grpc.aio.AioRpcError) -> None:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and self._catalog is not None:
            return  # it is busy with requests, and therefore available
        reason = unavailable_reason(error)
        if not self._failed_polls or self._poll_error.detail != reason.detail:
            _log.error(
                "TensorFlow Serving at %s cannot be asked (%s: %s): %s",
                self._settings.tfserving, error.code().name, error.details(), reason.detail,
            )  # fmt: skip
        self._poll_error = reason
        self._failed_polls += 1
        self._status_poller.forget()


def _joined(answers: list[ModelAnswer]) -> ModelAnswer:
    if len(answers) == 1:
        return answers[0]
    names = answers[0].outputs
    return ModelAnswer(
        {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in names}, answers[0].version
    )
