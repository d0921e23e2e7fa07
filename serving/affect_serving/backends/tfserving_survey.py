"""What a TensorFlow Serving has of the contract's models: versions, states, labels, and whether they fit."""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

import grpc

from affect_contract.models import MODELS, Backbone, ServedModel
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import mismatch
from affect_contract.store import CANARY, STABLE
from affect_serving.backend import AVAILABLE, Catalog, Selector, Version
from affect_serving.backends import tfserving_wire as wire

_CALL_S: Final = 2.0
"""Time for one question, in seconds; the answers need no computing."""
_LABELS: Final = (STABLE, CANARY)
_NOT_SERVED: Final = grpc.StatusCode.NOT_FOUND
_NO_SUCH_LABEL: Final = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
)
_GONE_STATES: Final = (pb.ModelVersionStatus.UNLOADING, pb.ModelVersionStatus.END)
_LONGEST_REASON: Final = 300

_log = logging.getLogger(__name__)


class Survey:
    """Asks a server for its models, one question at a time: few servers have threads to spare.

    Args:
        channel: to the server.
        backbones: whose models to ask for; all, if none.
    """

    def __init__(self, channel: grpc.aio.Channel, backbones: Iterable[Backbone]) -> None:
        wanted = tuple(backbones) or tuple(Backbone)
        self._models = [model for model in MODELS.values() if model.backbone in wanted]
        self._status = channel.unary_unary(
            wire.GET_MODEL_STATUS,
            request_serializer=pb.GetModelStatusRequest.SerializeToString,
            response_deserializer=pb.GetModelStatusResponse.FromString,
        )
        self._metadata = channel.unary_unary(
            wire.GET_MODEL_METADATA,
            request_serializer=pb.GetModelMetadataRequest.SerializeToString,
            response_deserializer=pb.GetModelMetadataResponse.FromString,
        )
        self._problems: dict[tuple[ServedModel, int], str] = {}

    def forget(self) -> None:
        """Check all signatures anew: after an absence the server may be another."""
        self._problems.clear()

    async def take(self) -> Catalog:
        """Everything that is served now.

        Raises:
            grpc.aio.AioRpcError: the server cannot be asked.
        """
        catalog = {model: versions for model in self._models if (versions := await self._versions(model))}
        self._keep_problems_of(catalog)
        return catalog

    async def _versions(self, model: ServedModel) -> tuple[Version, ...]:
        statuses = sorted(await self._statuses(model), key=lambda status: status.version)
        labels = await self._labels(model) if any(_is_available(status) for status in statuses) else {}
        return tuple(
            [
                Version(
                    status.version,
                    pb.ModelVersionStatus.State.Name(status.state),
                    tuple(label for label, number in labels.items() if number == status.version),
                    await self._problem(model, status),
                )
                for status in statuses
            ]
        )

    async def _statuses(self, model: ServedModel) -> Sequence[pb.ModelVersionStatus]:
        request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=model.name))
        try:
            response = await self._status(request, timeout=_CALL_S)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is _NOT_SERVED:
                return []
            raise
        # A version that was unloaded stays listed; it is of interest only where it failed.
        return [
            status
            for status in response.model_version_status
            if status.state not in _GONE_STATES or status.status.error_code
        ]

    async def _labels(self, model: ServedModel) -> dict[str, int]:
        """Version by label; the status calls of the server do not tell them, and ignore them in a request."""
        labels = {}
        for label in _LABELS:
            request = wire.metadata_request(wire.model_spec(model, Selector(label=label)))
            try:
                response = await self._metadata(request, timeout=_CALL_S)
            except grpc.aio.AioRpcError as exc:
                if exc.code() not in _NO_SUCH_LABEL:
                    raise
            else:
                labels[label] = response.model_spec.version.value
        return labels

    async def _problem(self, model: ServedModel, status: pb.ModelVersionStatus) -> str:
        name = f"{model.name} version {status.version}"
        if status.status.error_code:
            return f"{name} does not load: {status.status.error_message[:_LONGEST_REASON]}"
        if not _is_available(status):
            return ""
        key = (model, status.version)
        if key not in self._problems:
            self._problems[key] = await self._difference(model, status.version, name)
        return self._problems[key]

    async def _difference(self, model: ServedModel, version: int, name: str) -> str:
        request = wire.metadata_request(wire.model_spec(model, Selector(version=version)))
        try:
            response = await self._metadata(request, timeout=_CALL_S)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is _NOT_SERVED:  # unloaded since its status was asked
                return f"{name} has just been unloaded"
            raise
        difference = mismatch(model, wire.signatures(response))
        if difference is None:
            return ""
        _log.error("%s is not asked: %s", name, difference)
        return f"{name} is not what the contract says: {difference}"

    def _keep_problems_of(self, catalog: Catalog) -> None:
        served = {
            (model, one.number) for model, versions in catalog.items() for one in versions if one.state == AVAILABLE
        }
        self._problems = {key: problem for key, problem in self._problems.items() if key in served}


def _is_available(status: pb.ModelVersionStatus) -> bool:
    return status.state == pb.ModelVersionStatus.AVAILABLE
