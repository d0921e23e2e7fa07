"""Those who can say what has become of a version, and what they say; who they are is told elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

AVAILABLE: Final = "AVAILABLE"
"""The state of a version that can answer, as TensorFlow Serving names it."""


class CannotSay(Exception):
    """Nobody can tell what has become of a version; the text says who was asked and what to do."""


class VersionState(NamedTuple):
    """What a witness says of one version."""

    state: str
    """As TensorFlow Serving names it."""
    problem: str = ""
    """Why it is not, or never, asked."""


@dataclass(frozen=True)
class ModelState:
    """What a witness says of one model."""

    versions: Mapping[int, VersionState] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    """The version that answers, by label."""


class Witness(Protocol):
    """One process that serves, or sees what is served."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def knows_every_model(self) -> bool:
        """Whether a model that it does not tell of is not there; else it tells of those that it needs."""

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """What has become of some models, by name; those it knows nothing of are left out.

        Raises:
            CannotSay: it does not answer.
        """
