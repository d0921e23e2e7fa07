"""The options by which a command gets an API key and trusted certificates for a gateway."""

import argparse
import os
from pathlib import Path
from typing import Final, TypedDict

from affect_client.options import validate_api_key

KEY_VARIABLE: Final = "AFFECT_API_KEY"


class Credentials(TypedDict):
    """The API key and the trusted certificates, as keyword arguments of every client."""

    api_key: str | None
    root_certificates: bytes | None


class CredentialsError(Exception):
    """A key or a certificate cannot be used; the message names the source, never the key itself."""


def add_credential_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--api-key-file`` and ``--ca``; no option takes the key itself, since other users see command lines."""
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


def read_credentials(options: argparse.Namespace) -> Credentials:
    """Read the API key and the certificates that the options name; the environment may hold the key.

    Raises:
        CredentialsError: a file cannot be read, or holds no usable key.
    """
    return {"api_key": _key(options.api_key_file), "root_certificates": _read(options.ca) if options.ca else None}


def _key(file: Path | None) -> str | None:
    key = _read(file).decode("utf-8", "replace").strip() if file else os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        if file:
            raise CredentialsError(f"{file} is empty: it should hold a key")
        return None
    try:
        validate_api_key(key)
    except ValueError as exc:
        raise CredentialsError(f"{file or KEY_VARIABLE}: {exc}") from exc
    return key


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise CredentialsError(f"{file} cannot be read: {exc.strerror}") from exc
