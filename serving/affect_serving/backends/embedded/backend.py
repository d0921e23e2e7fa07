"""The models directory run in this process by OpenVINO, which reads SavedModels as they are."""

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

LOOK_EVERY_S: Final = 1.0
"""As often as TensorFlow Serving is told to read the same file."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Served:
    """What requests meet; replaced whole, so that no request sees half of a change."""

    catalog: Catalog = field(default_factory=dict)
    loaded: Mapping[Key, OpenVinoModel] = field(default_factory=dict)


class _Failure(NamedTuple):
    """Why a version does not load."""

    problem: str
    directory: Path
    stamp: tuple[int, int] | None
    """Of the file as it was then; another one is tried again."""

    @property
    def is_mended(self) -> bool:
        """Whether there are other bytes now."""
        return self.stamp != _stamp(self.directory)


class EmbeddedBackend:
    """Follows `models.config`: per backbone and version the fused model or else the pair, never both.

    A new version is loaded beside those that serve, requests go over to it between one and the next, and what is no
    longer asked for is freed when its last request is done. What cannot be loaded changes nothing.
    """

    def __init__(
        self,
        root: Path,
        *,
        backbones: Iterable[BackboneName] = (),
        precision: EmbeddedPrecision = EmbeddedPrecision.F32,
        cpus: int,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._root = root
        self._backbones = tuple(backbones)
        self._precision = precision
        self._cpus = cpus
        self._look_every_s = look_every_s
        self._served = _Served()
        self._entries: store.Entries = {}
        self._failures: dict[Key, _Failure] = {}
        self._trouble = ""

    async def start(self) -> None:
        """Load every model that can be asked for, then follow the directory.

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
            raise ServingError(self._trouble)
        self._watch = asyncio.create_task(self._keep_looking(), name=f"watch of {self._root}")

    async def close(self) -> None:
        """Stop the inference threads and free the models."""
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        for model in self._served.loaded.values():
            await asyncio.to_thread(model.close)
        self._served = _Served()

    async def catalog(self) -> Catalog:
        """What is loaded, is being loaded, or failed to."""
        return self._served.catalog

    def trouble(self) -> str:
        """See `Backend`."""
        return self._trouble

    async def run(
        self,
        model: ServedModel,
        selector: Selector,
        images: NDArray[np.uint8],
        *,
        timeout_s: float,  # noqa: ARG002 - a caller whose time is up cancels the call, and the queue drops its pictures
    ) -> ModelAnswer:
        """Run one of the loaded models; see `Backend`."""
        served = self._served
        version = select(served.catalog.get(model, ()), selector)
        if version is None:
            raise UnknownModel(f"{model.name} has no such version: see GET /models")
        loaded = served.loaded.get((model, version.number))
        if loaded is None:
            raise ModelNotReady(f"{model.name} version {version.number} is not loaded", retry_after_s=1.0)
        return ModelAnswer(await loaded.run(images), version.number)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            try:
                await self._look()
            except (store.StoreError, OSError) as exc:
                self._tell(f"{exc}; what was served before is served on")
            except Exception as exc:
                # What cannot be foreseen must not end the watch, which is what would notice that it has passed.
                self._tell(f"{self._root} cannot be followed: see the gateway's log", exc)

    async def _look(self) -> None:
        entries = await asyncio.to_thread(store.read, self._root)
        offer = self._offer(entries)
        if entries != self._entries or await asyncio.to_thread(self._something_is_mended):
            await self._change(entries, offer)
        else:
            self._tell(self._left_out(offer))

    def _offer(self, entries: store.Entries) -> Catalog:
        """What the entries have of the backbones wanted.

        Raises:
            StoreError: not all of them.
        """
        offer = catalog.offered(entries, self._backbones)
        there = served_backbones(offer)
        missing = [backbone for backbone in self._backbones if backbone not in there]
        if missing or not there:
            wanted = ", ".join(missing) or "any backbone"
            raise store.StoreError(
                f"{self._root} has no model of {wanted}: train one with affect-train --models {self._root}"
            )
        return offer

    async def _change(self, entries: store.Entries, offer: Catalog) -> None:
        """Go over to what ``entries`` say, as far as it can be loaded."""
        before = self._served
        self._forget_failures(offer)
        loaded = dict(before.loaded)
        reached = await self._load(entries, offer, loaded)
        after = catalog.settled(before.catalog, reached)
        asked = {(model, one.number) for model, versions in after.items() for one in versions}
        self._served = _Served(after, {key: model for key, model in loaded.items() if key in asked})
        self._entries = entries
        self._tell(self._left_out(offer))
        for key in loaded.keys() - asked:
            await asyncio.to_thread(loaded.pop(key).close)

    async def _load(self, entries: store.Entries, offer: Catalog, loaded: dict[Key, OpenVinoModel]) -> Catalog:
        """Load what is missing into ``loaded``; gives what can be reached then, failures included.

        Where a fused model fails its pair is needed instead, so there may be several rounds.
        """
        before = self._served
        while True:
            problems = {key: failure.problem for key, failure in self._failures.items()}
            marked = catalog.without_failed(offer, problems)
            needed = catalog.needed(marked)
            missing = [key for key in needed if key not in loaded and key not in problems]
            if not missing:
                return catalog.limited_to(marked, [*needed, *problems])
            self._served = _Served(catalog.announced(before.catalog, missing), before.loaded)
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

    def _something_is_mended(self) -> bool:
        return any(failure.is_mended for failure in self._failures.values())

    def _forget_failures(self, offer: Catalog) -> None:
        """Those whose files have changed, and those of versions that are not offered any more."""
        offered = {(model, one.number) for model, versions in offer.items() for one in versions}
        self._failures = {
            key: failure for key, failure in self._failures.items() if key in offered and not failure.is_mended
        }

    def _left_out(self, offer: Catalog) -> str:
        """What is configured and does not load, of the backbones that cannot answer."""
        unanswered = catalog.unanswered(self._served.catalog, offer)
        problems = [failure.problem for (model, _), failure in self._failures.items() if model.backbone in unanswered]
        return problems[0] if problems else ""

    def _tell(self, trouble: str, unforeseen: Exception | None = None) -> None:
        """Keep what is in the way for those who ask, and log it once."""
        if trouble and trouble != self._trouble:
            _log.error("%s", trouble, exc_info=unforeseen)
        self._trouble = trouble


def _stamp(directory: Path) -> tuple[int, int] | None:
    """What changes when the graph of a version directory does; None where there is none."""
    try:
        status = (directory / store.SAVED_MODEL_FILE).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
