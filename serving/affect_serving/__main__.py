"""``affect-serve``: the command that runs the gateway."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import pydantic
import uvloop
from pydantic.fields import FieldInfo

from affect_contract.commands import CommandParser
from affect_serving.addresses import url_host
from affect_serving.app import create_backend, running_gateway
from affect_serving.core.api_keys import new_key
from affect_serving.core.backend import ServingError
from affect_serving.core.drain import Drain
from affect_serving.http.server import HttpServer, bound_socket
from affect_serving.http.service import create_http_app
from affect_serving.rpc.server import bound_server, serving_calls
from affect_serving.settings import Metavar, Settings
from affect_serving.telemetry.logs import configure_logging

_NEW_KEY: Final = "new-key"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SWITCH_INTERVAL_S: Final = 0.001
"""How long a busy thread may keep the event loop waiting for Python's lock, in seconds."""
_ENDED_BY_SIGNAL: Final = 128
_SAME_SIGNAL_S: Final = 0.2
"""A signal this soon after the first counts as a repetition, in seconds: uvloop delivers some signals twice, and
supervisors may signal a process and then its group."""

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words and words[0] == _NEW_KEY:
            return _make_key(words[1:])
        settings = read_settings(words)
        # Pillow warns of broken EXIF data: callers must not be able to fill the log with that.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        configure_logging(settings)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except ServingError as exc:
        print(f"affect-serve: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _make_key(arguments: Sequence[str]) -> int:
    options = _key_parser().parse_args(arguments)
    print(new_key(options.name, options.file))  # noqa: T201
    return 0


def _key_parser() -> CommandParser:
    parser = CommandParser(
        prog=f"affect-serve {_NEW_KEY}",
        description="Make an API key, print it this once, and add its SHA-256 to a file for affect-serve "
        "--api-keys-file.",
        examples=(f"affect-serve {_NEW_KEY} alice --file keys",),
    )
    parser.add_argument("name", metavar="NAME", help="name of the key's owner, which appears in the log")
    parser.add_argument(
        "--file", type=Path, required=True, metavar="FILE", help="file of keys; made if it is not there"
    )
    return parser


def read_settings(arguments: Sequence[str]) -> Settings:
    """Read the settings from options, from the environment and from defaults, in that order.

    Raises:
        ServingError: a setting is missing or invalid.
    """
    try:
        return Settings(**vars(_parser().parse_args(arguments)))
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        name = str(first["loc"][0]) if first["loc"] else ""
        where = f"{_flag(name)} (or AFFECT_{name.upper()}): " if name else ""
        raise ServingError(f"{where}{problem}; see --help") from exc


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="affect-serve",
        description="Serve the models of a directory, or those that a TensorFlow Serving runs, over HTTP and gRPC.",
        notes="Every option can also be given as an environment variable, --http-port as AFFECT_HTTP_PORT; an option "
        f"wins over its variable. A second command, affect-serve {_NEW_KEY}, makes API keys; see its --help.",
        examples=(
            "affect-serve --models models",
            "affect-serve --tfserving tfserving:8500 --host 0.0.0.0 --api-keys-file keys --log-format json",
        ),
        argument_default=argparse.SUPPRESS,
    )
    for name, field in Settings.model_fields.items():
        text = f"{field.description} (default: {_shown(field.default)})"
        parser.add_argument(_flag(name), metavar=_metavar(field), help=text.replace("%", "%%"))
    return parser


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(field: FieldInfo) -> str:
    """Return the word that stands for a setting's value in ``--help``: its choices, or the word of its type."""
    if field.annotation is bool:
        return "true|false"
    if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
        return "|".join(field.annotation)
    return next(one.word for one in field.metadata if isinstance(one, Metavar))


def _shown(default: object) -> str:
    if default in (None, ()):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        # While models load there is nothing to finish. The default action would not end a container's first process.
        loop.add_signal_handler(number, os._exit, _ENDED_BY_SIGNAL + number)
    with bound_socket(settings.host, settings.http_port) as listener:
        async with (
            bound_server(settings) as (rpc_server, rpc_port),
            running_gateway(settings, create_backend(settings)) as gateway,
            serving_calls(rpc_server, *gateway),
        ):
            drain = gateway.services.drain
            for number in _SIGNALS:
                loop.add_signal_handler(number, _handle_signal, drain, number)
            scheme = "grpcs" if settings.tls_cert else "grpc"
            rpc_url = f"{scheme}://{url_host(settings.host)}:{rpc_port}"

            def ready(url: str) -> None:
                print(f"affect-serve: ready on {url} and {rpc_url}", flush=True)  # noqa: T201

            server = HttpServer(create_http_app(*gateway), settings, gateway.metrics, ready)
            _freeze_startup_objects()
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]))
                await drain.wait_begun()
                _log.info("shutting down: reporting not ready, and serving for another %g s", settings.drain_delay_s)
                await drain.wait_delay(settings.drain_delay_s)
                await rpc_server.gate.answers.hold()
                gateway.services.admission.close()
                _log.info("refusing new requests, and finishing those under way within %g s", settings.drain_grace_s)
                server.stop()
                group.create_task(rpc_server.stop(settings.drain_grace_s))


def _freeze_startup_objects() -> None:
    """Exclude the objects made so far from garbage collection: they live to the end, and scanning them takes time."""
    gc.collect()
    gc.freeze()


def _handle_signal(drain: Drain, number: int) -> None:
    """Shut down gracefully at the first signal, at once at a second one.

    An interrupt from a terminal skips the delay, which is for load balancers.
    """
    if drain.begun_for_s() > _SAME_SIGNAL_S:
        logging.shutdown()
        os._exit(_ENDED_BY_SIGNAL + number)
    drain.begin(skip_delay=number == signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
