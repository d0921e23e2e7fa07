"""``affect-predict``: send pictures to a gateway and print its predictions."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from affect_client.connect import connect
from affect_client.credentials import CredentialsError, add_credential_arguments, read_credentials
from affect_client.errors import ServiceUnreachable
from affect_client.http.client import DEFAULT_URL, Client
from affect_client.local_gateway import local_gateway
from affect_client.options import DEFAULT_TIMEOUT_S
from affect_client.predict_many import DEFAULT_IN_FLIGHT, Outcome
from affect_client.rpc.client import GrpcClient
from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser, print_version
from affect_contract.errors import AffectError
from affect_contract.outputs import SCALAR_NAMES
from affect_contract.picture_formats import PICTURE_SUFFIXES, has_picture_suffix

_ANSWERED, _SOME_FAILED, _NOT_ASKED, _INTERRUPTED = 0, 1, 2, 130
_NONE: Final = "-"
_VERSION: Final = "--version"
"""With a number this option selects a version of the model; alone it prints the program's version."""

Writer = Callable[[Path, Outcome], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if a picture failed, 2 if nothing could be sent."""
    words = sys.argv[1:] if arguments is None else arguments
    if list(words) == [_VERSION]:
        print_version("affect-predict")
        return _ANSWERED
    options = _parser().parse_args(words)
    try:
        return _run(options)
    except (ServiceUnreachable, FileNotFoundError, CredentialsError) as exc:
        print(f"affect-predict: {exc}", file=sys.stderr)  # noqa: T201
        return _NOT_ASKED
    except BrokenPipeError:
        # The reader of the pipe, such as `head`, has closed it; what Python flushes at exit must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SOME_FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and for each given folder its pictures at any depth, sorted.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if has_picture_suffix(file) and file.is_file())
            if not inside:
                looked_for = ", ".join(sorted(PICTURE_SUFFIXES))
                raise FileNotFoundError(f"there is no picture in {path}: looked for {looked_for}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"there is no file {path}: name pictures, or folders of pictures")
    return found


def _run(options: argparse.Namespace) -> int:
    files = find_pictures(options.images)
    with _gateway(options) as url, _client(options, url) as client:
        write = _write_json if options.json else _TableWriter(files)
        failures = 0
        # Rows on a terminal show the progress themselves; a bar would break them.
        progress = sys.stderr.isatty() and not sys.stdout.isatty()
        choice = {"backbone": options.backbone, "version": options.version, "label": options.label}
        with closing(client.predict_many(files, in_flight=options.in_flight, progress=progress, **choice)) as answers:
            for file, (_, outcome) in zip(files, answers, strict=True):
                failures += isinstance(outcome, AffectError)
                write(file, outcome)
    return _SOME_FAILED if failures else _ANSWERED


def _client(options: argparse.Namespace, url: str) -> Client | GrpcClient:
    if options.models:
        return connect(url, timeout_s=options.timeout)
    try:
        return connect(url, timeout_s=options.timeout, **read_credentials(options))
    except ValueError as exc:
        raise CredentialsError(f"--ca {options.ca}: {exc}") from exc


@contextmanager
def _gateway(options: argparse.Namespace) -> Iterator[str]:
    if options.models is None:
        yield options.url
        return
    # On SIGTERM the command leaves through `finally`, so that its gateway ends with it.
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        with local_gateway(options.models) as (url, _):
            yield url
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _write_json(file: Path, outcome: Outcome) -> None:
    if isinstance(outcome, AffectError):
        document: dict[str, Any] = {"error": {"code": outcome.code, "detail": outcome.detail}}
    else:
        document = outcome.model_dump(mode="json")
    print(json.dumps({"file": str(file), **document}), flush=True)  # noqa: T201


class _TableWriter:
    """Print a table row by row, as the answers come."""

    def __init__(self, files: list[Path]) -> None:
        self._width = max(len("picture"), *(len(_printable(file)) for file in files))
        self._head = f"{'picture':{self._width}}  {'expression':10}  confidence  {'  '.join(SCALAR_NAMES)}  model"

    def __call__(self, file: Path, outcome: Outcome) -> None:
        if self._head:
            print(self._head)  # noqa: T201
            self._head = ""
        print(f"{_printable(file):{self._width}}  {_cells(outcome)}", flush=True)  # noqa: T201


def _printable(file: Path) -> str:
    """Return a file's name for display, with bytes that are not UTF-8 escaped."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _cells(outcome: Outcome) -> str:
    if isinstance(outcome, AffectError):
        return f"{outcome.code}: {outcome.detail}"
    model = ", ".join(f"{name}@{version}" for name, version in outcome.model.versions.items())
    scalars = "  ".join(f"{_number(getattr(outcome, name), '+.3f'):>{len(name)}}" for name in SCALAR_NAMES)
    return f"{outcome.expression or _NONE:10}  {_number(outcome.confidence, '.3f'):>10}  {scalars}  {model}"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="affect-predict",
        description="Ask a gateway for the expression, valence and arousal of pictures of faces.",
        notes="Exit status: 0 if all pictures were answered, 1 if some were not, 2 without a picture or a gateway.",
        examples=(
            "affect-predict face.jpg",
            "affect-predict faces --url grpc://127.0.0.1:9090 --json",
            "affect-predict face.jpg --models models --backbone mobilenet_v2 --label canary",
        ),
        has_version=False,
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="picture, or folder of pictures at any depth"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--url",
        default=DEFAULT_URL,
        metavar="URL",
        help="address of the gateway: http, https, grpc or grpcs (default: %(default)s)",
    )
    where.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="models directory; a gateway that serves it is started for this one call (default: none, --url is asked)",
    )
    parser.add_argument("--backbone", metavar="NAME", help="backbone to ask (default: the gateway's default)")
    version = parser.add_mutually_exclusive_group()
    version.add_argument(
        "--version",
        type=whole_number(1),
        metavar="N",
        help=f"version of the model to ask (default: stable); {_VERSION} alone prints the program's version",
    )
    version.add_argument(
        "--label", metavar="NAME", help="label of the version to ask, such as canary (default: stable)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="time that one picture may take (default: %(default)g)",
    )
    parser.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=DEFAULT_IN_FLIGHT,
        metavar="N",
        help="most pictures that are asked for at the same time (default: %(default)s)",
    )
    add_credential_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON document per picture, each on its line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
