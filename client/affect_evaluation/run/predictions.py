"""`predictions.jsonl`, the log of a run: every answer as it came, from which all results are computed."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pydantic
from pydantic import BaseModel, ConfigDict

from affect_contract.backbones import BackboneName
from affect_contract.errors import FAULTS
from affect_contract.schemas import Failure, Prediction
from affect_evaluation.errors import EvaluationError

PREDICTIONS_FILE: Final = "predictions.jsonl"


class RecordedAnswer(BaseModel):
    """The outcome of sending one picture to one backbone: an answer or an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The picture's id in its data set."""
    backbone: BackboneName
    answer: Prediction | None = None
    versions: dict[str, int] = {}
    """Versions that gave the answer, by model name."""
    error: Failure | None = None
    latency_ms: float
    """Milliseconds from the last attempt to its answer."""

    @property
    def is_settled(self) -> bool:
        """Whether the answer is final; a retryable error is not."""
        return self.error is None or not FAULTS[self.error.code].retryable


class AnswerLog:
    """An append-only file of recorded answers, intact even if the process is killed at any moment.

    Raises:
        EvaluationError: another process writes the file, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab")
        except OSError as exc:
            raise EvaluationError(f"{path} cannot be written: {exc.strerror}") from exc
        try:
            self._lock()
            _cut_torn_line(path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, recorded: RecordedAnswer) -> None:
        """Append one answer; it has reached the operating system when this returns."""
        self._file.write(recorded.model_dump_json(exclude_unset=True).encode() + b"\n")
        self._file.flush()

    def settled(self) -> set[tuple[str, BackboneName]]:
        """Return picture id and backbone of every answer that is final."""
        return {(one.id, one.backbone) for one in read_recorded_answers(self._path) if one.is_settled}

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise EvaluationError(
                f"another affect-evaluate writes to {self._path.parent} now: wait for it, or name another --out"
            ) from exc


def read_recorded_answers(path: Path) -> Iterator[RecordedAnswer]:
    """Yield the recorded answers of a file.

    Raises:
        EvaluationError: the file cannot be read, or a line is not a recorded answer.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield _parse(path, number, line)
    except OSError as exc:
        raise EvaluationError(f"{path} cannot be read: {exc.strerror}") from exc


def _parse(path: Path, number: int, line: bytes) -> RecordedAnswer:
    try:
        return RecordedAnswer.model_validate_json(line)
    except pydantic.ValidationError as exc:
        raise EvaluationError(f"{path}, line {number} is no recorded answer: remove the line to ask anew") from exc


def _cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line that a killed process has left."""
    complete_bytes = 0
    with path.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                complete_bytes += len(line)
        file.truncate(complete_bytes)
