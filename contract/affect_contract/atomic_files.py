"""Writing files so that they are whole or not there at all, even if the process dies meanwhile."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replace ``path`` by ``data`` (text as UTF-8) so that a reader sees either the old file or the new one, whole.

    Raises:
        OSError: the folder cannot be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            # mkstemp makes files that only their owner can read; servers that run as other users read these.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace ``path`` by a JSON document, indented for people, as `write_atomically` does.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the document holds a number that JSON cannot express, such as NaN.
    """
    write_atomically(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Make the renames done in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
