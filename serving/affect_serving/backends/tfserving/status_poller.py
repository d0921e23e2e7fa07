"""What a TensorFlow Serving has of the contract's models: versions, states, labels, and whether they fit."""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

import grpc

from affect_contract import tfserving
from affect_contract.backbones import BACKBONES, BackboneName
from affect_contract.models import MODELS, ServedModel
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.signatures import mismatch
from affect_registry.store import CANARY, PREVIOUS, STABLE
from affect_serving.core.backend import AVAILABLE, Catalog, Version

_CALL_S: Final = 2.0
"""Time for one question, in seconds; the answers need no computing."""
_LABELS: Final = (STABLE, CANARY, PREVIOUS)
_log = logging.getLogger(__name__)


class Survey:
    """Asks a server for its models, one question at a time: few servers have threads to spare.

    Args:
        channel: to the server.
        backbones: whose models to ask for; all, if none.
    """

    def __init__(self, channel: grpc.aio.Channel, backbones: Iterable[BackboneName]) -> None:
        wanted = tuple(backbones) or tuple(BACKBONES)
        self._models = [model for model in MODELS.values() if model.backbone in wanted]
        self._status = channel.unary_unary(
            tfserving.GET_MODEL_STATUS,
            request_serializer=pb.GetModelStatusRequest.SerializeToString,
            response_deserializer=pb.GetModelStatusResponse.FromString,
        )
        self._metadata = channel.unary_unary(
            tfserving.GET_MODEL_METADATA,
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
        statuses = await self._statuses(model)
        labels = await self._labels(model) if any(_is_available(status) for status in statuses) else {}
        return tuple(
            [
                Version(
                    status.version,
                    tfserving.state_name(status),
                    tuple(label for label, number in labels.items() if number == status.version),
                    await self._problem(model, status),
                )
                for status in statuses
            ]
        )

    async def _statuses(self, model: ServedModel) -> Sequence[pb.ModelVersionStatus]:
        try:
            return tfserving.present(await self._status(tfserving.status_request(model.name), timeout=_CALL_S))
        except grpc.aio.AioRpcError as exc:
            if exc.code().name == tfserving.NOT_SERVED:
                return []
            raise

    async def _labels(self, model: ServedModel) -> dict[str, int]:
        """Version by label; the status calls of the server do not tell them, and ignore them in a request."""
        labels = {}
        for label in _LABELS:
            request = tfserving.metadata_request(tfserving.model_spec(model.name, label=label))
            try:
                response = await self._metadata(request, timeout=_CALL_S)
            except grpc.aio.AioRpcError as exc:
                if exc.code().name not in tfserving.NO_SUCH_LABEL:
                    raise
            else:
                labels[label] = response.model_spec.version.value
        return labels

    async def _problem(self, model: ServedModel, status: pb.ModelVersionStatus) -> str:
        problem = tfserving.load_problem(model.name, status)
        if problem or not _is_available(status):
            return problem
        key = (model, status.version)
        if key not in self._problems:
            self._problems[key] = await self._difference(model, status.version)
        return self._problems[key]

    async def _difference(self, model: ServedModel, version: int) -> str:
        name = f"{model.name} version {version}"
        request = tfserving.metadata_request(tfserving.model_spec(model.name, version=version))
        try:
            response = await self._metadata(request, timeout=_CALL_S)
        except grpc.aio.AioRpcError as exc:
            if exc.code().name == tfserving.NOT_SERVED:  # unloaded since its status was asked
                return f"{name} has just been unloaded"
            raise
        difference = mismatch(model, tfserving.signatures(response))
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
