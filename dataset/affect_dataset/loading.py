"""Reading a data set, whichever layout it has.

The layouts are AffectNet's own, a folder whose `train_set/` and `val_set/` have that layout, and a CSV.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from affect_dataset.errors import DatasetError
from affect_dataset.exclusions import Exclusion, Reason
from affect_dataset.layouts.affectnet import affectnet_rows, is_affectnet
from affect_dataset.layouts.csv_table import COLUMNS, csv_rows, has_columns
from affect_dataset.progress import Progress, silent
from affect_dataset.rows import Rows, read_rows
from affect_dataset.samples import Dataset, Sample, Split, data_digest

SPLIT_FILE: Final = "split.csv"
EXCLUSIONS_FILE: Final = "exclusions.csv"

_TRAINING_FOLDER = "train_set"
_TEST_FOLDER = "val_set"
_OWN_FILES = {SPLIT_FILE, EXCLUSIONS_FILE}
_EXPECTED = (
    f"expected images/ and annotations/, or {_TRAINING_FOLDER}/ and {_TEST_FOLDER}/ with those in each, or one CSV "
    f"file with the columns {', '.join(COLUMNS)}"
)


def load(root: Path, *, progress: Progress = silent) -> Dataset:
    """Read a data set, decoding every picture once.

    Args:
        root: a folder, or a CSV file.
        progress: wraps the loop over the rows.

    Raises:
        DatasetError: no layout is recognised, or no row can be used.
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
        raise DatasetError(_nothing_usable(root, exclusions))
    samples.sort(key=lambda sample: sample.id)
    return Dataset(root, tuple(samples), tuple(exclusions), data_digest(samples))


def folder_of(root: Path) -> Path:
    """Return the folder of a data set, in which its split is kept."""
    return root.parent if root.is_file() else root


def _rows(root: Path) -> Rows:
    if not root.exists():
        raise DatasetError(f"there is no data set {root}: {_EXPECTED}")
    if root.is_file():
        return csv_rows(root)
    if is_affectnet(root):
        return affectnet_rows(root)
    if is_affectnet(root / _TRAINING_FOLDER) and is_affectnet(root / _TEST_FOLDER):
        training = affectnet_rows(root / _TRAINING_FOLDER, prefix=f"{_TRAINING_FOLDER}/", fixed_split=Split.TRAIN)
        test = affectnet_rows(root / _TEST_FOLDER, prefix=f"{_TEST_FOLDER}/", fixed_split=Split.TEST)
        return Rows(training.total + test.total, chain(training.rows, test.rows))
    return csv_rows(_only_table(root))


def _only_table(folder: Path) -> Path:
    """Return the one CSV in a folder, or the only one of several that has a data set's columns."""
    tables = sorted(path for path in folder.glob("*.csv") if path.name not in _OWN_FILES)
    fitting = tables if len(tables) == 1 else [table for table in tables if has_columns(table)]
    if len(fitting) != 1:
        raise DatasetError(
            f"{folder} has no known layout: {_EXPECTED} (found {len(tables)} CSV files, {len(fitting)} with "
            "those columns)"
        )
    return fitting[0]


def _without_repeats(samples: Sequence[Sample]) -> tuple[list[Sample], list[Exclusion]]:
    """Exclude pictures whose bytes the data set also fixes for a later part of the split, so that none is in two."""
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


def _nothing_usable(root: Path, exclusions: Sequence[Exclusion]) -> str:
    reason, count = Counter(exclusion.reason for exclusion in exclusions).most_common(1)[0]
    first = next(exclusion for exclusion in exclusions if exclusion.reason is reason)
    advice = (
        "; pickles can run code and are refused: save each annotation again with numpy.save(path, numpy.array(value))"
        if reason is Reason.PICKLED
        else f", the first is {first.path}{f' ({first.detail})' if first.detail else ''}"
    )
    return f"not one of the {len(exclusions):,} rows of {root} can be used: {reason} ({count:,}){advice}"
