"""The split: stratified, the same everywhere, saved and reused, duplicates on one side."""

import hashlib
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.labels import Expression
from affect_dataset.errors import DatasetError
from affect_dataset.samples import Dataset, Sample, Split, data_digest
from affect_dataset.split import STUDY_FRACTIONS, assign, parse_fractions, read, read_or_assign, write


def sample(
    number: int, *, expression: int | None = None, picture: int | None = None, fixed: Split | None = None
) -> Sample:
    digest = hashlib.sha256(str(number if picture is None else picture).encode()).hexdigest()
    kind = Expression(number % 8 if expression is None else expression)
    return Sample(f"{number:04}", Path(f"{number}.jpg"), kind, 0.0, 0.0, digest, fixed)


def dataset(samples: list[Sample], root: Path = Path()) -> Dataset:
    return Dataset(root, tuple(samples), (), data_digest(samples))


@given(st.integers(1, 200), st.integers(0, 5))
def test_every_expression_is_divided_in_the_same_proportions(count, seed):
    data = dataset([sample(number) for number in range(count)])
    by_id = assign(data, seed=seed).by_id
    assert set(by_id) == {one.id for one in data.samples}
    for expression in Expression:
        pictures = [one for one in data.samples if one.expression is expression]
        counts = Counter(by_id[one.id] for one in pictures)
        for part, share in zip(Split, (0.70, 0.15, 0.15), strict=True):
            assert abs(counts[part] - share * len(pictures)) <= 1


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 12)), min_size=1, max_size=80))
def test_pictures_with_identical_bytes_never_straddle_the_split(rows):
    data = dataset([sample(n, expression=kind, picture=picture) for n, (kind, picture) in enumerate(rows)])
    by_id = assign(data).by_id
    sides: dict[str, set[Split]] = {}
    for one in data.samples:
        sides.setdefault(one.digest, set()).add(by_id[one.id])
    assert all(len(parts) == 1 for parts in sides.values())


def test_the_split_of_known_pictures_never_changes():
    by_id = assign(dataset([sample(number) for number in range(48)])).by_id
    test = sorted(name for name, part in by_id.items() if part is Split.TEST)
    validation = sorted(name for name, part in by_id.items() if part is Split.VALIDATION)
    assert test == GOLDEN_TEST
    assert validation == GOLDEN_VALIDATION


GOLDEN_TEST = ["0000", "0001", "0003", "0007", "0021", "0030", "0042", "0044"]
GOLDEN_VALIDATION = ["0011", "0013", "0015", "0020", "0025", "0034", "0038", "0040"]


def test_the_order_of_the_samples_does_not_matter_and_the_seed_does():
    samples = [sample(number) for number in range(80)]
    first = assign(dataset(samples))
    assert assign(dataset(samples[::-1])).by_id == first.by_id
    assert assign(dataset(samples), seed=1).by_id != first.by_id


def test_a_fixed_split_is_kept_and_validation_is_carved_out_of_training():
    fixed = [sample(n, fixed=Split.TEST if n >= 64 else Split.TRAIN) for n in range(80)]
    counts = Counter(assign(dataset(fixed), fractions=(0.70, 0.15, 0.15)).by_id.values())
    assert counts[Split.TEST] == 16
    assert counts[Split.VALIDATION] == pytest.approx(64 * 0.15 / 0.85, abs=8)
    whole = [replace(one, fixed_split=list(Split)[int(one.id) % 3]) for one in fixed]
    assert assign(dataset(whole)).by_id == {one.id: one.fixed_split for one in whole}


def test_a_saved_split_is_reused_whatever_seed_is_asked_for_later(tmp_path):
    data = dataset([sample(number) for number in range(40)], tmp_path)
    first, place = read_or_assign(data, seed=3)
    again, same = read_or_assign(data, seed=4)
    assert place == same == tmp_path / "split.csv"
    assert again == first
    assert data.digest in place.read_text().splitlines()[0]


def test_a_read_only_folder_is_left_alone_and_the_split_is_the_same(tmp_path):
    data = dataset([sample(number) for number in range(40)], tmp_path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assignment, place = read_or_assign(data)
        assert place is None
        assert not list(tmp_path.iterdir())
        assert assignment == assign(data)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_split_of_other_data_is_refused_with_the_way_out(tmp_path):
    samples = [sample(number) for number in range(40)]
    read_or_assign(dataset(samples, tmp_path))
    grown = dataset([*samples, sample(40)], tmp_path)
    with pytest.raises(
        DatasetError, match="is the split of other data .* remove it to make a new split, or name another"
    ):
        read_or_assign(grown)
    with pytest.raises(DatasetError, match="names 1 picture that is not in .*, '0039' first"):
        read_or_assign(dataset(samples[:-1], tmp_path))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda text: "", "is no split that affect has saved"),
        (lambda text: text.replace("0.7/", "0.7-", 1), "is no split that affect has saved"),
        (lambda text: text.replace("# affect split", "# somebody's"), "is no split that affect has saved"),
        (lambda text: text.replace(",test", ",exam", 1), "expected an id and one of train, validation, test"),
        (lambda text: text + text.splitlines()[2] + "\n", "names 0000 twice"),
        (lambda text: text[: text.rindex("0039")], "leaves out 1 picture that is in .*, '0039' first: remove it"),
        (lambda text: text + '"torn', "cannot be read as CSV"),
    ],
    ids=["empty", "wrong head", "foreign", "unknown part", "repeated", "cut short", "torn"],
)
def test_a_spoilt_split_file_is_refused(tmp_path, spoil, sentence):
    data = dataset([sample(number) for number in range(40)], tmp_path)
    path = tmp_path / "mine.csv"
    write(assign(data), path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DatasetError, match=sentence):
        read(path, data)


@given(st.sets(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=20))
def test_any_file_name_survives_a_saved_split(tmp_path_factory, names):
    samples = [replace(sample(number), id=name) for number, name in enumerate([*sorted(names), "not-\udcff-unicode"])]
    data = dataset(samples)
    path = tmp_path_factory.mktemp("split") / "split.csv"
    kept = assign(data, seed=2, fractions=(1 / 3, 1 / 3, 1 / 3))
    write(kept, path)
    assert read(path, data) == kept


def test_a_changed_fixed_split_makes_the_saved_one_stale(tmp_path):
    fixed = [sample(n, fixed=Split.TEST if n >= 8 else Split.TRAIN) for n in range(16)]
    read_or_assign(dataset(fixed, tmp_path))
    moved = [*fixed[:-1], replace(fixed[-1], fixed_split=Split.TRAIN)]
    with pytest.raises(DatasetError, match="is the split of other data"):
        read_or_assign(dataset(moved, tmp_path))


def test_a_split_that_cannot_be_saved_is_refused(tmp_path):
    data = dataset([sample(number) for number in range(8)], tmp_path)
    with pytest.raises(DatasetError, match="cannot be saved in"):
        read_or_assign(data, path=tmp_path / "nowhere" / "split.csv")


def test_fractions_are_three_shares_of_one_whole_however_they_are_given():
    assert parse_fractions("0.70,0.15,0.15") == STUDY_FRACTIONS
    assert parse_fractions("0.5,0.25,0.25") == (0.5, 0.25, 0.25)
    for text in ("0.5,0.5,0.5", "0.5,0.5", "0.4,0.3,0.2,0.1", "1,0,0", "1.5,-0.25,-0.25", "nan,0.5,0.5", "a,b,c", ""):
        with pytest.raises(ValueError, match="give three fractions above 0 that sum to 1"):
            parse_fractions(text)
    with pytest.raises(ValueError, match="sum to 1"):
        assign(dataset([sample(1)]), fractions=(0.5, 0.5, 0.5))
