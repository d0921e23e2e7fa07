"""A change of what is stable, carried out on a directory that is being served: step by step, or not at all."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from affect_contract.backbones import BackboneName
from affect_contract.models import MODELS
from affect_contract.outputs import Task
from affect_registry import promotion, store
from affect_registry.observers import AVAILABLE, CannotSay, ModelState, VersionState, Witness
from affect_registry.promotion import Versions
from affect_registry.publication import NOTICE_S
from affect_registry.store import STABLE, Entries

_ASK_EVERY_S: Final = 0.2

Say = Callable[[str], None]
"""Told what is waited for."""


class RolloutFailed(Exception):
    """A version has not come to serve, and what served before does; the text says which and why."""


class Rollout:
    """Carries changes out.

    Args:
        root: the models directory; the caller holds its lock.
        witnesses: who is asked what has become of a step. Where there is none each step but the last is given
            ``notice_s`` seconds, in which a model server that runs reads it.
        timeout_s: seconds that a step may take.
        say: told what is waited for.
        notice_s: see ``witnesses``.
    """

    def __init__(
        self, root: Path, witnesses: Sequence[Witness], *, timeout_s: float, say: Say, notice_s: float = NOTICE_S
    ) -> None:
        self._root = root
        self._witnesses = witnesses
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
            CannotSay: a witness does not answer before anything is changed.
            StoreError: the directory cannot be written, or would serve nothing as stable.
        """
        steps = promotion.steps(entries, targets, keep_old=keep_old)
        stale = self._known_problems(entries, targets) if steps.listed != entries else {}
        self._require_witnesses_of(targets)
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
            if not self._witnesses:
                time.sleep(self._notice_s)

    def _wait(self, obstacles: Callable[[], str]) -> None:
        """Until there is no obstacle.

        Raises:
            RolloutFailed: there was one for too long.
        """
        ends = time.monotonic() + self._timeout_s
        told = ""
        while obstacle := obstacles():
            if time.monotonic() > ends:
                raise RolloutFailed(f"{obstacle}, after {self._timeout_s:g} s")
            if obstacle != told:
                self._say(f"waiting: {obstacle}")
                told = obstacle
            time.sleep(_ASK_EVERY_S)

    def _known_problems(self, entries: Entries, targets: Versions) -> dict[tuple[str, str], VersionState]:
        """What is said of versions that are not named yet: a server remembers how an earlier try went."""
        return {
            (witness.name, name): state.versions[targets[name]]
            for witness in self._witnesses
            for name, state in witness.states(targets).items()
            if targets[name] in state.versions and targets[name] not in entries[name].versions
        }

    def _require_witnesses_of(self, targets: Versions) -> None:
        for witness in self._witnesses:
            known = {MODELS[name].backbone for name in witness.states(MODELS)}
            strangers = sorted({MODELS[name].backbone for name in targets} - known)
            if strangers:
                raise CannotSay(
                    f"{witness.name} serves no model of {', '.join(strangers)}: leave it out with --backbones, or ask "
                    "who serves it"
                )

    def _unavailable(self, targets: Versions, stale: Mapping[tuple[str, str], VersionState]) -> str:
        """A version that cannot answer yet; empty where all can.

        Raises:
            RolloutFailed: one never will.
        """

        def lacks(witness: Witness, name: str, state: ModelState) -> str:
            number = targets[name]
            version = state.versions.get(number)
            if version is None:
                return f"{witness.name} does not have {name} version {number} yet"
            if version.problem and version != stale.get((witness.name, name)):
                raise RolloutFailed(version.problem)
            if version.state != AVAILABLE:
                more = f" ({version.problem})" if version.problem else ""
                return f"{name} version {number} is {version.state} at {witness.name}{more}"
            return ""

        return self._first_obstacle(targets, lacks)

    def _unlabelled(self, targets: Versions) -> str:
        """A model that does not answer with its new version as stable yet; empty where all do."""

        def lacks(witness: Witness, name: str, state: ModelState) -> str:
            if state.labels.get(STABLE) == targets[name]:
                return ""
            return f"{witness.name} does not answer with {name} version {targets[name]} as {STABLE} yet"

        return self._first_obstacle(targets, lacks)

    def _first_obstacle(self, targets: Versions, lacks: Callable[[Witness, str, ModelState], str]) -> str:
        for witness in self._witnesses:
            try:
                states = witness.states(targets)
            except CannotSay as exc:
                return str(exc)
            known = {name: state for name, state in states.items() if _is_told(witness, state, targets[name])}
            for name, state in known.items():
                if obstacle := lacks(witness, name, state):
                    return obstacle
            if missing := _missing(witness, targets, known):
                return missing
        return ""


def _is_told(witness: Witness, state: ModelState, number: int) -> bool:
    """Whether what a witness says of a model has to do with a version."""
    return witness.knows_every_model or number in state.versions


def _missing(witness: Witness, targets: Versions, known: Mapping[str, ModelState]) -> str:
    """What a witness does not tell of, though it must: every model, or enough of them for all tasks."""
    if witness.knows_every_model:
        absent = sorted(targets.keys() - known.keys())
        return f"{witness.name} does not have {absent[0]} yet" if absent else ""
    unanswered = sorted(_tasks(targets) - _tasks(known))
    if not unanswered:
        return ""
    backbone, task = unanswered[0]
    return f"{witness.name} has no version for the {task} of {backbone} yet"


def _tasks(names: Mapping[str, object]) -> set[tuple[BackboneName, Task]]:
    return {(MODELS[name].backbone, task) for name in names for task in MODELS[name].tasks}
