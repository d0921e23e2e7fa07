"""Certificates and keys in files, for those who call the gateway and for those whom it calls."""

from pathlib import Path

from affect_serving.backend import ServingError


def pem(path: Path, setting: str) -> bytes:
    """The content of the file that ``setting`` names.

    Raises:
        ServingError: it cannot be read, or is no PEM file.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ServingError(f"{path} of AFFECT_{setting.upper()} cannot be read: {exc.strerror}") from exc
    if b"-----BEGIN " not in content:
        raise ServingError(f"{path} of AFFECT_{setting.upper()} is no PEM file: give one that holds -----BEGIN ...")
    return content
