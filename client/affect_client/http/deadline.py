"""An httpx transport whose reads and writes all end when the time of the call is over.

httpx limits each read and each write by itself, so that a server that sends a byte at a time could hold a call for as
long as it likes. asyncio can limit the call as a whole; for the blocking client the limit is kept here, on the socket.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import httpx

_WRITE_CHUNK_BYTES: Final = 64 * 2**10
"""Bytes that are written before the time left is looked at again."""


class SecondsLeft(float):
    """A timeout for httpx that counts down: the seconds left until the end of the call.

    Args:
        left_s: seconds from now.
    """

    def __init__(self, left_s: float) -> None:
        self._ends = time.monotonic() + left_s

    def now(self) -> float:
        """Return the seconds left now; negative once the time is over."""
        return self._ends - time.monotonic()


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's own transport with connections that obey `SecondsLeft`."""

    def __init__(self, *, verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, limits=limits)
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


class _Backend(httpcore.SyncBackend):
    """A network backend whose streams obey `SecondsLeft`."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_CHUNK_BYTES):
            self._stream.write(buffer[start : start + _WRITE_CHUNK_BYTES], _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    if not isinstance(timeout, SecondsLeft):
        return timeout
    left_s = timeout.now()
    if left_s <= 0:
        raise expired("the time of the call is over")
    return left_s
