"""The interface between the gateway and a runtime that runs the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from affect_contract.models import ServedModel


@dataclass(frozen=True)
class Selector:
    """The version of a model that a request asks for: by number, by label, or by neither, which means stable."""

    version: int | None = None
    label: str | None = None


class Version(NamedTuple):
    """One version of a model, as a backend reports it."""

    number: int
    state: str
    labels: tuple[str, ...]
    problem: str = ""
    """Why no request is sent to this version although it is present, in one sentence; empty if requests are."""


Catalog = Mapping[ServedModel, tuple[Version, ...]]
"""The models that a backend serves, each with its versions, ascending by number."""


class ModelAnswer(NamedTuple):
    """The answer of one model for n pictures."""

    outputs: Mapping[str, NDArray[np.float32]]
    """Output arrays by the contract's output name, each float32 [n, ...]."""
    version: int
    """The number of the version that answered."""


class Backend(Protocol):
    """Runs models; the only part of the gateway that knows a particular runtime."""

    async def start(self) -> None:
        """Get ready to answer, or begin to wait for a model server that is not there yet.

        Raises:
            ServingError: the backend can never answer as it is set up.
        """

    async def close(self) -> None:
        """Release all resources; no call is under way any more."""

    async def catalog(self) -> Catalog:
        """Return the models and versions that are served now.

        Raises:
            AffectError: the backend cannot know; the error is the answer to requests.
        """

    def problem(self) -> str:
        """Say what keeps the backend from following its configuration, in one sentence; empty if nothing does.

        While there is such a problem, the backend goes on serving the models that it served before.
        """

    async def run(
        self, model: ServedModel, selector: Selector, images: NDArray[np.uint8], *, timeout_s: float
    ) -> ModelAnswer:
        """Run a model on pictures; cancelling the call stops its work.

        Args:
            model: a model of the catalog.
            selector: the version to run.
            images: uint8 [n, 224, 224, 3], RGB.
            timeout_s: time left to answer, in seconds.

        Raises:
            AffectError: the model cannot answer.
        """


class ServingError(Exception):
    """The gateway cannot start as it is set up; the message is one sentence for whoever starts it."""
