"""The keys that callers need: random, stored as SHA-256, in a file that may change while the gateway runs."""

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
"""Lets scanners for leaked secrets recognise a key."""
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SCHEME: Final = "bearer"
_LOOK_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)

Digests = Mapping[str, bytes]
"""SHA-256 of each key, by the key's name."""


class KeysError(ValueError):
    """A file of keys is none; the text says which line and why, and repeats no key."""


def parse(text: str) -> dict[str, bytes]:
    """The digests in a file of keys: a line ``NAME:SHA256`` each, empty lines and lines that begin with ``#`` left out.

    Raises:
        KeysError: another line, or a name twice.
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
    """Make a key of 256 random bits and append its digest to ``file``, which is made where there is none.

    Raises:
        ServingError: the file cannot be used, or has that name already.
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
    """Who may ask. Without a file everybody may.

    Args:
        file: the keys; looked at again every second, and taken when it has stood still for one.
        metrics: where refusals and failed reloads are counted.

    Raises:
        ServingError: the file cannot be read.
    """

    def __init__(self, file: Path | None, metrics: Metrics) -> None:
        self._file = file
        self._metrics = metrics
        self._digests: tuple[tuple[str, bytes], ...] = ()
        if file is None:
            return
        try:
            self._state = self._seen = _state(file)
            self._take(_read(file))
        except (KeysError, OSError) as exc:
            raise ServingError(f"the keys in {file} of AFFECT_API_KEYS_FILE cannot be used: {exc}") from exc
        if not self._digests:
            _log.warning("%s holds no key: every request is refused until it does", file)

    def check(self, authorization: str) -> str:
        """The name of the key in an ``Authorization`` header; empty where none is needed.

        Raises:
            Unauthorized: it holds no key that is accepted.
        """
        if self._file is None:
            return ""
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip())
        found = ""
        # All of them, so that the time tells nothing of which came close.
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
        """Follow the file for as long as this lasts."""
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
            await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the file if it has changed and is no longer changing; one that cannot be used changes nothing."""
        if self._file is None:
            return
        state = _state(self._file)
        settled, self._seen = state == self._seen, state
        if state == self._state or not settled:
            return
        self._state = state
        try:
            self._take(_read(self._file))
        except (KeysError, OSError) as exc:
            _log.error("the keys in %s cannot be used, the old ones stay: %s", self._file, exc)
            self._metrics.api_keys_failures.inc()
        else:
            _log.info("%s is read again: %d keys", self._file, len(self._digests))

    def _take(self, digests: Digests) -> None:
        self._digests = tuple(digests.items())
        self._metrics.api_keys.set(len(digests))


def _digest(key: str) -> bytes:
    # Keys are random, so that no slow hash is needed to keep them from being guessed.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _read(file: Path) -> dict[str, bytes]:
    try:
        return parse(file.read_text())
    except UnicodeDecodeError as exc:
        raise KeysError("it is no text") from exc


def _state(file: Path) -> tuple[int, ...] | None:
    """What tells one content from the next; None where there is no file that can be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
