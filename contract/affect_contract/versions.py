"""The labels and states of a model's versions, as TensorFlow Serving and every part of Affect name them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

STABLE: Final = "stable"
"""The label of the version that answers requests without a version or label."""
CANARY: Final = "canary"
"""The label of the version that is tried out beside the stable one."""
PREVIOUS: Final = "previous"
"""The label of a version that was stable before and is kept loaded, so that going back to it takes no loading."""
VERSION_LABELS: Final = (STABLE, CANARY, PREVIOUS)

LOADING: Final = "LOADING"
AVAILABLE: Final = "AVAILABLE"
"""The state of a version that can answer."""
END: Final = "END"
"""The state of a version that is not, or no longer, loaded."""


class VersionState(NamedTuple):
    """The state of one version, as a process that serves it reports it."""

    state: str
    """The state, as TensorFlow Serving names it."""
    problem: str = ""
    """Why the version is not asked, or never will be; empty if nothing is known to be wrong."""


@dataclass(frozen=True)
class ModelState:
    """The states of a model's versions, and their labels, as a process that serves it reports them."""

    versions: Mapping[int, VersionState] = field(default_factory=dict)
    """The states of the versions by number, ascending."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """The version that answers, by label."""
