"""What the clients of both surfaces have in common: their lifetime, and many pictures at a time."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from affect_client.many import DEFAULT_IN_FLIGHT, Answered, Picture, answered_in_order, answered_in_order_async
from affect_contract.schemas import Prediction


class BlockingClient(ABC):
    """A client that blocks; use it as a context manager."""

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
        """Read one picture.

        Args:
            image: the bytes of a JPEG, PNG or WebP file, or its path.
            backbone: the network to ask; the gateway's default, if not given.
            version: the version to ask.
            label: the label of the version to ask; not together with ``version``.

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
        """Read any number of pictures: each with its answer or the error it met, in order, in bounded memory.

        Args:
            pictures: taken as they are needed; files are read when it is their turn.
            backbone: the network to ask; the gateway's default, if not given.
            version: the version to ask.
            label: the label of the version to ask; not together with ``version``.
            in_flight: how many are under way at a time.
            progress: whether a bar on stderr tells how far it is.

        Raises:
            ServiceUnreachable: no gateway answers any more.
        """
        predict = partial(self.predict, backbone=backbone, version=version, label=label)
        return answered_in_order(predict, pictures, in_flight=in_flight, progress=progress)


class AsyncioClient(ABC):
    """`BlockingClient` for asyncio; use it as an async context manager."""

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
        return answered_in_order_async(predict, pictures, in_flight=in_flight, progress=progress)
