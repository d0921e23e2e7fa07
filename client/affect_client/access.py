"""How the commands get into a gateway that wants a key, or speaks TLS with a certificate of its own."""

import argparse
import os
from pathlib import Path
from typing import Final, TypedDict

from affect_client.options import require_key

KEY_VARIABLE: Final = "AFFECT_API_KEY"


class Access(TypedDict):
    """Keyword arguments of every client."""

    api_key: str | None
    root_certificates: bytes | None


class AccessError(Exception):
    """A key or a certificate cannot be used; the text says which, and does not repeat it."""


def add_access_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; a key is none of them, since other users of a machine see its command lines."""
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"file that holds the API key to send (default: the variable {KEY_VARIABLE}, if it is set)",
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="PEM file of the authorities to trust for the gateway's certificate (default: the public ones)",
    )


def access(options: argparse.Namespace) -> Access:
    """What the options and the environment say.

    Raises:
        AccessError: a file cannot be read, or holds no key.
    """
    return {"api_key": _key(options.api_key_file), "root_certificates": _read(options.ca) if options.ca else None}


def _key(file: Path | None) -> str | None:
    key = _read(file).decode("utf-8", "replace").strip() if file else os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        if file:
            raise AccessError(f"{file} is empty: it should hold a key")
        return None
    try:
        require_key(key)
    except ValueError as exc:
        raise AccessError(f"{file or KEY_VARIABLE}: {exc}") from exc
    return key


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise AccessError(f"{file} cannot be read: {exc.strerror}") from exc
