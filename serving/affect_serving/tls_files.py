"""Certificates and private keys, read from the files that the settings name."""

import ssl
from pathlib import Path

from affect_serving.core.backend import ServingError
from affect_serving.settings import Settings


def pem(path: Path, setting: str) -> bytes:
    """Read the PEM file at ``path``, which ``setting`` names.

    Raises:
        ServingError: the file cannot be read, or is not a PEM file.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ServingError(f"{path} of AFFECT_{setting.upper()} cannot be read: {exc.strerror}") from exc
    if b"-----BEGIN " not in content:
        raise ServingError(f"{path} of AFFECT_{setting.upper()} is no PEM file: give one that holds -----BEGIN ...")
    return content


def key_and_certificate(settings: Settings) -> tuple[bytes, bytes] | None:
    """Return the gateway's own private key and certificate chain, both PEM; None where it serves without TLS.

    Raises:
        ServingError: a file cannot be used, or the key does not belong to the certificate.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    pair = pem(settings.tls_key, "tls_key"), pem(settings.tls_cert, "tls_cert")
    try:
        # With an empty password OpenSSL refuses an encrypted key instead of asking for a password at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ssl.SSLError) as exc:
        raise ServingError(
            f"the certificate of AFFECT_TLS_CERT cannot be used with the key of AFFECT_TLS_KEY: {exc}"
        ) from exc
    return pair
