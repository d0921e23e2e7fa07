"""``affect-serve``: the gateway."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence

import pydantic
import uvicorn
import uvloop
from fastapi import FastAPI

from affect_serving import rpc
from affect_serving.addresses import url_host
from affect_serving.app import create_backend, running_gateway
from affect_serving.backend import ServingError
from affect_serving.http import create_http_app
from affect_serving.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
        # Pillow remarks on broken EXIF data; a stranger's picture writes nothing into the log.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        logging.basicConfig(
            level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except ServingError as exc:
        print(f"affect-serve: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings from flags, the environment and defaults, in that order.

    Raises:
        ServingError: one is missing or wrong.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="affect-serve",
        description="Serve a models directory, or what a TensorFlow Serving serves, over HTTP and gRPC.",
        argument_default=argparse.SUPPRESS,
    )
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default in (None, ()) else f" (default: {field.default})"
        parser.add_argument(_flag(name), metavar="VALUE", help=f"{field.description}{default}".replace("%", "%%"))
    try:
        return Settings(**vars(parser.parse_args(arguments)))
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        name = str(first["loc"][0]) if first["loc"] else ""
        where = f"{_flag(name)} (or AFFECT_{name.upper()}): " if name else ""
        raise ServingError(f"{where}{problem}; see --help") from exc


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


async def _serve(settings: Settings) -> None:
    with _bound(settings.host, settings.http_port) as listener:
        async with (
            rpc.bound(settings) as (rpc_server, rpc_port),
            running_gateway(settings, create_backend(settings)) as gateway,
            rpc.serving(rpc_server, *gateway),
        ):
            server = _Server(create_http_app(*gateway), f"grpc://{url_host(settings.host)}:{rpc_port}")
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, server.stop)
            await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Says on stdout when it answers, and where; the process, not uvicorn, owns the signals."""

    def __init__(self, app: FastAPI, rpc_url: str) -> None:
        super().__init__(
            uvicorn.Config(
                app, http="httptools", lifespan="off", log_config=None, access_log=False, server_header=False
            )
        )
        self._rpc_url = rpc_url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            print(f"affect-serve: ready on http://{url_host(host)}:{port} and {self._rpc_url}", flush=True)  # noqa: T201

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


def _bound(host: str, port: int) -> socket.socket:
    """A socket with its address taken, that listens only when the models are loaded.

    Raises:
        ServingError: it cannot.
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


if __name__ == "__main__":
    sys.exit(main())
