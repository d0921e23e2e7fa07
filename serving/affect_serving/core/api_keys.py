"""API keys of callers: random, stored as SHA-256 in a file that is reloaded while the gateway runs."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from affect_contract.atomic_files import write_atomically
from affect_contract.errors import Unauthorized
from affect_serving.core.backend import ServingError
from affect_serving.telemetry.metrics import Metrics, Rejection

_PREFIX: Final = "affect_"
"""A prefix by which scanners for leaked secrets recognise a key."""
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SCHEME: Final = "bearer"
_CHECK_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)

Digests = Mapping[str, bytes]
"""SHA-256 of each key, by the key's name."""


class KeysError(ValueError):
    """A file of keys cannot be used; the message names the line and the reason, and repeats no key."""


def parse(text: str) -> dict[str, bytes]:
    """Read the text of a file of keys: one ``NAME:SHA256`` per line, besides empty lines and ``#`` comments.

    Returns:
        The digest of each key, by the key's name.

    Raises:
        KeysError: a line has another form, or a name occurs twice.
    """
    digests: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, digest = entry.partition(":")
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest.lower()):
            raise KeysError(f"line {number} is not NAME:SHA256 in hexadecimal: affect-serve new-key makes such a line")
        if name in digests:
            raise KeysError(f"line {number} names {name} a second time: give each key a name of its own")
        digests[name] = bytes.fromhex(digest)
    return digests


def new_key(name: str, file: Path) -> str:
    """Make a key of 256 random bits, append its digest to ``file``, which is created if needed, and return the key.

    Raises:
        ServingError: the file cannot be used, or has a key of that name already.
    """
    if not _NAME.fullmatch(name):
        raise ServingError(f"{name!r} is no name of a key: take up to 64 letters, digits and . _ @ -")
    try:
        before = file.read_text() if file.exists() else ""
        if name in parse(before):
            raise ServingError(f"{file} has a key named {name} already: delete its line, or take another name")
        key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        text = before if before.endswith("\n") or not before else f"{before}\n"
        write_atomically(file, f"{text}{name}:{_digest(key).hex()}\n")
    except (KeysError, OSError, UnicodeDecodeError) as exc:
        raise ServingError(f"{file}: {exc}") from exc
    return key


class ApiKeys:
    """Checks the API keys of callers; without a file of keys every caller is accepted.

    Args:
        file: the accepted keys; checked every second, and reloaded once a change is a second old.
        metrics: counts refusals and failed reloads.

    Raises:
        ServingError: the file cannot be used.
    """

    def __init__(self, file: Path | None, metrics: Metrics) -> None:
        self._file = file
        self._metrics = metrics
        self._digests: tuple[tuple[str, bytes], ...] = ()
        if file is None:
            return
        try:
            self._loaded_stamp = self._last_stamp = _stamp(file)
            self._accept(_read(file))
        except (KeysError, OSError) as exc:
            raise ServingError(f"the keys in {file} of AFFECT_API_KEYS_FILE cannot be used: {exc}") from exc
        if not self._digests:
            _log.warning("%s holds no key: every request is refused until it does", file)

    def check(self, authorization: str) -> str:
        """Return the name of the key in an ``Authorization`` header; empty if no keys are required.

        Raises:
            Unauthorized: the header holds no accepted key.
        """
        if self._file is None:
            return ""
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip())
        found = ""
        # Compare with every key, so that the time taken reveals nothing about a near match.
        for name, accepted in self._digests:
            if hmac.compare_digest(digest, accepted):
                found = name
        if found and scheme.lower() == _SCHEME:
            return found
        self._metrics.rejected(Rejection.UNAUTHORIZED)
        if not authorization:
            raise Unauthorized("this gateway wants a key: send it as Authorization: Bearer KEY")
        raise Unauthorized("the key is not accepted: send one that is as Authorization: Bearer KEY")

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Reload the file when it changes, for as long as the context is open."""
        if self._file is None:
            yield
            return
        watch = asyncio.create_task(self._watch(), name="watch of the keys")
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> None:
        """Reload the file if it has changed since it was loaded, but not since the last check.

        The second condition avoids reading a file that is being written. A file that cannot be used changes nothing.
        """
        if self._file is None:
            return
        stamp = _stamp(self._file)
        settled, self._last_stamp = stamp == self._last_stamp, stamp
        if stamp == self._loaded_stamp or not settled:
            return
        self._loaded_stamp = stamp
        try:
            self._accept(_read(self._file))
        except (KeysError, OSError) as exc:
            _log.error("the keys in %s cannot be used, the old ones stay: %s", self._file, exc)
            self._metrics.api_keys_failures.inc()
        else:
            _log.info("%s is read again: %d keys", self._file, len(self._digests))

    def _accept(self, digests: Digests) -> None:
        self._digests = tuple(digests.items())
        self._metrics.api_keys.set(len(digests))


def _digest(key: str) -> bytes:
    # Keys are random, so a slow hash, which protects guessable passwords, is not needed.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _read(file: Path) -> dict[str, bytes]:
    try:
        return parse(file.read_text())
    except UnicodeDecodeError as exc:
        raise KeysError("it is no text") from exc


def _stamp(file: Path) -> tuple[int, ...] | None:
    """Return times, size and inode of a file, which change whenever its content does; None if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
