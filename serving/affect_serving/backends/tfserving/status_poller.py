"""The status poller: it asks TensorFlow Serving for the contract's models, with their versions, states and labels."""

import logging
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import grpc

from affect_contract import tfserving
from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.models import MODELS, ServedModel
from affect_contract.signatures import mismatch
from affect_contract.versions import AVAILABLE, ModelState, VersionState
from affect_serving.core.backend import Catalog, Version

Result = TypeVar("Result")

_CALL_S: Final = 2.0
"""Time limit of one call, in seconds; the server answers from memory."""
_log = logging.getLogger(__name__)


class StatusPoller:
    """Polls a server for its models, one call at a time, since calls compete with predictions for its threads.

    Args:
        channel: the channel to the server.
        backbones: the backbones whose models are polled; all backbones, if none are given.
    """

    def __init__(self, channel: grpc.aio.Channel, backbones: Iterable[BackboneName]) -> None:
        wanted = tuple(backbones) or tuple(BACKBONES)
        self._models = [model for model in MODELS.values() if model.backbone in wanted]
        self._calls: dict[tfserving.Method, Any] = {
            method: channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in (tfserving.GET_MODEL_STATUS, tfserving.GET_MODEL_METADATA)
        }
        self._problems: dict[tuple[ServedModel, int], str] = {}

    def forget(self) -> None:
        """Check all signatures again at the next poll: after an outage the server may serve other models."""
        self._problems.clear()

    async def poll(self) -> Catalog:
        """Return everything that is served now.

        Raises:
            grpc.aio.AioRpcError: a call failed.
        """
        catalog: dict[ServedModel, tuple[Version, ...]] = {}
        for model in self._models:
            state = await self._answer(tfserving.model_state(model.name))
            if state and state.versions:
                catalog[model] = await self._versions(model, state)
        self._keep_problems_of(catalog)
        return catalog

    async def _versions(self, model: ServedModel, found: ModelState) -> tuple[Version, ...]:
        versions = []
        for number, one in found.versions.items():
            labels = tuple(label for label, labelled in found.labels.items() if labelled == number)
            versions.append(Version(number, one.state, labels, await self._problem(model, number, one)))
        return tuple(versions)

    async def _problem(self, model: ServedModel, number: int, one: VersionState) -> str:
        if one.problem or one.state != AVAILABLE:
            return one.problem
        key = (model, number)
        if key not in self._problems:
            self._problems[key] = await self._difference(model, number)
        return self._problems[key]

    async def _difference(self, model: ServedModel, number: int) -> str:
        """Say how a version's signature differs from the contract's, in one sentence; empty if it does not."""
        name = f"{model.name} version {number}"
        signatures = await self._answer(tfserving.version_signatures(model.name, number))
        if signatures is None:
            return f"{name} has just been unloaded"
        difference = mismatch(model, signatures)
        if difference is None:
            return ""
        _log.error("no requests are sent to %s: %s", name, difference)
        return f"{name} is not what the contract says: {difference}"

    def _keep_problems_of(self, catalog: Catalog) -> None:
        served = {
            (model, one.number) for model, versions in catalog.items() for one in versions if one.state == AVAILABLE
        }
        self._problems = {key: problem for key, problem in self._problems.items() if key in served}

    async def _answer(self, questions: tfserving.Questions[Result]) -> Result:
        """Make the calls that the questions need, one after another, and return their result."""
        response = None
        try:
            while True:
                response = await self._call(questions.send(response))
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _call(self, question: tfserving.Question) -> Any:
        """Return the response to a question, None if the server says that it has no such thing."""
        try:
            return await self._calls[question.method](question.request, timeout=_CALL_S)
        except grpc.aio.AioRpcError as exc:
            if exc.code().name in question.absent_statuses:
                return None
            raise
