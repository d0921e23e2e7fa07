"""The layouts a data set can have, recognised by themselves.

AffectNet's (`images/ID.jpg`, `annotations/ID_exp.npy`, `ID_val.npy`, `ID_aro.npy`), a parent with `train_set/` and
`val_set/` of that kind, and a CSV with the columns path, expression, valence, arousal and, if there is one, split.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from affect_dataset.rows import Npy, Row, Text, read_rows
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

SPLIT_FILE = "split.csv"
EXCLUSIONS_FILE = "exclusions.csv"

_COLUMNS = ("path", "expression", "valence", "arousal")
_OPTIONAL_COLUMN = "split"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_OURS = {SPLIT_FILE, EXCLUSIONS_FILE}


def load(root: Path, *, progress: Progress = silent) -> Dataset:
    """Read a data set, decoding every picture once.

    Args:
        root: a folder, or a CSV file.
        progress: shown the rows as they are read.

    Raises:
        DatasetError: no layout is recognised, or not one row can be used.
    """
    rows = _rows(root)
    samples: list[Sample] = []
    exclusions: list[Exclusion] = []
    for sample, excluded in progress(read_rows(rows), total=len(rows), desc="data set", unit="picture"):
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


def _rows(root: Path) -> Sequence[Row]:
    if not root.exists():
        raise DatasetError(f"there is no data set {root}")
    if root.is_file():
        return list(_csv_rows(root))
    if _is_affectnet(root):
        return list(_affectnet_rows(root))
    if _is_affectnet(root / "train_set") and _is_affectnet(root / "val_set"):
        training = _affectnet_rows(root / "train_set", prefix="train_set/", fixed_split=Split.TRAIN)
        return [*training, *_affectnet_rows(root / "val_set", prefix="val_set/", fixed_split=Split.TEST)]
    tables = sorted(path for path in root.glob("*.csv") if path.name not in _OURS)
    if len(tables) == 1:
        return list(_csv_rows(tables[0]))
    raise DatasetError(
        f"{root} has no layout known here: expected images/ and annotations/, or train_set/ and val_set/ with those "
        f"in each, or one CSV file with the columns {', '.join(_COLUMNS)} (found {len(tables)} CSV files)"
    )


def _is_affectnet(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "annotations").is_dir()


def _affectnet_rows(folder: Path, *, prefix: str = "", fixed_split: Split | None = None) -> Iterator[Row]:
    pictures = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in _SUFFIXES)
    if not pictures:
        raise DatasetError(f"there are no pictures in {folder / 'images'}: expected files ID.jpg (or .png, .webp)")
    stems = Counter(path.stem for path in pictures)
    annotations = folder / "annotations"
    for path in pictures:
        # Two files of one id share annotations; the whole name then keeps their ids apart.
        name = path.stem if stems[path.stem] == 1 else path.name
        expression, valence, arousal = (Npy(annotations / f"{path.stem}_{part}.npy") for part in ("exp", "val", "aro"))
        yield Row(f"{prefix}{name}", path, expression, valence, arousal, fixed_split)


def _csv_rows(table: Path) -> Iterator[Row]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(table, reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"{table} cannot be read as CSV: {exc}") from exc
    if not rows:
        raise DatasetError(f"there are no pictures in {table}: it has a header and no rows")
    _check_splits(table, rows)
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        name = (row["path"] or "").strip()
        if not name or name in seen:
            raise DatasetError(f"{table}, row {line}: the path is {'given twice' if name else 'empty'} ({name!r})")
        seen.add(name)
        expression, valence, arousal = (Text((row[column] or "").strip()) for column in _COLUMNS[1:])
        yield Row(name, table.parent / name, expression, valence, arousal, _fixed_split(table, line, row))


def _check_columns(table: Path, found: Sequence[str]) -> None:
    missing = [column for column in _COLUMNS if column not in found]
    unknown = [column for column in found if column not in (*_COLUMNS, _OPTIONAL_COLUMN)]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has the unknown column {', '.join(unknown)}"
        raise DatasetError(
            f"{table} {wrong}: its header must be {','.join(_COLUMNS)}, and {_OPTIONAL_COLUMN} if the split is fixed"
        )


def _check_splits(table: Path, rows: Sequence[dict[str, str]]) -> None:
    given = {(row.get(_OPTIONAL_COLUMN) or "").strip() for row in rows}
    if given != {""} and ("" in given or not {Split.TRAIN, Split.TEST} <= given):
        raise DatasetError(
            f"{table} fixes the split of some rows only: give every row one of {', '.join(Split)}, with some for "
            f"{Split.TRAIN} and some for {Split.TEST}, or leave the column out"
        )


def _fixed_split(table: Path, line: int, row: dict[str, str]) -> Split | None:
    value = (row.get(_OPTIONAL_COLUMN) or "").strip()
    if value and value not in set(Split):
        raise DatasetError(f"{table}, row {line}: the split {value!r} is none of {', '.join(Split)}")
    return Split(value) if value else None


def _without_repeats(samples: list[Sample]) -> tuple[list[Sample], list[Exclusion]]:
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


def _nothing_left(root: Path, exclusions: list[Exclusion]) -> str:
    reason, count = Counter(exclusion.reason for exclusion in exclusions).most_common(1)[0]
    advice = (
        "; pickles can run code and are refused: save each annotation anew with numpy.save(path, numpy.array(value))"
        if reason is Reason.PICKLED
        else f", first of all {exclusions[0].path}"
    )
    return f"not one of the {len(exclusions):,} rows of {root} can be used: {reason} ({count:,}){advice}"
