"""The HTTP server: uvicorn with our limits on connections, without its signal handling, and with optional TLS."""

import contextlib
import math
import socket
from collections.abc import Callable, Iterator

import uvicorn

from affect_serving.addresses import url_host
from affect_serving.core.backend import ServingError
from affect_serving.http.connections import connection_class
from affect_serving.http.service import HttpApp
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics


class HttpServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and leaves signals to the process.

    Args:
        app: the application to serve.
        settings: has the limits, and the files for TLS.
        metrics: shows the number of open connections.
        on_ready: called with the server's URL once it accepts connections.
    """

    def __init__(self, app: HttpApp, settings: Settings, metrics: Metrics, on_ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=connection_class(settings.max_connections, settings.body_timeout_s, app.refusal),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=math.ceil(settings.drain_grace_s),
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
            )
        )
        self._scheme = "https" if settings.tls_cert else "http"
        self._on_ready = on_ready
        metrics.connections.set_function(lambda: len(self.server_state.connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then report the URL."""
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            self._on_ready(f"{self._scheme}://{url_host(host)}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers, unlike uvicorn's own server."""
        yield

    def stop(self) -> None:
        """Refuse new connections, finish the requests under way, and end."""
        self.should_exit = True


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, on which the server listens once the models are loaded.

    Raises:
        ServingError: the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as exc:
        raise ServingError(
            f"cannot listen on {host}, port {port}: {exc.strerror or exc}; choose another with --host and --http-port"
        ) from exc
    return listener
