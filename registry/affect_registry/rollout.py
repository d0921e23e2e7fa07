"""Rollout: carrying a promotion out on a directory that is being served, step by step or not at all."""

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
from affect_registry.publication import RELOAD_WAIT_S
from affect_registry.store import Entries

_ASK_EVERY_S: Final = 0.2

Report = Callable[[str], None]
"""Receives a line that says what the rollout is waiting for."""


class RolloutFailed(Exception):
    """A version did not come to be served, so the versions before it still are; the text says which and why."""


class Rollout:
    """Carries out promotions in one models directory.

    Args:
        root: the models directory; the caller holds its lock.
        observers: asked after each step but the last whether the servers have followed it. If there are none, each of
            these steps is followed by a wait instead.
        timeout_s: seconds that the servers may take to follow a step.
        report: receives a line for each thing that is waited for.
        reload_wait_s: seconds of the wait without observers, in which a running model server reads the config.
    """

    def __init__(
        self,
        root: Path,
        observers: Sequence[Observer],
        *,
        timeout_s: float,
        report: Report,
        reload_wait_s: float = RELOAD_WAIT_S,
    ) -> None:
        self._root = root
        self._observers = observers
        self._timeout_s = timeout_s
        self._report = report
        self._reload_wait_s = reload_wait_s

    def carry_out(self, entries: Entries, targets: Versions, *, keep_old: bool, record: bool) -> None:
        """Make each of the ``targets`` stable.

        Args:
            entries: the entries as they are now.
            targets: the version that becomes stable, by model.
            keep_old: whether the version that is stable now stays loaded.
            record: whether to record the promotion, so that a later rollback undoes it.

        Raises:
            RolloutFailed: a version cannot be served; `models.config` is as it was before.
            Unobservable: an observer did not answer, and nothing has been changed.
            StoreError: the directory cannot be written, or a model would be left without a stable version.
        """
        steps = promotion.steps(entries, targets, keep_old=keep_old)
        stale = self._earlier_states(entries, targets) if steps.listed != entries else {}
        self._require_observed(targets)
        try:
            self._write(entries, steps.listed)
            self._wait(lambda: self._availability_obstacle(targets, stale))
            if record:
                promotion.record_promotion(self._root, entries, targets)
            self._write(steps.listed, steps.labelled)
            self._wait(lambda: self._label_obstacle(targets))
        except BaseException:
            # The versions served before are still loaded, so the old config can be written back in one step.
            store.write(self._root, entries)
            raise
        self._write(steps.labelled, steps.kept)

    def _write(self, before: Entries, after: Entries) -> None:
        if after != before:
            store.write(self._root, after)
            if not self._observers:
                time.sleep(self._reload_wait_s)

    def _wait(self, find_obstacle: Callable[[], str]) -> None:
        """Wait until ``find_obstacle`` returns an empty text.

        Raises:
            RolloutFailed: it did not within the time limit.
        """
        ends = time.monotonic() + self._timeout_s
        reported = ""
        while obstacle := find_obstacle():
            if time.monotonic() > ends:
                raise RolloutFailed(f"{obstacle}, after {self._timeout_s:g} s")
            if obstacle != reported:
                self._report(f"waiting: {obstacle}")
                reported = obstacle
            time.sleep(_ASK_EVERY_S)

    def _earlier_states(self, entries: Entries, targets: Versions) -> dict[tuple[str, str], VersionState]:
        """Return the states of targets not listed yet, which a server still reports from an earlier attempt."""
        return {
            (observer.name, name): state.versions[targets[name]]
            for observer in self._observers
            for name, state in observer.states(targets).items()
            if targets[name] in state.versions and targets[name] not in entries[name].versions
        }

    def _require_observed(self, targets: Versions) -> None:
        for observer in self._observers:
            known = {MODELS[name].backbone for name in observer.states(MODELS)}
            unobserved = sorted({MODELS[name].backbone for name in targets} - known)
            if unobserved:
                raise Unobservable(
                    f"{observer.name} serves no model of {', '.join(unobserved)}: leave it out with --backbones, or "
                    "name a server that has it"
                )

    def _availability_obstacle(self, targets: Versions, stale: Mapping[tuple[str, str], VersionState]) -> str:
        """Name a version that cannot answer yet; empty if all can.

        Raises:
            RolloutFailed: a version never will.
        """

        def obstacle_of(observer: Observer, name: str, state: ModelState) -> str:
            number = targets[name]
            version = state.versions.get(number)
            if version is None:
                return f"{observer.name} does not have {name} version {number} yet"
            if version.problem and version != stale.get((observer.name, name)):
                raise RolloutFailed(version.problem)
            if version.state != AVAILABLE:
                problem = f" ({version.problem})" if version.problem else ""
                return f"{name} version {number} is {version.state} at {observer.name}{problem}"
            return ""

        return self._first_obstacle(targets, obstacle_of)

    def _label_obstacle(self, targets: Versions) -> str:
        """Name a model that does not answer with its new version as stable yet; empty if all do."""

        def obstacle_of(observer: Observer, name: str, state: ModelState) -> str:
            if state.labels.get(STABLE) == targets[name]:
                return ""
            return f"{observer.name} does not answer with {name} version {targets[name]} as {STABLE} yet"

        return self._first_obstacle(targets, obstacle_of)

    def _first_obstacle(self, targets: Versions, obstacle_of: Callable[[Observer, str, ModelState], str]) -> str:
        for observer in self._observers:
            try:
                states = observer.states(targets)
            except Unobservable as exc:
                return str(exc)
            known = {name: state for name, state in states.items() if _reports(observer, state, targets[name])}
            for name, state in known.items():
                if obstacle := obstacle_of(observer, name, state):
                    return obstacle
            if missing := _missing_model(observer, targets, known):
                return missing
        return ""


def _reports(observer: Observer, state: ModelState, number: int) -> bool:
    """Whether the state of a model that an observer reports says anything about this version."""
    return observer.knows_every_model or number in state.versions


def _missing_model(observer: Observer, targets: Versions, known: Mapping[str, ModelState]) -> str:
    """Name a model that an observer should report and does not; empty if there is none.

    An observer that does not know every model should report enough of them for all tasks.
    """
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
