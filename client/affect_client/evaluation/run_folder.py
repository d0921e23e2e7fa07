"""The folder of one run: what it holds never comes from two."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from affect_client.evaluation.errors import EvaluationError
from affect_client.evaluation.pins import Pin
from affect_client.evaluation.predictions import FILE_NAME
from affect_contract.files import write_atomically
from affect_dataset.samples import Sample

RUN_FILE: Final = "run.json"
_KEY: Final = "identity"


class Identity(TypedDict):
    """What makes two runs one and the same."""

    data_digest: str
    split: str
    pictures: str
    """Digest over the ids that are scored."""
    versions: dict[str, dict[str, int]]
    """Version by model name, by backbone."""


def identity(data_digest: str, split: str, samples: Sequence[Sample], chosen: Sequence[Pin]) -> Identity:
    """The identity of a run."""
    return Identity(
        data_digest=data_digest,
        split=split,
        pictures=hashlib.sha256("\n".join(sorted(sample.id for sample in samples)).encode()).hexdigest(),
        versions={pin.backbone.value: dict(pin.versions) for pin in chosen},
    )


def claim(out: Path, run: Identity) -> None:
    """Make ``out`` the folder of a run, or go on with it.

    Raises:
        EvaluationError: it holds another run, or cannot be written.
    """
    file = out / RUN_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if file.exists():
            _require_same(out, _recorded(file), run)
        elif (out / FILE_NAME).exists():
            raise EvaluationError(f"{out} holds predictions of an unknown run: name another folder with --out")
        else:
            write_atomically(file, json.dumps({_KEY: run}, indent=2) + "\n")
    except OSError as exc:
        raise EvaluationError(f"{out} cannot be used for the results: {exc.strerror}") from exc


def _recorded(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))[_KEY])
    except (ValueError, KeyError, TypeError) as exc:
        raise EvaluationError(f"{file} is not what a run writes: name another folder with --out") from exc


def _require_same(out: Path, before: dict[str, Any], now: Identity) -> None:
    different = [key for key, value in now.items() if before.get(key) != value]
    if different:
        names = ", ".join(key.replace("_", " ") for key in different)
        raise EvaluationError(f"{out} holds another run (other {names}): name another folder with --out, or remove it")
