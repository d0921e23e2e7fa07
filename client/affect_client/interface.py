"""Base classes of the HTTP and gRPC clients: their lifetime, and predictions for many pictures at a time."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from affect_client.predict_many import DEFAULT_IN_FLIGHT, Answered, Picture, predict_in_order, predict_in_order_async
from affect_contract.schemas import Prediction


class BlockingClient(ABC):
    """Base class of the blocking clients; use it as a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    @abstractmethod
    def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """Predict the expression, valence and arousal of one picture.

        Args:
            image: the bytes of a JPEG, PNG or WebP file, or its path.
            backbone: the backbone to use; the gateway's default, if not given.
            version: the model version to use; the stable one, if neither this nor ``label`` is given.
            label: the label of the version to use; not together with ``version``.

        Raises:
            OSError: the file cannot be read.
        """

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        progress: bool = False,
    ) -> Generator[Answered]:
        """Yield each picture with its prediction or its error, in the given order and in bounded memory.

        Args:
            pictures: consumed as needed; a file is read only when its turn comes.
            backbone: the backbone to use; the gateway's default, if not given.
            version: the model version to use; the stable one, if neither this nor ``label`` is given.
            label: the label of the version to use; not together with ``version``.
            in_flight: how many requests may be in flight at a time.
            progress: whether to draw a progress bar on stderr.

        Raises:
            ServiceUnreachable: no gateway answers any more.
        """
        predict = partial(self.predict, backbone=backbone, version=version, label=label)
        return predict_in_order(predict, pictures, in_flight=in_flight, progress=progress)


class AsyncioClient(ABC):
    """Base class of the asyncio clients; use it as an async context manager."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections."""

    @abstractmethod
    async def predict(
        self, image: Picture, *, backbone: str | None = None, version: int | None = None, label: str | None = None
    ) -> Prediction:
        """See `BlockingClient.predict`."""

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        backbone: str | None = None,
        version: int | None = None,
        label: str | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        progress: bool = False,
    ) -> AsyncGenerator[Answered]:
        """See `BlockingClient.predict_many`."""
        predict = partial(self.predict, backbone=backbone, version=version, label=label)
        return predict_in_order_async(predict, pictures, in_flight=in_flight, progress=progress)
