"""Certificates and keys in files, for those who call the gateway and for those whom it calls."""

import ssl
from pathlib import Path

from affect_serving.core.backend import ServingError
from affect_serving.settings import Settings


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


def key_and_certificate(settings: Settings) -> tuple[bytes, bytes] | None:
    """What the gateway shows of itself; None where it does without TLS.

    Raises:
        ServingError: they cannot be used, or not together.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    pair = pem(settings.tls_key, "tls_key"), pem(settings.tls_cert, "tls_cert")
    try:
        # Without a password nobody is asked for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ssl.SSLError) as exc:
        raise ServingError(
            f"the certificate of AFFECT_TLS_CERT cannot be used with the key of AFFECT_TLS_KEY: {exc}"
        ) from exc
    return pair
