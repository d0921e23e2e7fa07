"""A certificate of localhost, made by openssl."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """Its files."""

    cert: Path
    key: Path


def self_signed(folder: Path) -> Certificate:
    """One that vouches for itself, and is good for localhost and 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not here")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", made.key, "-out", made.cert),
        ],
        check=True,
        capture_output=True,
    )
    return made
