"""Data in: layouts recognise themselves, and no row is dropped in silence."""

import csv
from pathlib import Path

import numpy as np
import pytest

from affect_contract.labels import Expression
from affect_dataset import loading
from affect_dataset.errors import DatasetError
from affect_dataset.exclusions import Reason
from affect_dataset.faces.__main__ import main as faces_command
from affect_dataset.faces.synthetic import write_faces
from affect_dataset.samples import Split
from affect_testbed.pictures import encoded, patches


def add(
    folder: Path, name: str, exp: object = "1", val: object = "0.5", aro: object = "-0.25", *, seed: int = 0
) -> None:
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "images" / f"{name}.jpg").write_bytes(encoded(patches(64, 64, seed=seed)))
    for part, value in (("exp", exp), ("val", val), ("aro", aro)):
        if value is not None:
            np.save(folder / "annotations" / f"{name}_{part}.npy", np.asarray(value))


def write_csv(
    folder: Path, rows: list[str], *, name: str = "faces.csv", header: str = "path,expression,valence,arousal"
):
    (folder / name).write_text("\n".join([header, *rows]) + "\n")
    for number, row in enumerate(rows):
        picture = folder / row.split(",")[0]
        if picture.suffix in {".jpg", ".png"}:
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(encoded(patches(32, 32, seed=number)))


@pytest.mark.parametrize(
    ("exp", "val"),
    [("1", "0.5"), (np.bytes_(b"1"), np.bytes_(b"0.5")), (1, 0.5), (np.array([1.0]), np.array([[0.5]])), ("1.0", ".5")],
    ids=["strings", "bytes", "numbers", "arrays of one", "other spellings"],
)
def test_annotations_are_read_however_the_scalar_was_stored(tmp_path, exp, val):
    add(tmp_path, "7", exp, val)
    (sample,) = loading.load(tmp_path).samples
    assert (sample.id, sample.expression, sample.valence, sample.arousal) == ("7", Expression.HAPPY, 0.5, -0.25)


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"exp": "8"}, Reason.EXPRESSION),
        ({"exp": "10", "val": "-2", "aro": "-2"}, Reason.EXPRESSION),
        ({"exp": "-1"}, Reason.EXPRESSION),
        ({"exp": "1.5"}, Reason.EXPRESSION),
        ({"exp": "happily"}, Reason.NOT_A_NUMBER),
        ({"val": "nan"}, Reason.NOT_A_NUMBER),
        ({"aro": np.array(["1", "2"])}, Reason.NOT_A_NUMBER),
        ({"exp": None}, Reason.UNANNOTATED),
        ({"aro": None}, Reason.UNANNOTATED),
        ({"val": np.array({"a": 1}, dtype=object)}, Reason.PICKLED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_row_that_cannot_be_used_is_counted_by_its_reason(tmp_path, annotations, reason):
    add(tmp_path, "good")
    add(tmp_path, "bad", **annotations, seed=1)
    dataset = loading.load(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["good"]
    assert dataset.counts() == {reason: 1}
    dataset.write_exclusions(tmp_path / "exclusions.csv")
    (row,) = csv.DictReader((tmp_path / "exclusions.csv").read_text().splitlines())
    assert (row["id"], row["reason"], row["scope"]) == ("bad", reason, "row")


@pytest.mark.parametrize("value", ["-2", "1.001", "-1.5"])
def test_affect_outside_its_range_leaves_the_row_for_classification(tmp_path, value):
    add(tmp_path, "1", val=value)
    dataset = loading.load(tmp_path)
    (sample,) = dataset.samples
    assert (sample.expression, sample.valence, sample.arousal) == (Expression.HAPPY, None, None)
    assert [(one.reason, one.scope) for one in dataset.exclusions] == [(Reason.AFFECT, "regression")]


def test_a_picture_that_cannot_be_decoded_is_found_before_training(tmp_path):
    add(tmp_path, "good")
    add(tmp_path, "torn", seed=1)
    file = tmp_path / "images" / "torn.jpg"
    file.write_bytes(file.read_bytes()[:500])
    dataset = loading.load(tmp_path)
    assert dataset.counts() == {Reason.UNREADABLE: 1}


def test_pickles_alone_are_refused_with_the_way_to_convert_them(tmp_path):
    add(tmp_path, "1", exp=np.array([1, "a"], dtype=object))
    with pytest.raises(DatasetError, match=r"annotation is pickled \(1\); pickles can run code and are refused"):
        loading.load(tmp_path)


def test_a_parent_of_train_and_validation_set_tests_on_the_latter(tmp_path):
    add(tmp_path / "train_set", "1")
    add(tmp_path / "train_set", "2", seed=1)
    add(tmp_path / "val_set", "1", seed=2)
    dataset = loading.load(tmp_path)
    assert {sample.id: sample.fixed_split for sample in dataset.samples} == {
        "train_set/1": Split.TRAIN,
        "train_set/2": Split.TRAIN,
        "val_set/1": Split.TEST,
    }


def test_a_training_picture_that_is_also_tested_is_left_out_of_training(tmp_path):
    add(tmp_path / "train_set", "1")
    add(tmp_path / "train_set", "2", seed=1)
    add(tmp_path / "val_set", "9", seed=1)
    dataset = loading.load(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["train_set/1", "val_set/9"]
    assert dataset.counts() == {Reason.REPEATED: 1}


def test_a_csv_names_expressions_by_id_or_label_and_may_fix_the_split(tmp_path):
    header = "path,expression,valence,arousal,split"
    write_csv(tmp_path, ["a/1.png,happy,0.5,0.1,train", "2.png,3,-1,1,test"], header=header)
    dataset = loading.load(tmp_path)
    assert [(one.id, one.expression, one.fixed_split) for one in dataset.samples] == [
        ("2.png", Expression.SURPRISE, Split.TEST),
        ("a/1.png", Expression.HAPPY, Split.TRAIN),
    ]
    assert loading.load(tmp_path / "faces.csv").digest == dataset.digest


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("path,emotion,valence,arousal", ["1.png,1,0,0"], "lacks expression: its header must be path,expression"),
        ("path,expression,valence,arousal,age", ["1.png,1,0,0,30"], "unknown column age"),
        ("path,expression,valence,arousal", [], "a header and no rows"),
        ("path,expression,valence,arousal", ["1.png,1,0,0", "1.png,2,0,0"], r"line 3: the path is given twice"),
        ("path,expression,valence,arousal,split", ["1.png,1,0,0,train", "2.png,1,0,0,dev"], "some rows only|'dev'"),
        ("path,expression,valence,arousal,split", ["1.png,1,0,0,train", "2.png,1,0,0,"], "the split of some rows only"),
    ],
    ids=["wrong column", "unknown column", "no rows", "twice", "unknown split", "half a split"],
)
def test_a_csv_that_is_wrong_is_refused_with_what_is_wrong(tmp_path, header, rows, sentence):
    write_csv(tmp_path, rows, header=header)
    with pytest.raises(DatasetError, match=sentence):
        loading.load(tmp_path)


def test_a_csv_row_whose_picture_is_missing_is_counted(tmp_path):
    write_csv(tmp_path, ["1.png,1,0,0", "2.png,1,0,0"])
    (tmp_path / "2.png").unlink()
    assert loading.load(tmp_path).counts() == {Reason.MISSING: 1}


def test_a_folder_without_pictures_or_layout_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="there is no data set"):
        loading.load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="has no known layout: expected images/ and annotations/"):
        loading.load(tmp_path)
    for part in ("images", "annotations"):
        (tmp_path / part).mkdir()
    with pytest.raises(DatasetError, match="there are no pictures in"):
        loading.load(tmp_path)


def test_the_digest_follows_pictures_and_labels_and_nothing_else(tmp_path):
    for folder, value in (("a", "0.5"), ("b", "0.5"), ("c", "0.51")):
        add(tmp_path / folder, "1", val=value)
    digests = [loading.load(tmp_path / folder).digest for folder in "abc"]
    assert digests[0] == digests[1] != digests[2]
    add(tmp_path / "b", "1", seed=1)
    assert loading.load(tmp_path / "b").digest != digests[0]


def test_synthetic_faces_come_in_affectnets_layout_in_equal_numbers(tmp_path):
    write_faces(tmp_path / "faces", 16)
    dataset = loading.load(tmp_path / "faces")
    assert not dataset.exclusions
    assert sorted(sample.expression for sample in dataset.samples) == sorted([*Expression] * 2)
    assert all(sample.valence is not None for sample in dataset.samples)
    stored = np.load(tmp_path / "faces" / "annotations" / "3_exp.npy", allow_pickle=False)
    assert stored.shape == ()
    assert stored.dtype.kind == "U"


def test_a_seed_decides_every_face(tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_faces(tmp_path / folder, 8, seed=seed)
    digests = [loading.load(tmp_path / folder).digest for folder in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_faces_are_never_drawn_into_a_folder_that_holds_something(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is not empty"):
        write_faces(tmp_path, 8)
    assert faces_command(["--out", str(tmp_path), "--count", "8"]) == 2
    assert capsys.readouterr().err.startswith("faces: ")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
