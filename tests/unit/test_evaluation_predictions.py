"""The record of answers: whole rows after any interruption, one writer, nothing taken for a row that is none."""

import pytest

from affect_contract.errors import FAULTS, ErrorCode
from affect_contract.schemas import Failure
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.predictions import AnswerLog, RecordedAnswer, read_recorded_answers


def failure(number: int, code: ErrorCode = ErrorCode.INVALID_IMAGE) -> RecordedAnswer:
    return RecordedAnswer(
        id=str(number), backbone="custom_cnn", error=Failure(code=code, detail="wörk"), latency_ms=number / 3
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "predictions.jsonl"


def write(path, rows):
    with AnswerLog(path) as log:
        for row in rows:
            log.append(row)


def test_rows_come_back_as_they_were(path):
    rows = [failure(number) for number in range(3)]
    write(path, rows[:1])
    write(path, rows[1:])
    assert list(read_recorded_answers(path)) == rows


def test_a_log_reopened_after_any_cut_holds_whole_rows(path):
    rows = [failure(number) for number in range(3)]
    write(path, rows)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        write(path, [])
        kept = list(read_recorded_answers(path))
        assert kept == rows[: whole[:cut].count(b"\n")]


def test_rows_are_on_their_way_to_the_disk_one_by_one(path):
    with AnswerLog(path) as log:
        log.append(failure(1))
        assert list(read_recorded_answers(path)) == [failure(1)]


@pytest.mark.parametrize("code", ErrorCode)
def test_only_what_may_pass_is_left_to_be_asked_again(path, code):
    write(path, [failure(1, code)])
    with AnswerLog(path) as log:
        assert log.settled() == (set() if FAULTS[code].retryable else {("1", "custom_cnn")})


def test_a_second_writer_is_refused_while_the_first_one_writes(path):
    with AnswerLog(path), pytest.raises(EvaluationError, match="another affect-evaluate writes to"):
        AnswerLog(path)
    write(path, [failure(1)])


@pytest.mark.parametrize("line", [b"{}", b"[]", b"no JSON", b'{"id": "1", "backbone": "vgg", "latency_ms": 1}'])
def test_a_line_that_is_no_row_is_named(path, line):
    write(path, [failure(1)])
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(EvaluationError, match="predictions.jsonl, line 2 is no recorded answer"):
        list(read_recorded_answers(path))


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(EvaluationError, match="cannot be written: No such file"):
        AnswerLog(tmp_path / "nowhere" / "predictions.jsonl")
    with pytest.raises(EvaluationError, match="cannot be read: No such file"):
        list(read_recorded_answers(tmp_path / "nowhere"))
