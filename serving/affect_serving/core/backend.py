"""What the gateway asks of whatever runs the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from affect_contract.models import ServedModel


@dataclass(frozen=True)
class Selector:
    """Which version of a model is asked for: a number, a label, or neither, which means stable."""

    version: int | None = None
    label: str | None = None


class Version(NamedTuple):
    """One version of a model."""

    number: int
    state: str
    labels: tuple[str, ...]
    problem: str = ""
    """Why it is never asked, although it is there: one sentence."""


Catalog = Mapping[ServedModel, tuple[Version, ...]]
"""What a backend serves: the versions of each model, ascending."""


class ModelAnswer(NamedTuple):
    """What one model says of some pictures."""

    outputs: Mapping[str, NDArray[np.float32]]
    """By output name of the contract, each [n, ...]."""
    version: int
    """The version that answered."""


class Backend(Protocol):
    """Runs models; the only thing in the gateway that knows a runtime."""

    async def start(self) -> None:
        """Get ready to answer, or start to wait for what others must do first.

        Raises:
            ServingError: it never will.
        """

    async def close(self) -> None:
        """Give back everything; calls under way have ended before."""

    async def catalog(self) -> Catalog:
        """What is served now.

        Raises:
            AffectError: why that cannot be known.
        """

    def trouble(self) -> str:
        """What of the models it is told to serve it cannot follow, while it serves on what it had; empty if nothing."""

    async def run(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], *, timeout_s: float
    ) -> ModelAnswer:
        """Run a model; a call that is cancelled stops its work.

        Args:
            model: one of the catalog.
            selector: which of its versions.
            images: uint8 [n, 224, 224, 3].
            timeout_s: seconds left to answer in.

        Raises:
            AffectError: what keeps it from answering.
        """


class ServingError(Exception):
    """The gateway cannot start as it is set up; the text is one sentence for whoever starts it."""
