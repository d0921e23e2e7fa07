"""A change of what is stable, carried out on a directory that is being served: step by step, or not at all."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from affect_contract.backbones import BackboneName
from affect_contract.models import MODELS
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE, STABLE, ModelState, VersionState
from affect_registry import promotion, store
from affect_registry.observers import Observer, Unobservable
from affect_registry.promotion import Versions
from affect_registry.publication import NOTICE_S
from affect_registry.store import Entries

_ASK_EVERY_S: Final = 0.2

Say = Callable[[str], None]
"""Receives a line on what is waited for."""


class RolloutFailed(Exception):
    """A version has not come to serve, and what served before does; the text says which and why."""


class Rollout:
    """Carries changes out.

    Args:
        root: the models directory; the caller holds its lock.
        observers: asked whether a step has been followed. Where there is none each step but the last is given
            ``notice_s`` seconds, in which a model server that runs reads it.
        timeout_s: seconds that a step may take.
        say: receives a line on what is waited for.
        notice_s: see ``observers``.
    """

    def __init__(
        self, root: Path, observers: Sequence[Observer], *, timeout_s: float, say: Say, notice_s: float = NOTICE_S
    ) -> None:
        self._root = root
        self._observers = observers
        self._timeout_s = timeout_s
        self._say = say
        self._notice_s = notice_s

    def carry_out(self, entries: Entries, targets: Versions, *, keep_old: bool, remember: bool) -> None:
        """Make each of the ``targets`` stable.

        Args:
            entries: what is served now.
            targets: the version that is to be stable, by model.
            keep_old: whether the one that is stable now stays loaded.
            remember: whether a later rollback comes back to it.

        Raises:
            RolloutFailed: a version does not serve; `models.config` says what it said before.
            Unobservable: an observer does not answer before anything is changed.
            StoreError: the directory cannot be written, or would serve nothing as stable.
        """
        steps = promotion.steps(entries, targets, keep_old=keep_old)
        stale = self._known_problems(entries, targets) if steps.listed != entries else {}
        self._require_observers_of(targets)
        try:
            self._write(entries, steps.listed)
            self._wait(lambda: self._unavailable(targets, stale))
            if remember:
                promotion.remember(self._root, entries, targets)
            self._write(steps.listed, steps.labelled)
            self._wait(lambda: self._unlabelled(targets))
        except BaseException:
            # What had been served is loaded still, so that going back to it needs no steps.
            store.write(self._root, entries)
            raise
        self._write(steps.labelled, steps.kept)

    def _write(self, before: Entries, after: Entries) -> None:
        if after != before:
            store.write(self._root, after)
            if not self._observers:
                time.sleep(self._notice_s)

    def _wait(self, obstacles: Callable[[], str]) -> None:
        """Until there is no obstacle.

        Raises:
            RolloutFailed: there was one for too long.
        """
        ends = time.monotonic() + self._timeout_s
        said = ""
        while obstacle := obstacles():
            if time.monotonic() > ends:
                raise RolloutFailed(f"{obstacle}, after {self._timeout_s:g} s")
            if obstacle != said:
                self._say(f"waiting: {obstacle}")
                said = obstacle
            time.sleep(_ASK_EVERY_S)

    def _known_problems(self, entries: Entries, targets: Versions) -> dict[tuple[str, str], VersionState]:
        """Return what is reported of versions that are not named yet: a server remembers how an earlier try went."""
        return {
            (observer.name, name): state.versions[targets[name]]
            for observer in self._observers
            for name, state in observer.states(targets).items()
            if targets[name] in state.versions and targets[name] not in entries[name].versions
        }

    def _require_observers_of(self, targets: Versions) -> None:
        for observer in self._observers:
            known = {MODELS[name].backbone for name in observer.states(MODELS)}
            strangers = sorted({MODELS[name].backbone for name in targets} - known)
            if strangers:
                raise Unobservable(
                    f"{observer.name} serves no model of {', '.join(strangers)}: leave it out with --backbones, or ask "
                    "who serves it"
                )

    def _unavailable(self, targets: Versions, stale: Mapping[tuple[str, str], VersionState]) -> str:
        """A version that cannot answer yet; empty where all can.

        Raises:
            RolloutFailed: one never will.
        """

        def lacks(observer: Observer, name: str, state: ModelState) -> str:
            number = targets[name]
            version = state.versions.get(number)
            if version is None:
                return f"{observer.name} does not have {name} version {number} yet"
            if version.problem and version != stale.get((observer.name, name)):
                raise RolloutFailed(version.problem)
            if version.state != AVAILABLE:
                more = f" ({version.problem})" if version.problem else ""
                return f"{name} version {number} is {version.state} at {observer.name}{more}"
            return ""

        return self._first_obstacle(targets, lacks)

    def _unlabelled(self, targets: Versions) -> str:
        """A model that does not answer with its new version as stable yet; empty where all do."""

        def lacks(observer: Observer, name: str, state: ModelState) -> str:
            if state.labels.get(STABLE) == targets[name]:
                return ""
            return f"{observer.name} does not answer with {name} version {targets[name]} as {STABLE} yet"

        return self._first_obstacle(targets, lacks)

    def _first_obstacle(self, targets: Versions, lacks: Callable[[Observer, str, ModelState], str]) -> str:
        for observer in self._observers:
            try:
                states = observer.states(targets)
            except Unobservable as exc:
                return str(exc)
            known = {name: state for name, state in states.items() if _reports(observer, state, targets[name])}
            for name, state in known.items():
                if obstacle := lacks(observer, name, state):
                    return obstacle
            if missing := _missing(observer, targets, known):
                return missing
        return ""


def _reports(observer: Observer, state: ModelState, number: int) -> bool:
    """Whether what an observer reports of a model has to do with a version."""
    return observer.knows_every_model or number in state.versions


def _missing(observer: Observer, targets: Versions, known: Mapping[str, ModelState]) -> str:
    """Return what an observer must report and does not: every model, or enough of them for all tasks; else nothing."""
    if observer.knows_every_model:
        absent = sorted(targets.keys() - known.keys())
        return f"{observer.name} does not have {absent[0]} yet" if absent else ""
    unanswered = sorted(_tasks(targets) - _tasks(known))
    if not unanswered:
        return ""
    backbone, task = unanswered[0]
    return f"{observer.name} has no version for the {task} of {backbone} yet"


def _tasks(names: Mapping[str, object]) -> set[tuple[BackboneName, Task]]:
    return {(MODELS[name].backbone, task) for name in names for task in MODELS[name].tasks}
