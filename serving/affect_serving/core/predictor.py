"""From encoded pictures to answers: decode in threads, route, run, put together."""

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
from affect_serving.core.cpus import give_way
from affect_serving.core.deadline import Deadline
from affect_serving.core.routing import route, select, served_backbones
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics
from affect_serving.telemetry.tracing import span

_MAX_VERSION: Final = 2**63 - 1
"""What a message of TensorFlow Serving, or of the gRPC API, can hold."""
_STABLE: Final = Selector()
_ANY: Final = "any backbone"
"""What is waited for while nothing is known to be served."""

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Asked:
    """What a caller wants of a picture."""

    request_id: str
    deadline: Deadline
    backbone: str | None = None
    selector: Selector = _STABLE


def select_version(version: int | None, label: str | None) -> Selector:
    """The selector of what a caller names, on every surface alike.

    Raises:
        InvalidRequest: both are given, or the version is no version.
    """
    if version is not None and label is not None:
        raise InvalidRequest("give a version or a label, not both")
    if version is not None and not 1 <= version <= _MAX_VERSION:
        raise InvalidRequest(f"version {version} cannot be: versions are whole numbers from 1 to {_MAX_VERSION}")
    return Selector(version, label)


class Predictor:
    """Answers for pictures; every surface of the gateway stands on it."""

    def __init__(self, settings: Settings, backend: Backend, metrics: Metrics, *, decoders: int) -> None:
        self._settings = settings
        self._configured = tuple(dict.fromkeys((*settings.backbones, *filter(None, [settings.default_backbone]))))
        self._backend = backend
        self._metrics = metrics
        self._canary = CanaryShare(settings.canary_percent)
        self._pool = ThreadPoolExecutor(decoders, thread_name_prefix="decode", initializer=give_way)

    def close(self) -> None:
        """End the decoding threads."""
        self._pool.shutdown()

    async def predict(self, picture: bytes, asked: Asked) -> Prediction:
        """The answer for one encoded picture.

        Raises:
            AffectError: why there is none.
        """
        async with asked.deadline.enforced():
            image = await self._decode(picture)
            (answer,) = await self._run(image[np.newaxis], asked)
            return answer

    async def predict_batch(self, pictures: Sequence[bytes], asked: Asked) -> list[Prediction | FailedPicture]:
        """One result a picture, in order; a picture that cannot be decoded fails alone.

        Raises:
            AffectError: why there is no result at all.
        """
        async with asked.deadline.enforced():
            decoded = await asyncio.gather(*(self._decode_or_fail(picture) for picture in pictures))
            images = [image for image in decoded if not isinstance(image, FailedPicture)]
            answers = iter(await self._run(np.stack(images), asked) if images else [])
            return [image if isinstance(image, FailedPicture) else next(answers) for image in decoded]

    async def models(self) -> ModelList:
        """Everything that is served, and the state it is in."""
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
            problem=self._backend.trouble() or None,
        )

    async def readiness(self) -> Readiness:
        """The backbones that cannot answer with their stable version, and why."""
        try:
            catalog = await self._catalog()
        except AffectError as exc:
            reasons = {str(backbone): exc.detail for backbone in self._configured or (_ANY,)}
        else:
            reasons = self._obstacles(catalog)
        return Readiness(waiting_for=list(reasons), reasons=reasons)

    async def _catalog(self) -> Catalog:
        """What is served. Readiness is asked for every second, so that the metrics tell of changes as soon."""
        catalog = await self._backend.catalog()
        self._metrics.versions.note(catalog, self._backend.trouble())
        return catalog

    def _obstacles(self, catalog: Catalog) -> dict[str, str]:
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
        """See `route`; a backbone that is configured is waited for where it is not served."""
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

    async def _run(self, images: NDArray[np.uint8], asked: Asked) -> list[Prediction]:
        catalog = await self._backend.catalog()
        backbone = asked.backbone or self._default_backbone(served_backbones(catalog))
        selector = self._canary.selector(catalog, backbone, asked.selector, asked.request_id)
        try:
            return await self._answers(catalog, backbone, selector, images, asked)
        except (UnknownModel, ModelNotReady, BackendError):
            # A label may have moved since, and a canary may fail: neither is the fault of who asked for nothing new.
            now = await self._backend.catalog()
            if selector == asked.selector and now == catalog:
                raise
            return await self._answers(now, backbone, asked.selector, images, asked)

    async def _answers(
        self, catalog: Catalog, backbone: str, selector: Selector, images: NDArray[np.uint8], asked: Asked
    ) -> list[Prediction]:
        models = self._route(catalog, backbone, selector)
        with (
            self._metrics.asking(backbone) as versions_asked,
            self._metrics.versions.answering(backbone, selector),
            span("models", backbone=backbone),
        ):
            answers = await self._ask(models, selector, images, asked.deadline)
            if _is_torn(catalog, models, selector, answers):
                answers = await self._ask(models, selector, images, asked.deadline)
            versions_asked.extend(answer.version for answer in answers)
            outputs = {name: values for answer in answers for name, values in answer.outputs.items()}
            _check_finite(outputs, backbone)
        versions = {model.name: answer.version for model, answer in zip(models, answers, strict=True)}
        model = AnsweringModel(backbone=backbone, versions=versions)
        predictions = [_prediction(outputs, row, model, asked.request_id) for row in range(len(images))]
        self._metrics.predicted(predictions)
        return predictions

    async def _ask(
        self, models: Sequence[ServedModel], selector: Selector, images: NDArray[np.uint8], deadline: Deadline
    ) -> list[ModelAnswer]:
        """The answers of all models, asked at once; when one fails, the others are stopped."""
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


def _is_torn(
    catalog: Catalog, models: Sequence[ServedModel], selector: Selector, answers: Sequence[ModelAnswer]
) -> bool:
    """Whether a label moved between the calls of a pair, so that they answered with the old and the new version."""
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
        # Of eight numbers: NumPy would give Python's lock away meanwhile, to threads that decode.
        winner = max(range(len(LABELS)), key=probabilities.__getitem__)
        fields["expression"] = LABELS[winner]
        fields["expression_id"] = winner
        fields["confidence"] = probabilities[winner]
        fields["probabilities"] = dict(zip(LABELS, probabilities, strict=True))
    for scalar in SCALARS:
        if scalar.name in outputs:
            fields[scalar.name] = float(outputs[scalar.name][row])
    return Prediction(**fields | {"model": model, "request_id": request_id})
