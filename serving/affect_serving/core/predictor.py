"""The path of a picture through the gateway: decode it in a thread, route it to models, run them, join the answers."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.backbones import BackboneName
from affect_contract.errors import AffectError, BackendError, InvalidRequest, ModelNotReady, UnknownModel
from affect_contract.labels import LABELS
from affect_contract.models import ServedModel
from affect_contract.outputs import PROBABILITIES, SCALARS
from affect_contract.preprocess import preprocess
from affect_contract.schemas import (
    AnsweringModel,
    FailedPicture,
    Failure,
    ModelList,
    ModelStatus,
    Prediction,
    Readiness,
    VersionStatus,
)
from affect_serving.core.backend import Backend, Catalog, ModelAnswer, Selector
from affect_serving.core.canary import CanaryShare
from affect_serving.core.cpus import lower_thread_priority
from affect_serving.core.deadline import Deadline
from affect_serving.core.routing import route, select, served_backbones
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.tracing import span

_MAX_VERSION: Final = 2**63 - 1
"""The largest version that messages of TensorFlow Serving and of the gRPC API can hold, an int64."""
_STABLE: Final = Selector()
_ANY: Final = "any backbone"
"""The entry of ``waiting_for`` while no model at all is known to be served."""

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class PredictionQuery:
    """The options of a prediction request: who asks, until when, and for which models."""

    request_id: str
    deadline: Deadline
    backbone: str | None = None
    selector: Selector = _STABLE


def select_version(version: int | None, label: str | None) -> Selector:
    """Return the selector for the version or the label that a caller names.

    Raises:
        InvalidRequest: both are given, or the version is out of range.
    """
    if version is not None and label is not None:
        raise InvalidRequest("give a version or a label, not both")
    if version is not None and not 1 <= version <= _MAX_VERSION:
        raise InvalidRequest(f"version {version} cannot be: versions are whole numbers from 1 to {_MAX_VERSION}")
    return Selector(version, label)


class Predictor:
    """Answers prediction requests and reports the models' state, for the HTTP and the gRPC API alike."""

    def __init__(self, settings: Settings, backend: Backend, metrics: Metrics, *, decoders: int) -> None:
        self._settings = settings
        self._configured = tuple(dict.fromkeys((*settings.backbones, *filter(None, [settings.default_backbone]))))
        self._backend = backend
        self._metrics = metrics
        self._canary = CanaryShare(settings.canary_percent)
        self._pool = ThreadPoolExecutor(decoders, thread_name_prefix="decode", initializer=lower_thread_priority)

    def close(self) -> None:
        """Stop the threads that decode pictures."""
        self._pool.shutdown()

    async def predict(self, picture: bytes, query: PredictionQuery) -> Prediction:
        """Return the prediction for one encoded picture.

        Raises:
            AffectError: the picture cannot be decoded, or no model can answer.
        """
        async with query.deadline.enforced():
            image = await self._decode(picture)
            (answer,) = await self._run(image[np.newaxis], query)
            return answer

    async def predict_batch(
        self, pictures: Sequence[bytes], query: PredictionQuery
    ) -> list[Prediction | FailedPicture]:
        """Return one result per encoded picture, in order; a picture that cannot be decoded fails alone.

        Raises:
            AffectError: no model can answer.
        """
        async with query.deadline.enforced():
            decoded = await asyncio.gather(*(self._decode_or_fail(picture) for picture in pictures))
            images = [image for image in decoded if not isinstance(image, FailedPicture)]
            answers = iter(await self._run(np.stack(images), query) if images else [])
            return [image if isinstance(image, FailedPicture) else next(answers) for image in decoded]

    async def models(self) -> ModelList:
        """Return the models that are served, with the state of their versions."""
        catalog = await self._catalog()
        return ModelList(
            default_backbone=self._default_backbone(served_backbones(catalog)),
            models=[
                ModelStatus(
                    name=model.name,
                    backbone=model.backbone,
                    tasks=list(model.tasks),
                    versions=[
                        VersionStatus(
                            version=one.number, state=one.state, labels=list(one.labels), problem=one.problem or None
                        )
                        for one in versions
                    ],
                )
                for model, versions in catalog.items()
            ],
            problem=self._backend.problem() or None,
        )

    async def readiness(self) -> Readiness:
        """Return the backbones that cannot answer with their stable version, each with the reason."""
        try:
            catalog = await self._catalog()
        except AffectError as exc:
            reasons = {str(backbone): exc.detail for backbone in self._configured or (_ANY,)}
        else:
            reasons = self._reasons_not_ready(catalog)
        return Readiness(waiting_for=list(reasons), reasons=reasons)

    async def _catalog(self) -> Catalog:
        """Return the backend's catalog, and show it in the metrics: probes ask for readiness every second or so."""
        catalog = await self._backend.catalog()
        self._metrics.versions.update(catalog, self._backend.problem())
        return catalog

    def _reasons_not_ready(self, catalog: Catalog) -> dict[str, str]:
        """Return why backbones cannot answer with their stable version, by backbone; empty if all can."""
        served = () if self._settings.backbones else served_backbones(catalog)
        backbones = dict.fromkeys((*self._configured, *served))
        if not backbones:
            return {_ANY: "no model of this service is served: publish one with affect-train"}
        reasons = {}
        for backbone in backbones:
            try:
                self._route(catalog, backbone, _STABLE)
            except AffectError as exc:
                reasons[str(backbone)] = exc.detail
        return reasons

    def _route(self, catalog: Catalog, backbone: str, selector: Selector) -> list[ServedModel]:
        """Call `route`, but treat a backbone that is configured and not served as not ready instead of unknown."""
        if backbone in self._configured and backbone not in served_backbones(catalog):
            raise ModelNotReady(
                f"{backbone} is configured and not served: publish it, or name another in AFFECT_BACKBONES and "
                "AFFECT_DEFAULT_BACKBONE",
                retry_after_s=1.0,
            )
        return route(catalog, backbone, selector)

    def _default_backbone(self, served: Sequence[BackboneName]) -> BackboneName:
        if self._settings.default_backbone:
            return self._settings.default_backbone
        if not served:
            raise ModelNotReady("no model can answer yet: try again in a moment", retry_after_s=1.0)
        return served[0]

    async def _decode(self, picture: bytes) -> NDArray[np.uint8]:
        loop = asyncio.get_running_loop()
        with self._metrics.decode_seconds.time(), span("decode"):
            return await loop.run_in_executor(self._pool, self._preprocess, picture)

    def _preprocess(self, picture: bytes) -> NDArray[np.uint8]:
        limits = self._settings
        return preprocess(picture, max_bytes=limits.max_image_bytes, max_pixels=limits.max_pixels)

    async def _decode_or_fail(self, picture: bytes) -> NDArray[np.uint8] | FailedPicture:
        try:
            return await self._decode(picture)
        except AffectError as exc:
            return FailedPicture(error=Failure(code=exc.code, detail=exc.detail))

    async def _run(self, images: NDArray[np.uint8], query: PredictionQuery) -> list[Prediction]:
        """Return the predictions for uint8 ``images`` [n, 224, 224, 3]."""
        catalog = await self._backend.catalog()
        backbone = query.backbone or self._default_backbone(served_backbones(catalog))
        selector = self._canary.selector(catalog, backbone, query.selector, query.request_id)
        try:
            return await self._answers(catalog, backbone, selector, images, query)
        except (UnknownModel, ModelNotReady, BackendError):
            # Try once more if a label has moved meanwhile, or if the canary failed a caller who did not ask for it.
            now = await self._backend.catalog()
            if selector == query.selector and now == catalog:
                raise
            return await self._answers(now, backbone, query.selector, images, query)

    async def _answers(
        self, catalog: Catalog, backbone: str, selector: Selector, images: NDArray[np.uint8], query: PredictionQuery
    ) -> list[Prediction]:
        models = self._route(catalog, backbone, selector)
        with (
            self._metrics.time_models(backbone) as versions_run,
            self._metrics.versions.observe_call(backbone, selector),
            span("models", backbone=backbone),
        ):
            answers = await self._run_models(models, selector, images, query.deadline)
            if _versions_differ(catalog, models, selector, answers):
                answers = await self._run_models(models, selector, images, query.deadline)
            versions_run.extend(answer.version for answer in answers)
            outputs = {name: values for answer in answers for name, values in answer.outputs.items()}
            _check_finite(outputs, backbone)
        versions = {model.name: answer.version for model, answer in zip(models, answers, strict=True)}
        model = AnsweringModel(backbone=backbone, versions=versions)
        predictions = [_prediction(outputs, row, model, query.request_id) for row in range(len(images))]
        self._metrics.predicted(predictions)
        return predictions

    async def _run_models(
        self, models: Sequence[ServedModel], selector: Selector, images: NDArray[np.uint8], deadline: Deadline
    ) -> list[ModelAnswer]:
        """Run all models side by side, and return their answers; when one fails, cancel the others."""
        if len(models) == 1:
            return [await self._backend.run(models[0], selector, images, timeout_s=deadline.left_s())]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._backend.run(model, selector, images, timeout_s=deadline.left_s()))
                    for model in models
                ]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


def _versions_differ(
    catalog: Catalog, models: Sequence[ServedModel], selector: Selector, answers: Sequence[ModelAnswer]
) -> bool:
    """Return whether one model of a pair answered with the old and the other with the new version of a moving label."""
    known = {version.number for model in models if (version := select(catalog[model], selector))}
    return len({answer.version for answer in answers}) > len(known)


def _check_finite(outputs: Outputs, backbone: str) -> None:
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise BackendError(f"the model of {backbone} answered {name} that are no numbers: publish another version")


def _prediction(outputs: Outputs, row: int, model: AnsweringModel, request_id: str) -> Prediction:
    fields: dict[str, Any] = dict.fromkeys(Prediction.model_fields)
    if PROBABILITIES in outputs:
        probabilities = outputs[PROBABILITIES][row].tolist()
        # Not NumPy's argmax: it would release Python's lock to decoding threads, for the sake of eight numbers.
        winner = max(range(len(LABELS)), key=probabilities.__getitem__)
        fields["expression"] = LABELS[winner]
        fields["expression_id"] = winner
        fields["confidence"] = probabilities[winner]
        fields["probabilities"] = dict(zip(LABELS, probabilities, strict=True))
    for scalar in SCALARS:
        if scalar.name in outputs:
            fields[scalar.name] = float(outputs[scalar.name][row])
    return Prediction(**fields | {"model": model, "request_id": request_id})
