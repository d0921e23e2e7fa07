"""The protocol of observers, which report the versions that a process serves; `affect_models` implements it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from affect_contract.versions import ModelState


class Unobservable(Exception):
    """The state of the served versions cannot be found out; the text says who was asked and what to do."""


class Observer(Protocol):
    """Asks one process, a model server or a gateway, for the versions that it serves."""

    @property
    def name(self) -> str:
        """The name of the process in messages."""

    @property
    def knows_every_model(self) -> bool:
        """Whether the process reports every model that it could serve; otherwise it reports only those that it uses."""

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """Return the states of some models by name, without those that the process does not know.

        Raises:
            Unobservable: the process does not answer.
        """
