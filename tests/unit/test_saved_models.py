"""SavedModels and warm-up records are read without TensorFlow, whatever bytes they hold."""

import struct

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from affect_registry.saved_models import SavedModelError, WarmupRecord, masked_crc32c, read_signatures, read_warmup
from tests.unit.sound_models import records


@given(payloads=st.lists(st.binary(max_size=100), max_size=3))
def test_checksums_are_those_that_tensorflow_writes(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("records") / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)
    lengths = [struct.pack("<Q", len(payload)) for payload in payloads]
    framed = (
        length + struct.pack("<I", masked_crc32c(length)) + payload + struct.pack("<I", masked_crc32c(payload))
        for length, payload in zip(lengths, payloads, strict=True)
    )
    assert path.read_bytes() == b"".join(framed)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_signatures_or_an_error_of_their_own(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("version")
    (directory / "saved_model.pb").write_bytes(content)
    try:
        assert read_signatures(directory)
    except SavedModelError as exc:
        assert "saved_model.pb" in str(exc)


@given(content=st.binary(max_size=300) | st.binary(max_size=40).map(lambda tail: records((1, 4)) + tail))
def test_any_bytes_are_warmup_records_or_an_error_of_their_own(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("version") / "warmup"
    path.write_bytes(content)
    try:
        assert all(isinstance(record, WarmupRecord) for record in read_warmup(path))
    except SavedModelError as exc:
        assert "warmup" in str(exc)
