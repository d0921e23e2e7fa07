"""A TCP proxy before the model server, whose connections a test can cut, stall or corrupt."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from affect_testbed.model_server.process import free_port


class FaultyProxy:
    """Passes connections from its own `port`, which never changes, on to the model server on port ``target``."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._garbage = False
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """Pass all connections on again, as they are."""
        if self._garbage:
            self.cut()
        self._do(self._listen())

    def cut(self) -> None:
        """Close all connections and refuse new ones, as if the server had been killed."""
        self._do(self._cut())

    def stall(self) -> None:
        """Keep connections open but pass nothing on, as if the network were partitioned or the server hung."""
        self._do(self._stall())

    def garble(self) -> None:
        """Answer every new connection with random bytes."""
        self.cut()
        self._garbage = True
        self._do(self._listen())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        self._garbage = False
        if self._server is not None:
            self._server.close()
            self._server = None
        self._open.set()
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.005)

    async def _stall(self) -> None:
        self._open.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._kept(writer):
            if self._garbage:
                writer.write(random.Random(0).randbytes(4096))
                with contextlib.suppress(OSError):
                    await writer.drain()
                return
            try:
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            with self._kept(to_server):
                await asyncio.gather(self._carry(reader, to_server), self._carry(from_server, writer))

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Any:
        self._writers.add(writer)
        try:
            yield
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()
