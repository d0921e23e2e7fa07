"""Nothing from outside is trusted: no annotation, table or file brings more than an exclusion or one sentence."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from affect_dataset import loading
from affect_dataset.errors import DatasetError
from affect_dataset.exclusions import Reason
from affect_dataset.faces import synthetic
from affect_dataset.faces.__main__ import main as faces_command
from affect_dataset.faces.synthetic import write_faces
from affect_dataset.layouts.annotations import UnusableRow, parse_npy
from affect_dataset.rows import read_rows
from affect_dataset.samples import Split
from affect_testbed.pictures import encoded, patches
from tests.unit.test_dataset import add, write_csv


def npy(value: object, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    npy_format.write_array(file, np.asarray(value), version=version)
    return file.getvalue()


def npy_claiming(descr: str, shape: str, body: bytes = b"\0" * 8) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@given(
    st.one_of(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(min_codepoint=33, max_codepoint=0x10FFFF, exclude_categories=["Cs"]), min_size=1),
    ),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    st.sampled_from([(), (1,), (1, 1)]),
)
def test_every_scalar_that_numpy_writes_is_read(value, version, shape):
    assert parse_npy(npy(np.full(shape, value), version)) == str(np.asarray(value).item())


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", ">i2", "<u4", "|i1", "|S5", ">U5"])
def test_every_kind_of_number_is_read(dtype):
    assert float(parse_npy(npy(np.array(3).astype(dtype)))) == 3


@pytest.mark.parametrize(
    "data",
    [
        npy_claiming("'<f8'", "(10000000000000,)"),
        npy_claiming("'<U500000000'", "()"),
        npy_claiming("'<f8'", "(-1,)"),
        npy_claiming("'<f8'", "(0,)"),
        npy_claiming("'<f8'", "(((("),
        npy_claiming("'<f7'", "()"),
        npy_claiming("[('a', '<f8')]", "()"),
        npy_claiming("'<U1'", "()", b"\xff" * 4),
        npy_claiming("'<f8'", "()", b"\0" * 4),
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04 a torn archive",
        b"3",
    ],
    ids=["huge", "long text", "negative", "empty array", "unclosed", "unknown type", "structured", "no unicode",
         "short", "empty file", "magic alone", "archive", "text"],
)  # fmt: skip
def test_a_file_that_holds_no_scalar_is_no_number(data):
    with pytest.raises(UnusableRow) as caught:
        parse_npy(data)
    assert caught.value.reason is Reason.NOT_A_NUMBER


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_annotations(tail):
    for head in (b"", b"\x93NUMPY\x01\x00", npy("0.5")[:30]):
        try:
            parse_npy(head + tail)
        except UnusableRow as fault:
            assert fault.reason in {Reason.NOT_A_NUMBER, Reason.PICKLED}


@pytest.mark.parametrize(
    "data",
    [npy_claiming("'|O'", "()"), npy_claiming("[('a', '|O')]", "()"), npy(np.array(None, dtype=object)), b"\x80\x04N."],
    ids=["object", "object inside", "as numpy writes it", "bare pickle"],
)
def test_a_pickle_is_refused_unread_as_what_it_is(data):
    with pytest.raises(UnusableRow) as caught:
        parse_npy(data)
    assert caught.value.reason is Reason.PICKLED


def test_an_annotation_as_python_2_wrote_it_is_read():
    assert parse_npy(npy_claiming("'<f8'", "(1L,)", np.float64(0.5).tobytes())) == "0.5"


def test_an_annotation_that_is_a_folder_is_missing(tmp_path):
    add(tmp_path, "good")
    add(tmp_path, "bad", val=None, seed=1)
    (tmp_path / "annotations" / "bad_val.npy").mkdir()
    assert loading.load(tmp_path).counts() == {Reason.UNANNOTATED: 1}


def test_an_annotated_id_without_a_picture_is_counted_and_other_formats_are_tried(tmp_path):
    for name in ("good", "gone", "drawn"):
        add(tmp_path, name)
    (tmp_path / "images" / "gone.jpg").unlink()
    (tmp_path / "images" / "drawn.jpg").rename(tmp_path / "images" / "drawn.bmp")
    (tmp_path / "images" / "drawn.bmp").write_bytes(encoded(patches(), "BMP"))
    for part in ("images", "annotations"):
        (tmp_path / part / "._good.jpg").write_bytes(b"a system's own notes")
        (tmp_path / part / "Thumbs.db").write_bytes(b"likewise")
    dataset = loading.load(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["good"]
    assert {one.id: one.reason for one in dataset.exclusions} == {"drawn": Reason.UNREADABLE, "gone": Reason.MISSING}


def test_no_two_pictures_share_an_id(tmp_path):
    add(tmp_path, "1")
    add(tmp_path, "1.jpg", seed=1)
    picture = tmp_path / "images" / "1.png"
    picture.write_bytes(encoded(patches(seed=2), "PNG"))
    assert [sample.id for sample in loading.load(tmp_path).samples] == ["1.jpg", "1.jpg.jpg", "1.png"]


def test_a_row_with_one_value_out_of_range_and_the_other_missing_is_left_out(tmp_path):
    add(tmp_path, "good")
    add(tmp_path, "bad", val="-2", aro=None, seed=1)
    dataset = loading.load(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["good"]
    assert dataset.counts() == {Reason.UNANNOTATED: 1}


def test_an_excluded_row_says_which_value_is_wrong(tmp_path):
    write_csv(tmp_path, ["1.png,Happy,0.5,-3", "2.png,happiness,0,0", "3.png,1,0,high"])
    dataset = loading.load(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["1.png"]
    assert [one.detail for one in dataset.exclusions] == ["arousal -3", "expression 'happiness'", "arousal 'high'"]


def test_a_path_that_is_no_picture_file_is_counted(tmp_path):
    write_csv(tmp_path, ["1.png,1,0,0", "folder,1,0,0", "nul\0,1,0,0"])
    (tmp_path / "folder").mkdir()
    assert loading.load(tmp_path).counts() == {Reason.UNREADABLE: 1, Reason.MISSING: 1}


def test_a_picture_file_is_read_no_further_than_the_limit(tmp_path, monkeypatch):
    add(tmp_path, "good")
    monkeypatch.setattr("affect_dataset.rows.MAX_PICTURE_BYTES", 100)
    with pytest.raises(DatasetError, match="unreadable picture"):
        loading.load(tmp_path)


def test_rows_are_read_a_bounded_number_ahead(tmp_path):
    add(tmp_path, "1")
    (row,) = loading.affectnet_rows(tmp_path).rows
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield row

    outcomes = read_rows(endless())
    next(outcomes)
    outcomes.close()
    assert taken <= 512


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,expression,valence,arousal,path\n1.png,1,0,0,2.png\n", "names a column twice"),
        ("path,expression,valence,arousal\na,b.png,1,0,0\n", "line 2: more cells than the header has"),
        ('path,expression,valence,arousal\n"1.png"x,1,0,0\n', "cannot be read as CSV"),
        ("path,expression,valence,arousal,split\n1.png,1,0,0,dev\n", "line 2: the split 'dev' is none of train"),
        ("path,expression,valence,arousal,split\n1.png,1,0,0,test\n", "gives no row to train"),
        ("\x89PNG\r\n\x1a\n", "lacks path, expression, valence, arousal"),
        ("", "lacks path, expression, valence, arousal"),
    ],
    ids=["column twice", "comma in a path", "torn quotes", "unknown split", "test alone", "a picture", "empty"],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_line(tmp_path, text, sentence):
    (tmp_path / "faces.csv").write_text(text, newline="")
    with pytest.raises(DatasetError, match=sentence):
        loading.load(tmp_path / "faces.csv")


def test_the_table_with_the_right_columns_is_found_among_others(tmp_path):
    write_csv(tmp_path, ["1.png,1,0,0"])
    (tmp_path / "people.csv").write_text("name,age\nsomebody,30\n")
    assert [sample.id for sample in loading.load(tmp_path).samples] == ["1.png"]
    (tmp_path / "again.csv").write_bytes((tmp_path / "faces.csv").read_bytes())
    with pytest.raises(DatasetError, match="found 3 CSV files, 2 with those columns"):
        loading.load(tmp_path)


def test_a_table_is_found_beside_the_files_that_we_write(tmp_path):
    write_csv(tmp_path, ["1.png,1,0,0"])
    for name in (loading.SPLIT_FILE, loading.EXCLUSIONS_FILE):
        (tmp_path / name).write_bytes((tmp_path / "faces.csv").read_bytes())
    assert len(loading.load(tmp_path).samples) == 1


def test_a_file_name_that_is_no_unicode_is_kept_as_it_is(tmp_path):
    write_csv(tmp_path, ["1.png,1,0,0"])
    odd = os.fsdecode(b"\xff.png")
    (tmp_path / "1.png").rename(tmp_path / odd)
    (tmp_path / "faces.csv").write_bytes(b"path,expression,valence,arousal\n\xff.png,1,0,0\ngone-\xff.png,1,0,0\n")
    dataset = loading.load(tmp_path)
    assert [os.fsencode(sample.id) for sample in dataset.samples] == [b"\xff.png"]
    dataset.write_exclusions(tmp_path / "exclusions.csv")
    assert b"gone-\xff.png," in (tmp_path / "exclusions.csv").read_bytes()


def test_a_table_may_fix_validation_too_and_repeats_go_to_the_stricter_side(tmp_path):
    header = "path,expression,valence,arousal,split"
    write_csv(tmp_path, [f"{n}.png,1,0,0,{part}" for n, part in enumerate(Split)], header=header)
    (tmp_path / "0.png").write_bytes((tmp_path / "1.png").read_bytes())
    dataset = loading.load(tmp_path)
    assert {one.id: one.fixed_split for one in dataset.samples} == {"1.png": Split.VALIDATION, "2.png": Split.TEST}
    assert [(one.id, one.reason) for one in dataset.exclusions] == [("0.png", Reason.REPEATED)]


def test_a_folder_that_cannot_be_listed_is_one_sentence(tmp_path, monkeypatch):
    add(tmp_path, "1")

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("affect_dataset.layouts.affectnet.os.listdir", refuse)
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        loading.load(tmp_path)


def test_faces_that_cannot_be_finished_leave_nothing(tmp_path, monkeypatch, capsys):
    written = 0
    draw = synthetic.draw_face

    def full_disk(*arguments, **options):
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(28, "No space left on device")
        return draw(*arguments, **options)

    monkeypatch.setattr(synthetic, "draw_face", full_disk)
    assert faces_command(["--out", str(tmp_path / "new"), "--count", "8"]) == 2
    assert capsys.readouterr().err == f"faces: {tmp_path / 'new'} cannot be written: No space left on device\n"
    assert not list(tmp_path.iterdir())


def test_faces_are_drawn_into_the_folder_one_stands_in(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_faces(synthetic.Path(), 1)
    assert len(loading.load(tmp_path / "here").samples) == 1


@pytest.mark.parametrize("options", [("--count", "0"), ("--count", "-8"), ("--count", "8", "--seed", "-1")])
def test_numbers_that_draw_no_faces_are_refused(tmp_path, options, capsys):
    with pytest.raises(SystemExit, match="2"):
        faces_command(["--out", str(tmp_path / "new"), *options])
    assert "give a whole number from" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
