"""Reading annotations: scalars in the cells of a CSV, or in small .npy files of their own."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect_dataset.exclusions import Reason

_MAX_BYTES = 2**16
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"""\s*\{(?=.*?['"]descr['"]:\s*['"](?P<descr>[^'"]*)['"])(?=.*?['"]shape['"]:\s*\((?P<shape>[^)]*)\))""",
    re.DOTALL,
)
_PICKLE_PROTOCOL = b"\x80"
_OBJECT_DTYPE = re.compile(rb"""['"]\|?O\d?['"]""")


class UnusableRow(Exception):
    """A row cannot be used, because of its picture or of one of its annotations."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class CsvAnnotation:
    """An annotation in a cell of a CSV."""

    value: str

    def read(self) -> str:
        """Return the text of the cell.

        Raises:
            UnusableRow: the cell is empty.
        """
        if not self.value:
            raise UnusableRow(Reason.UNANNOTATED)
        return self.value


@dataclass(frozen=True, slots=True)
class NpyAnnotation:
    """An annotation in a .npy file of its own: a scalar, often stored as a string."""

    folder: Path
    name: str

    def read(self) -> str:
        """Return the scalar as text.

        Raises:
            UnusableRow: there is no such file, or not exactly one plain value in it.
        """
        try:
            with (self.folder / self.name).open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError as exc:
            raise UnusableRow(Reason.UNANNOTATED, self.name) from exc
        except OSError as exc:
            raise UnusableRow(Reason.UNANNOTATED, f"{self.name}: {exc.strerror}") from exc
        try:
            return parse_npy(data)
        except UnusableRow as exc:
            raise UnusableRow(exc.reason, self.name) from exc


Annotation = CsvAnnotation | NpyAnnotation


def parse_npy(data: bytes) -> str:
    """Return the single value in the bytes of a .npy file as text.

    ``numpy.load`` is made for trusted files: given others it reserves whatever memory the header asks for, warns, and
    fails in a dozen ways.

    Raises:
        UnusableRow: the bytes are a pickle, or anything else than one string or number.

    Source: NumPy Enhancement Proposal 1, versions 1.0 to 3.0 of the format.
    """
    if data[:1] == _PICKLE_PROTOCOL:
        raise UnusableRow(Reason.PICKLED)
    if data[: len(_MAGIC)] != _MAGIC:
        raise UnusableRow(Reason.NOT_A_NUMBER)
    start = 10 if data[6:7] == b"\x01" else 12
    end = start + int.from_bytes(data[8:start], "little")
    header = data[start:end]
    if _OBJECT_DTYPE.search(header):
        raise UnusableRow(Reason.PICKLED)
    fields = _HEADER.match(header)
    if fields is None or any(int(side) != 1 for side in re.findall(rb"-?\d+", fields["shape"])):
        raise UnusableRow(Reason.NOT_A_NUMBER)
    return _first_value(fields["descr"].decode("ascii", "replace"), data[end:])


def _first_value(descr: str, body: bytes) -> str:
    try:
        value = np.frombuffer(body, np.dtype(descr), count=1)[0].item()
    # SystemError is NumPy's answer to text that is no Unicode.
    except (TypeError, ValueError, SyntaxError, SystemError) as exc:
        raise UnusableRow(Reason.NOT_A_NUMBER) from exc
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
