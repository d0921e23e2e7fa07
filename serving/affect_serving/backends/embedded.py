"""The models directory run in this process by OpenVINO, which reads SavedModels as they are."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affect_contract import store
from affect_contract.errors import ModelNotReady, UnknownModel
from affect_contract.models import MODELS, Backbone, ServedModel
from affect_serving.backend import AVAILABLE, Catalog, ModelAnswer, Selector, ServingError, Version
from affect_serving.backends.openvino_model import LoadError, OpenVinoModel, runtime
from affect_serving.routing import route, select, served_backbones
from affect_serving.settings import Precision

_FAILED = "END"
"""TensorFlow Serving's state of a version that is not, or no longer, loaded."""

_log = logging.getLogger(__name__)


class EmbeddedBackend:
    """Serves what `models.config` names: per backbone and version the fused model or else the pair, never both."""

    def __init__(
        self, root: Path, *, backbones: Iterable[Backbone] = (), precision: Precision = Precision.F32, cpus: int
    ) -> None:
        self._root = root
        self._backbones = tuple(backbones)
        self._precision = precision
        self._cpus = cpus
        self._loaded: dict[tuple[ServedModel, int], OpenVinoModel] = {}
        self._catalog: Catalog = {}

    async def start(self) -> None:
        """Load every model that can be asked for.

        Raises:
            ServingError: a backbone could not answer.
        """
        try:
            entries = store.read(self._root)
        except store.StoreError as exc:
            raise ServingError(str(exc)) from exc
        configured = self._configured(entries)
        await asyncio.to_thread(self._load, entries, configured)

    async def close(self) -> None:
        """Stop the inference threads and free the models."""
        for model in self._loaded.values():
            await asyncio.to_thread(model.close)
        self._loaded.clear()

    async def catalog(self) -> Catalog:
        """What was loaded, or failed to."""
        return self._catalog

    async def run(
        self,
        model: ServedModel,
        selector: Selector,
        images: NDArray[np.uint8],
        *,
        timeout_s: float,  # noqa: ARG002 - a caller whose time is up cancels the call, and the queue drops its pictures
    ) -> ModelAnswer:
        """Run one of the loaded models; see `Backend`."""
        version = select(self._catalog.get(model, ()), selector)
        if version is None:
            raise UnknownModel(f"{model.name} has no such version: see GET /models")
        loaded = self._loaded.get((model, version.number))
        if loaded is None:
            raise ModelNotReady(f"{model.name} version {version.number} is not loaded", retry_after_s=1.0)
        return ModelAnswer(await loaded.run(images), version.number)

    def _configured(self, entries: store.Entries) -> Catalog:
        """All that the models directory offers of the backbones wanted, as if it were loaded."""
        catalog: dict[ServedModel, tuple[Version, ...]] = {}
        for name, entry in entries.items():
            if name not in MODELS:
                _log.info("model not of this service, left alone: %s", name)
            elif not self._backbones or MODELS[name].backbone in self._backbones:
                catalog[MODELS[name]] = tuple(_version(entry, number, AVAILABLE) for number in entry.versions)
        self._require(served_backbones(catalog))
        return catalog

    def _require(self, offered: list[Backbone]) -> None:
        missing = [backbone for backbone in self._backbones if backbone not in offered]
        if missing or not offered:
            wanted = ", ".join(missing) or "any backbone"
            raise ServingError(
                f"{self._root} has no model of {wanted}: train one with affect-train --models {self._root}"
            )

    def _load(self, entries: store.Entries, configured: Catalog) -> None:
        core = runtime(self._precision)
        needed = _needed(configured)
        failures: dict[tuple[ServedModel, int], LoadError] = {}
        for model, number in needed:
            directory = entries[model.name].directory(self._root) / str(number)
            try:
                self._loaded[model, number] = OpenVinoModel.load(
                    core, directory, model, precision=self._precision, cpus=self._cpus
                )
            except LoadError as exc:
                _log.error("cannot load %s version %d: %s", model.name, number, exc)
                failures[model, number] = exc
        self._catalog = _reachable(configured, {key: _FAILED if key in failures else AVAILABLE for key in needed})
        for (model, number), failure in failures.items():
            if not _answers(self._catalog, model.backbone):
                raise ServingError(f"cannot load {model.name} version {number}: {failure}") from failure


def _version(entry: store.Entry, number: int, state: str) -> Version:
    return Version(number, state, tuple(sorted(label for label, one in entry.labels.items() if one == number)))


def _reachable(configured: Catalog, states: Mapping[tuple[ServedModel, int], str]) -> Catalog:
    """The versions that have a state, in it."""
    catalog = {
        model: tuple(one._replace(state=states[model, one.number]) for one in versions if (model, one.number) in states)
        for model, versions in configured.items()
    }
    return {model: versions for model, versions in catalog.items() if versions}


def _answers(catalog: Catalog, backbone: Backbone) -> bool:
    """Whether a request that asks for nothing in particular gets an answer."""
    try:
        return bool(route(catalog, backbone, Selector()))
    except (UnknownModel, ModelNotReady):
        return False


def _needed(catalog: Catalog) -> list[tuple[ServedModel, int]]:
    """The versions that some request can be routed to."""
    needed: dict[tuple[ServedModel, int], None] = {}
    for backbone in served_backbones(catalog):
        for selector in _selectors(catalog, backbone):
            try:
                models = route(catalog, backbone, selector)
            except UnknownModel:
                continue
            for model in models:
                version = select(catalog[model], selector)
                if version is not None:
                    needed[model, version.number] = None
    return list(needed)


def _selectors(catalog: Catalog, backbone: Backbone) -> list[Selector]:
    versions = [one for model, several in catalog.items() if model.backbone is backbone for one in several]
    labels = {label for one in versions for label in one.labels}
    return [
        Selector(),
        *(Selector(label=label) for label in sorted(labels)),
        *(Selector(version=number) for number in sorted({one.number for one in versions})),
    ]
