"""The split of a data set into training, validation and test pictures: stratified, seeded, saved and reused.

A split follows from the pictures, their labels, the fractions and the seed alone, so it is the same on every machine.
"""

import csv
import hashlib
import io
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affect_contract.atomic_files import write_atomically
from affect_dataset.errors import DatasetError
from affect_dataset.loading import SPLIT_FILE, folder_of
from affect_dataset.samples import Dataset, Sample, Split, encode_names

Fractions = tuple[float, float, float]
"""The shares of the training, validation and test pictures, in this order."""

STUDY_FRACTIONS: Final[Fractions] = (0.70, 0.15, 0.15)
"""The fractions of the study, and the default of every new split."""

_NUMBER = r"\d+(?:\.\d+)?(?:e-\d+)?"
_HEADER = re.compile(
    r"# affect split: data=(?P<data>[0-9a-f]{64}) seed=(?P<seed>-?\d+) "
    rf"fractions=(?P<train>{_NUMBER})/(?P<validation>{_NUMBER})/(?P<test>{_NUMBER})"
)
_COLUMNS = ["id", "split"]
_SUM_TOLERANCE: Final = 1e-9
_REMEDY = "remove it to make a new split, or name another file with --split-file"


@dataclass(frozen=True)
class Assignment:
    """The split of one data set: which part each of its pictures is assigned to."""

    by_id: Mapping[str, Split]
    data_digest: str
    seed: int
    fractions: Fractions

    def samples(self, dataset: Dataset, part: Split) -> list[Sample]:
        """Return the samples of one part, in the order of the data set."""
        return [sample for sample in dataset.samples if self.by_id[sample.id] is part]


def assign(dataset: Dataset, *, seed: int = 0, fractions: Fractions = STUDY_FRACTIONS) -> Assignment:
    """Divide a data set so that each expression has the same proportions, and identical pictures are in the same part.

    Pictures whose part the data set fixes stay in it; if it fixes no validation pictures, they are taken from its
    training pictures, in the proportion of the first two fractions.

    Raises:
        ValueError: the fractions are not three numbers above 0 that sum to 1.
    """
    _require_fractions(fractions)
    shares = dict(zip(Split, fractions, strict=True))
    by_id = {sample.id: sample.fixed_split for sample in dataset.samples if sample.fixed_split}
    to_divide: Sequence[Sample] = dataset.samples
    if by_id:
        del shares[Split.TEST]
        has_validation = Split.VALIDATION in by_id.values()
        to_divide = [one for one in dataset.samples if one.fixed_split is Split.TRAIN and not has_validation]
    for groups in _identical_groups(to_divide).values():
        ordered = sorted(groups, key=lambda group: _order_key(seed, group[0].digest))
        by_id |= _divide(ordered, shares)
    return Assignment(by_id, dataset.digest, seed, fractions)


def parse_fractions(text: str) -> Fractions:
    """Return fractions from three numbers separated by commas.

    Raises:
        ValueError: they are not above 0, or do not sum to 1; the text is a sentence for the user.
    """
    try:
        train, validation, test = map(float, text.split(","))
        _require_fractions((train, validation, test))
    except ValueError as exc:
        raise ValueError(f"{text!r}: give three fractions above 0 that sum to 1") from exc
    return train, validation, test


def read_or_assign(
    dataset: Dataset, *, path: Path | None = None, seed: int = 0, fractions: Fractions = STUDY_FRACTIONS
) -> tuple[Assignment, Path | None]:
    """Read the saved split of a data set; if there is none, divide the data set and save the split.

    Args:
        dataset: the data set to divide.
        path: the file of the split, by default `split.csv` in the folder of the data set.
        seed: the seed of a new split.
        fractions: the fractions of a new split.

    Returns:
        The split, and the file that holds it or None if the folder of the data set is read-only.

    Raises:
        DatasetError: the saved split is that of other data, or cannot be read or written.
    """
    place = path or folder_of(dataset.root) / SPLIT_FILE
    if place.exists():
        return read(place, dataset), place
    assignment = assign(dataset, seed=seed, fractions=fractions)
    if path is None and not _is_writable(place.parent):
        return assignment, None
    write(assignment, place)
    return assignment, place


def read(path: Path, dataset: Dataset) -> Assignment:
    """Read a saved split of ``dataset``.

    Raises:
        DatasetError: the file holds no split, or one of other data.
    """
    header, rows = _read_lines(path)
    fields = _HEADER.fullmatch(header)
    if fields is None or not rows or rows[0] != _COLUMNS:
        raise DatasetError(f"{path} is no split that affect has saved: {_REMEDY}")
    by_id = _parse_rows(path, rows[1:])
    _require_same_data(path, by_id, fields["data"], dataset)
    fractions = (float(fields["train"]), float(fields["validation"]), float(fields["test"]))
    return Assignment(by_id, fields["data"], int(fields["seed"]), fractions)


def write(assignment: Assignment, path: Path) -> None:
    """Save a split as CSV, after a comment line with its data digest, seed and fractions.

    Raises:
        DatasetError: the file cannot be written.
    """
    text = io.StringIO()
    fractions = "/".join(map(repr, assignment.fractions))
    text.write(f"# affect split: data={assignment.data_digest} seed={assignment.seed} fractions={fractions}\n")
    # Python's csv leaves a carriage return in a name unquoted, and then reads it as the end of a line.
    odd = any("\r" in name for name in assignment.by_id)
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL)
    writer.writerow(_COLUMNS)
    writer.writerows(sorted(assignment.by_id.items()))
    try:
        write_atomically(path, encode_names(text.getvalue()))
    except OSError as exc:
        raise DatasetError(f"the split cannot be saved in {path}: {exc.strerror}") from exc


def _require_fractions(fractions: Fractions) -> None:
    if not all(share > 0 for share in fractions) or abs(sum(fractions) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"{fractions} are not three fractions above 0 that sum to 1")


def _identical_groups(samples: Iterable[Sample]) -> dict[int, list[list[Sample]]]:
    """Group samples with identical bytes, and return the groups by the expression of their first sample."""
    by_digest: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_digest[sample.digest].append(sample)
    groups: dict[int, list[list[Sample]]] = defaultdict(list)
    for same in by_digest.values():
        groups[same[0].expression].append(same)
    return groups


def _order_key(seed: int, digest: str) -> str:
    return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()


def _divide(groups: Sequence[list[Sample]], shares: Mapping[Split, float]) -> dict[str, Split]:
    """Give each part its share of the pictures, to within one group of identical ones."""
    total = sum(len(group) for group in groups)
    bounds: list[tuple[float, Split]] = []
    reached = 0.0
    for part, share in shares.items():
        reached += share / sum(shares.values()) * total
        bounds.append((reached, part))
    by_id: dict[str, Split] = {}
    for group in groups:
        # A group goes to the part in which its middle falls.
        middle = len(by_id) + len(group) / 2
        part = next((part for bound, part in bounds if middle <= bound), bounds[-1][1])
        by_id |= dict.fromkeys((sample.id for sample in group), part)
    return by_id


def _read_lines(path: Path) -> tuple[str, list[list[str]]]:
    """Return the first line of a split file, and the cells of the others."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().rstrip("\r\n"), list(csv.reader(file, strict=True))
    except OSError as exc:
        raise DatasetError(f"the split {path} cannot be read: {exc.strerror}") from exc
    except csv.Error as exc:
        raise DatasetError(f"the split {path} cannot be read as CSV: {exc}") from exc


def _parse_rows(path: Path, rows: Sequence[list[str]]) -> dict[str, Split]:
    by_id: dict[str, Split] = {}
    for line, row in enumerate(rows, start=3):
        if len(row) != len(_COLUMNS) or row[1] not in set(Split):
            raise DatasetError(f"{path}, line {line}: expected an id and one of {', '.join(Split)}, not {row}")
        by_id[row[0]] = Split(row[1])
    repeated = [name for name, count in Counter(row[0] for row in rows).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path} names {repeated[0]} twice")
    return by_id


def _require_same_data(path: Path, by_id: Mapping[str, Split], data_digest: str, dataset: Dataset) -> None:
    there = {sample.id for sample in dataset.samples}
    absent, unassigned = sorted(set(by_id) - there), sorted(there - set(by_id))
    if absent:
        raise DatasetError(
            f"{path} names {_count_pictures(absent)} not in {dataset.root}, {absent[0]!r} first: put them back, "
            f"{_REMEDY}"
        )
    if data_digest != dataset.digest:
        raise DatasetError(
            f"{path} is the split of other data than {dataset.root} holds now (pictures or labels have changed): "
            f"{_REMEDY}"
        )
    if unassigned:
        raise DatasetError(
            f"{path} leaves out {_count_pictures(unassigned)} in {dataset.root}, {unassigned[0]!r} first: {_REMEDY}"
        )


def _count_pictures(ids: Sequence[str]) -> str:
    return f"{len(ids):,} picture{'s that are' if len(ids) > 1 else ' that is'}"


def _is_writable(folder: Path) -> bool:
    """Whether a folder may be written. A folder that its owner made read-only may not, even by root."""
    return bool(folder.stat().st_mode & stat.S_IWUSR) and os.access(folder, os.W_OK)
