"""The embedded backend: it loads the SavedModels that `models.config` names, and follows changes to that file."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affect_contract.backbones import BackboneName
from affect_contract.errors import ModelNotReady, UnknownModel
from affect_contract.models import MODELS, ServedModel
from affect_registry import store
from affect_serving.backends.embedded import catalog
from affect_serving.backends.embedded.catalog import Key
from affect_serving.backends.embedded.openvino_model import LoadError, OpenVinoModel, runtime
from affect_serving.core.backend import Catalog, ModelAnswer, Selector, ServingError
from affect_serving.core.routing import select, served_backbones
from affect_serving.settings import EmbeddedPrecision

POLL_EVERY_S: Final = 1.0
"""Interval between reads of `models.config`, in seconds, the one that TensorFlow Serving is configured with too."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Served:
    """The catalog and the loaded models that belong to it; replaced as one, so that no request sees half a change."""

    catalog: Catalog = field(default_factory=dict)
    loaded: Mapping[Key, OpenVinoModel] = field(default_factory=dict)


class _Failure(NamedTuple):
    """A version that does not load, and the reason."""

    problem: str
    directory: Path
    stamp: tuple[int, int] | None
    """The file's size and time when loading failed; once they change, loading is tried again."""

    @property
    def has_changed(self) -> bool:
        """Whether the file has changed since loading failed."""
        return self.stamp != _stamp(self.directory)


class EmbeddedBackend:
    """Runs the models of a directory in this process, and follows its `models.config`.

    For each backbone and version it loads the fused model or else the pair, never both. A new version is loaded beside
    those that serve, and requests go to it from one moment to the next; a version that no request can reach any more
    is freed when its last request is done. A version that cannot be loaded changes nothing.

    Args:
        root: the models directory.
        backbones: the backbones to serve; all those that have a model, if none are given.
        precision: the arithmetic of the models.
        cpus: the number of processors to use.
        poll_every_s: the interval between reads of `models.config`, in seconds.
    """

    def __init__(
        self,
        root: Path,
        *,
        backbones: Iterable[BackboneName] = (),
        precision: EmbeddedPrecision = EmbeddedPrecision.F32,
        cpus: int,
        poll_every_s: float = POLL_EVERY_S,
    ) -> None:
        self._root = root
        self._backbones = tuple(backbones)
        self._precision = precision
        self._cpus = cpus
        self._poll_every_s = poll_every_s
        self._served = _Served()
        self._entries: store.Entries = {}
        self._failures: dict[Key, _Failure] = {}
        self._problem = ""

    async def start(self) -> None:
        """Load every model that a request can reach, then follow the directory.

        Raises:
            ServingError: a backbone could not answer.
        """
        self._loader = partial(OpenVinoModel.load, runtime(self._precision), precision=self._precision, cpus=self._cpus)
        try:
            entries = store.read(self._root)
            offer = self._offer(entries)
        except store.StoreError as exc:
            raise ServingError(str(exc)) from exc
        for name in entries.keys() - MODELS.keys():
            _log.info("model not of this service, left alone: %s", name)
        await self._change(entries, offer)
        if catalog.unanswered(self._served.catalog, offer):
            raise ServingError(self._problem)
        self._watch = asyncio.create_task(self._poll_forever(), name=f"watch of {self._root}")

    async def close(self) -> None:
        """Stop the inference threads and free the models."""
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        for model in self._served.loaded.values():
            await asyncio.to_thread(model.close)
        self._served = _Served()

    async def catalog(self) -> Catalog:
        """Return the versions that are loaded, are being loaded, or have failed to load."""
        return self._served.catalog

    def problem(self) -> str:
        """Say why a part of `models.config` cannot be served; see `Backend.problem`."""
        return self._problem

    async def run(
        self,
        model: ServedModel,
        selector: Selector,
        images: NDArray[np.uint8],
        *,
        timeout_s: float,  # noqa: ARG002 - at its deadline a caller cancels the call, and the queue drops its pictures
    ) -> ModelAnswer:
        """Run one of the loaded models; see `Backend.run`."""
        served = self._served
        version = select(served.catalog.get(model, ()), selector)
        if version is None:
            raise UnknownModel(f"{model.name} has no such version: see GET /models")
        loaded = served.loaded.get((model, version.number))
        if loaded is None:
            raise ModelNotReady(f"{model.name} version {version.number} is not loaded", retry_after_s=1.0)
        return ModelAnswer(await loaded.run(images), version.number)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_every_s)
            try:
                await self._poll()
            except (store.StoreError, OSError) as exc:
                self._report(f"{exc}; the models served before are still served")
            except Exception as exc:
                # An unforeseen error may pass. Polling must go on, or the gateway would never notice that it has.
                self._report(f"{self._root} cannot be followed: see the gateway's log", exc)

    async def _poll(self) -> None:
        entries = await asyncio.to_thread(store.read, self._root)
        offer = self._offer(entries)
        if entries != self._entries or await asyncio.to_thread(self._any_failure_changed):
            await self._change(entries, offer)
        else:
            self._report(self._unanswered_problem(offer))

    def _offer(self, entries: store.Entries) -> Catalog:
        """Return the catalog that the entries would give if every version loaded.

        Raises:
            StoreError: a backbone that is to be served has no model, or there is no model at all.
        """
        offer = catalog.offered(entries, self._backbones)
        present = served_backbones(offer)
        missing = [backbone for backbone in self._backbones if backbone not in present]
        if missing or not present:
            wanted = ", ".join(missing) or "any backbone"
            raise store.StoreError(
                f"{self._root} has no model of {wanted}: train one with affect-train --models {self._root}"
            )
        return offer

    async def _change(self, entries: store.Entries, offer: Catalog) -> None:
        """Serve what ``entries`` say from now on, as far as it can be loaded."""
        before = self._served
        self._forget_failures(offer)
        loaded = dict(before.loaded)
        reachable = await self._load(entries, offer, loaded)
        after = catalog.merged(before.catalog, reachable)
        needed = {(model, one.number) for model, versions in after.items() for one in versions}
        self._served = _Served(after, {key: model for key, model in loaded.items() if key in needed})
        self._entries = entries
        self._report(self._unanswered_problem(offer))
        for key in loaded.keys() - needed:
            await asyncio.to_thread(loaded.pop(key).close)

    async def _load(self, entries: store.Entries, offer: Catalog, loaded: dict[Key, OpenVinoModel]) -> Catalog:
        """Load missing versions into ``loaded``, and return those that requests can reach, failed ones included.

        It may take several rounds: where a fused model fails to load, its pair is needed instead.
        """
        before = self._served
        while True:
            problems = {key: failure.problem for key, failure in self._failures.items()}
            marked = catalog.with_failures(offer, problems)
            needed = catalog.needed(marked)
            missing = [key for key in needed if key not in loaded and key not in problems]
            if not missing:
                return catalog.limited_to(marked, [*needed, *problems])
            self._served = _Served(catalog.with_loading(before.catalog, missing), before.loaded)
            for key in missing:
                await self._load_one(entries, key, loaded)

    async def _load_one(self, entries: store.Entries, key: Key, loaded: dict[Key, OpenVinoModel]) -> None:
        model, number = key
        directory = entries[model.name].directory(self._root) / str(number)
        name = f"{model.name} version {number}"
        stamp = await asyncio.to_thread(_stamp, directory)
        try:
            loaded[key] = await asyncio.to_thread(self._loader, directory, model)
        except LoadError as exc:
            self._failures[key] = _Failure(f"cannot load {name}: {exc}", directory, stamp)
            _log.error("cannot load %s: %s", name, exc)
        except Exception:
            self._failures[key] = _Failure(f"cannot load {name}: see the gateway's log", directory, stamp)
            _log.exception("cannot load %s", name)
        else:
            _log.info("loaded %s", name)

    def _any_failure_changed(self) -> bool:
        return any(failure.has_changed for failure in self._failures.values())

    def _forget_failures(self, offer: Catalog) -> None:
        """Forget failures whose files have changed, and those of versions that are no longer offered."""
        offered = {(model, one.number) for model, versions in offer.items() for one in versions}
        self._failures = {
            key: failure for key, failure in self._failures.items() if key in offered and not failure.has_changed
        }

    def _unanswered_problem(self, offer: Catalog) -> str:
        """Return the first failure among backbones that cannot answer; empty if there is none."""
        unanswered = catalog.unanswered(self._served.catalog, offer)
        problems = [failure.problem for (model, _), failure in self._failures.items() if model.backbone in unanswered]
        return problems[0] if problems else ""

    def _report(self, problem: str, unforeseen: Exception | None = None) -> None:
        """Keep the problem, empty if there is none, for `problem`, and log it when it is new."""
        if problem and problem != self._problem:
            _log.error("%s", problem, exc_info=unforeseen)
        self._problem = problem


def _stamp(directory: Path) -> tuple[int, int] | None:
    """Return the size and the time of a version's graph, which change when the graph does; None if it has none."""
    try:
        status = (directory / store.SAVED_MODEL_FILE).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
