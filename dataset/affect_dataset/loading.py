"""The layouts a data set can have, recognised by themselves.

AffectNet's own, a parent with `train_set/` and `val_set/` of that kind, and a CSV.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from affect_dataset.layouts.affectnet import affectnet_rows, is_affectnet
from affect_dataset.layouts.csv_table import COLUMNS, csv_rows, has_columns
from affect_dataset.rows import Rows, read_rows
from affect_dataset.samples import (
    Dataset,
    DatasetError,
    Exclusion,
    Progress,
    Reason,
    Sample,
    Split,
    data_digest,
    silent,
)

SPLIT_FILE: Final = "split.csv"
EXCLUSIONS_FILE: Final = "exclusions.csv"

_TRAINING = "train_set"
_TEST = "val_set"
_OURS = {SPLIT_FILE, EXCLUSIONS_FILE}
_EXPECTED = (
    f"expected images/ and annotations/, or {_TRAINING}/ and {_TEST}/ with those in each, or one CSV file with the "
    f"columns {', '.join(COLUMNS)}"
)


def load(root: Path, *, progress: Progress = silent) -> Dataset:
    """Read a data set, decoding every picture once.

    Args:
        root: a folder, or a CSV file.
        progress: shown the rows as they are read.

    Raises:
        DatasetError: no layout is recognised, or not one row can be used.
    """
    try:
        total, rows = _rows(root)
    except OSError as exc:
        raise DatasetError(f"the data set {root} cannot be read: {exc.strerror}") from exc
    samples: list[Sample] = []
    exclusions: list[Exclusion] = []
    for sample, excluded in progress(read_rows(rows), total=total, desc="data set", unit="picture"):
        exclusions += excluded
        if sample is not None:
            samples.append(sample)
    samples, repeated = _without_repeats(samples)
    exclusions += repeated
    if not samples:
        raise DatasetError(_nothing_left(root, exclusions))
    samples.sort(key=lambda sample: sample.id)
    return Dataset(root, tuple(samples), tuple(exclusions), data_digest(samples))


def folder_of(root: Path) -> Path:
    """The folder of a data set, beside whose files its split is kept."""
    return root.parent if root.is_file() else root


def _rows(root: Path) -> Rows:
    if not root.exists():
        raise DatasetError(f"there is no data set {root}: {_EXPECTED}")
    if root.is_file():
        return csv_rows(root)
    if is_affectnet(root):
        return affectnet_rows(root)
    if is_affectnet(root / _TRAINING) and is_affectnet(root / _TEST):
        training = affectnet_rows(root / _TRAINING, prefix=f"{_TRAINING}/", fixed_split=Split.TRAIN)
        test = affectnet_rows(root / _TEST, prefix=f"{_TEST}/", fixed_split=Split.TEST)
        return Rows(training.total + test.total, chain(training.rows, test.rows))
    return csv_rows(_only_table(root))


def _only_table(folder: Path) -> Path:
    """The one CSV in a folder, or the only one of several that has a data set's columns."""
    tables = sorted(path for path in folder.glob("*.csv") if path.name not in _OURS)
    fitting = tables if len(tables) == 1 else [table for table in tables if has_columns(table)]
    if len(fitting) != 1:
        raise DatasetError(
            f"{folder} has no layout known here: {_EXPECTED} (found {len(tables)} CSV files, {len(fitting)} with "
            "those columns)"
        )
    return fitting[0]


def _without_repeats(samples: Sequence[Sample]) -> tuple[list[Sample], list[Exclusion]]:
    """Leave out what the data set fixes for training though it fixes the same bytes for validation or test."""
    order = list(Split)
    last: dict[str, int] = {}
    for sample in samples:
        if sample.fixed_split:
            last[sample.digest] = max(last.get(sample.digest, 0), order.index(sample.fixed_split))
    kept: list[Sample] = []
    repeated: list[Exclusion] = []
    for sample in samples:
        if sample.fixed_split and order.index(sample.fixed_split) < last[sample.digest]:
            repeated.append(Exclusion(sample.id, sample.path, Reason.REPEATED))
        else:
            kept.append(sample)
    return kept, repeated


def _nothing_left(root: Path, exclusions: Sequence[Exclusion]) -> str:
    reason, count = Counter(exclusion.reason for exclusion in exclusions).most_common(1)[0]
    first = next(exclusion for exclusion in exclusions if exclusion.reason is reason)
    advice = (
        "; pickles can run code and are refused: save each annotation anew with numpy.save(path, numpy.array(value))"
        if reason is Reason.PICKLED
        else f", first of all {first.path}{f' ({first.detail})' if first.detail else ''}"
    )
    return f"not one of the {len(exclusions):,} rows of {root} can be used: {reason} ({count:,}){advice}"
