"""The protocol of an observer: a process that reports the versions it serves. `affect_models` has the observers."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from affect_contract.versions import ModelState


class Unobservable(Exception):
    """The state of the served versions cannot be found out; the text names who was asked and what to do."""


class Observer(Protocol):
    """A process that serves models, or sees what is served."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def knows_every_model(self) -> bool:
        """Whether a model that it does not report is not there; otherwise it reports only the models that it needs."""

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """Return the states of some models, by name; models that the observer does not know are left out.

        Raises:
            Unobservable: it does not answer.
        """
