"""``affect-predict``: what a gateway says of some pictures."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from affect_client.errors import ServiceUnreachable
from affect_client.http import DEFAULT_URL, Client
from affect_client.local_gateway import local_gateway
from affect_contract.errors import AffectError, InvalidImage
from affect_contract.schemas import Prediction

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_SOME_FAILED, _NOTHING_ASKED = 1, 2
_NONE = "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status: 1 when a picture failed, 2 when none could be asked."""
    options = _parser().parse_args(arguments)
    try:
        files = find_pictures(options.images)
        with _gateway(options) as url, Client(url) as client:
            return _report(options, client, files)
    except (ServiceUnreachable, FileNotFoundError) as exc:
        print(f"affect-predict: {exc}", file=sys.stderr)  # noqa: T201
        return _NOTHING_ASKED


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the pictures in the folders named, at any depth, in order.

    Raises:
        FileNotFoundError: a path that is not there, or a folder without a picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
            if not inside:
                raise FileNotFoundError(f"there is no picture in {path}: looked for {', '.join(sorted(_SUFFIXES))}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"there is no file {path}")
    return found


@contextmanager
def _gateway(options: argparse.Namespace) -> Iterator[str]:
    with local_gateway(options.models) if options.models else nullcontext(options.url) as url:
        yield url


def _report(options: argparse.Namespace, client: Client, files: list[Path]) -> int:
    write = _write_json if options.json else _TableWriter(files)
    failures = 0
    for file in files:
        answer = _ask(options, client, file)
        failures += isinstance(answer, AffectError)
        write(file, answer)
    return _SOME_FAILED if failures else 0


def _ask(options: argparse.Namespace, client: Client, file: Path) -> Prediction | AffectError:
    try:
        picture = file.read_bytes()
    except OSError as exc:
        return InvalidImage(f"the file cannot be read: {exc.strerror}")
    try:
        return client.predict(picture, backbone=options.backbone, version=options.version, label=options.label)
    except AffectError as exc:
        return exc


def _write_json(file: Path, answer: Prediction | AffectError) -> None:
    if isinstance(answer, AffectError):
        document: dict[str, Any] = {"error": {"code": answer.code, "detail": answer.detail}}
    else:
        document = answer.model_dump(mode="json")
    print(json.dumps({"file": str(file), **document}), flush=True)  # noqa: T201


class _TableWriter:
    """A table, a row as each answer comes."""

    def __init__(self, files: list[Path]) -> None:
        self._width = max(len("picture"), *(len(str(file)) for file in files))
        self._head = f"{'picture':{self._width}}  {'expression':10}  confidence  valence  arousal  model"

    def __call__(self, file: Path, answer: Prediction | AffectError) -> None:
        if self._head:
            print(self._head)  # noqa: T201
            self._head = ""
        print(f"{file!s:{self._width}}  {_cells(answer)}", flush=True)  # noqa: T201


def _cells(answer: Prediction | AffectError) -> str:
    if isinstance(answer, AffectError):
        return f"{answer.code}: {answer.detail}"
    model = ", ".join(f"{name}@{version}" for name, version in answer.model.versions.items())
    return (
        f"{answer.expression or _NONE:10}  {_number(answer.confidence, '.3f'):>10}  "
        f"{_number(answer.valence, '+.3f'):>7}  {_number(answer.arousal, '+.3f'):>7}  {model}"
    )


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affect-predict", description="Read expression, valence and arousal off pictures of faces."
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="picture, or folder of pictures")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default=DEFAULT_URL, help="a running gateway (default: %(default)s)")
    where.add_argument("--models", type=Path, help="a models directory: serve it for the time of this call")
    parser.add_argument("--backbone", help="the network to ask (default: the gateway's)")
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--version", type=int, help="the version to ask (default: stable)")
    version.add_argument("--label", help="the label of the version to ask (default: stable)")
    parser.add_argument("--json", action="store_true", help="one JSON document a picture and line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
