"""The thread that writes the log, with readers that are slow, stuck or gone."""

import logging
import os
import threading
import weakref

import pytest

from affect_serving.telemetry.log_writer import LogWriter


@pytest.fixture
def pipe():
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def logger_of(writer):
    logger = logging.Logger("of a test")
    logger.addHandler(writer)
    return logger


def test_lines_are_written_in_order(pipe):
    writer = LogWriter(pipe[1])
    logger = logger_of(writer)
    for number in range(100):
        logger.warning("line %d", number)
    writer.close()
    assert os.read(pipe[0], 2**16).decode().splitlines() == [f"line {number}" for number in range(100)]


def test_a_stuck_reader_delays_nobody_and_learns_later_how_many_lines_it_missed(pipe):
    writer = LogWriter(pipe[1], max_queued=10)
    logger = logger_of(writer)
    for number in range(3_000):  # more than fit into a pipe
        logger.warning("line %d %s", number, "x" * 100)
    accounted_for = []

    def read():
        with os.fdopen(os.dup(pipe[0])) as file:
            while sum(accounted_for) < 3_000:
                line = file.readline()
                accounted_for.append(int(line.split()[0]) if "dropped" in line else 1)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(30)
    writer.close()
    assert not reader.is_alive()
    assert sum(accounted_for) == 3_000, "each line is there, or counted among those that are not"
    assert max(accounted_for) > 1


def test_the_end_does_not_wait_for_a_stuck_reader(pipe):
    writer = LogWriter(pipe[1], max_queued=10)
    logger = logger_of(writer)
    for _ in range(3_000):
        logger.warning("x" * 100)
    writer.close()
    assert os.read(pipe[0], 2**16)


def test_the_end_waits_for_lines_that_are_being_read(pipe):
    before = set(threading.enumerate())
    writer = LogWriter(pipe[1])
    logger_of(writer).warning("the last line")
    logging.shutdown([weakref.ref(writer)])  # holds the handler's lock meanwhile
    assert os.read(pipe[0], 100) == b"the last line\n"
    assert set(threading.enumerate()) <= before


def test_a_non_blocking_pipe_gets_whole_lines(pipe):
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    logger = logger_of(writer)
    for number in range(3_000):
        logger.warning("line %d %s", number, "x" * 100)
    with os.fdopen(os.dup(pipe[0])) as file:
        lines = [file.readline() for _ in range(3_000)]
    writer.close()
    assert lines == [f"line {number} {'x' * 100}\n" for number in range(3_000)]


def test_a_reader_that_is_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    logger_of(writer).warning("nobody hears this")
    writer.close()
    os.close(writing)


def test_a_record_that_cannot_be_formatted_is_reported_as_logging_errors_are(pipe, capsys):
    writer = LogWriter(pipe[1])
    logger_of(writer).warning("%d", "no number")
    writer.close()
    assert "no number" in capsys.readouterr().err
