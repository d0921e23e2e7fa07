"""`run.json`, the manifest of a run's folder: the run's identity, its sessions and its timing.

The identity keeps a folder from ever holding the answers of two runs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict, cast

import numpy as np

from affect_contract.atomic_files import write_json
from affect_dataset.samples import Sample
from affect_dataset.shards import WHOLE
from affect_evaluation.errors import EvaluationError
from affect_evaluation.inference.version_pins import Pin
from affect_evaluation.run.predictions import PREDICTIONS_FILE

RUN_FILE: Final = "run.json"

_IDENTITY: Final = "identity"
_SESSIONS: Final = "sessions"
_TIMING: Final = "timing"
_PERCENTILES: Final = (50, 95, 99)


class Identity(TypedDict):
    """The properties that a run keeps from its first session to its last."""

    data_digest: str
    split: str
    shard: str
    """The part of the split, as ``I/N``."""
    pictures: str
    """Digest of the ids of the pictures."""
    versions: dict[str, dict[str, int]]
    """By backbone, the version of each model by name."""


class Session(TypedDict):
    """One session of a run, from its start until its end or interruption."""

    started: str
    """Start in UTC, ISO 8601."""
    seconds: float
    answered: int
    url: str
    host: str


def identity(
    data_digest: str, split: str, samples: Sequence[Sample], chosen: Sequence[Pin], shard: str = str(WHOLE)
) -> Identity:
    """Build the identity of a run from its pictures and pinned versions."""
    return Identity(
        data_digest=data_digest,
        split=split,
        shard=shard,
        pictures=digest_of(samples),
        versions={pin.backbone: dict(pin.versions) for pin in chosen},
    )


def digest_of(samples: Sequence[Sample]) -> str:
    """Return a digest of the pictures' ids that does not depend on their order."""
    return hashlib.sha256("\n".join(sorted(sample.id for sample in samples)).encode()).hexdigest()


def claim(out: Path, run: Identity) -> None:
    """Make ``out`` the folder of a run, or check that it already is.

    Raises:
        EvaluationError: the folder holds another run, or cannot be written.
    """
    file = out / RUN_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if file.exists():
            _require_same(out, read_identity(out), run)
        elif (out / PREDICTIONS_FILE).exists():
            raise EvaluationError(f"{out} holds predictions of an unknown run: name another folder with --out")
        else:
            write_json(file, {_IDENTITY: run, _SESSIONS: []})
    except OSError as exc:
        raise EvaluationError(f"{out} cannot be used for the results: {exc.strerror}") from exc


def read_identity(folder: Path) -> Identity:
    """Read the identity of the run in a folder.

    Raises:
        EvaluationError: the folder holds no run.
    """
    run = _read_document(folder)[_IDENTITY]
    if not isinstance(run, dict):
        raise _not_a_run(folder / RUN_FILE)
    return cast("Identity", run)


def read_sessions(folder: Path) -> list[Session]:
    """Read the sessions of the run in a folder, in order."""
    return list(_read_document(folder).get(_SESSIONS, []))


def add_sessions(folder: Path, more: Sequence[Session]) -> None:
    """Append sessions to those of the run in a folder."""
    document = _read_document(folder)
    document[_SESSIONS] = [*document.get(_SESSIONS, []), *more]
    write_json(folder / RUN_FILE, document)


def read_timing(folder: Path) -> dict[str, Any]:
    """Read the timing of a run: latency in ms by backbone, and pictures per second; empty until it is finished."""
    return dict(_read_document(folder).get(_TIMING, {}))


def write_timing(folder: Path, latencies_ms: Mapping[str, Sequence[float]]) -> None:
    """Write the timing of a finished run, from the latencies of its answers by backbone."""
    document = _read_document(folder)
    seconds = sum(session["seconds"] for session in document.get(_SESSIONS, []))
    answered = sum(session["answered"] for session in document.get(_SESSIONS, []))
    document[_TIMING] = {
        "latency_ms": {name: _latency(values) for name, values in latencies_ms.items() if values},
        "pictures_per_s": answered / seconds if seconds else None,
    }
    write_json(folder / RUN_FILE, document)


def _latency(milliseconds: Sequence[float]) -> dict[str, float]:
    percentiles = {f"p{share}": float(np.percentile(milliseconds, share)) for share in _PERCENTILES}
    return percentiles | {"mean": float(np.mean(milliseconds))}


def _read_document(folder: Path) -> dict[str, Any]:
    file = folder / RUN_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise EvaluationError(f"{folder} is no run of affect-evaluate: it has no {RUN_FILE}") from exc
    except ValueError as exc:
        raise _not_a_run(file) from exc
    if not isinstance(document, dict) or _IDENTITY not in document:
        raise _not_a_run(file)
    return document


def _not_a_run(file: Path) -> EvaluationError:
    return EvaluationError(f"{file} is not what a run writes: name another folder with --out")


def _require_same(out: Path, before: Identity, now: Identity) -> None:
    different = [key for key, value in now.items() if before.get(key) != value]
    if different:
        names = ", ".join(key.replace("_", " ") for key in different)
        raise EvaluationError(f"{out} holds another run (other {names}): name another folder with --out, or remove it")
