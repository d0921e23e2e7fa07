"""Whatever bytes come, each reader gives a result or its one error, in time."""

import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affect_contract.errors import AffectError
from affect_contract.preprocess import preprocess
from tests.conftest import ROOT
from tests.fuzz import examples, hostile
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS

HANG_S = 1.0
REFUSED, TAKEN = dict(hostile.refused()), dict(hostile.taken())
TEXT_OF_FORMS = st.sampled_from(
    [b'Content-Disposition: form-data; name="', b"images", b'"', b"\r\n", b"--b", b"--", b"\r\n\r\n", b":", b";"]
)


def in_time(ask, data):
    """Its own processor time, since others may be at work on the machine."""
    began = time.thread_time()
    ask(data)
    spent = time.thread_time() - began
    assert spent < HANG_S, f"{spent:.1f} s for {len(data):,} bytes"


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_of_the_corpus_breaks_its_reader(name):
    target = TARGETS[name]
    for seed in target.seeds():
        in_time(target.ask, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_reader(name):
    target = TARGETS[name]

    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated(target.seeds()))
    def ask(data):
        in_time(target.ask, data)

    ask()


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.one_of(TEXT_OF_FORMS, st.binary(max_size=4)), max_size=30).map(b"".join))
def test_no_form_put_together_of_what_forms_are_made_of_breaks_the_parser(data):
    in_time(TARGETS["form"].ask, data)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_picture_is_refused_at_once(name):
    began = time.thread_time()
    with pytest.raises(AffectError) as caught:
        preprocess(REFUSED[name])
    assert time.thread_time() - began < HANG_S
    assert re.fullmatch(r"[\x20-\x7e]{10,200}", caught.value.detail)


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_picture_carries_besides_changes_nothing(name):
    began = time.thread_time()
    read = preprocess(TAKEN[name])
    assert time.thread_time() - began < HANG_S
    np.testing.assert_array_equal(read, preprocess(hostile.untouched(name)))


def test_pictures_at_the_limits_are_read_in_time():
    for data in (hostile.png_of_zeros(6_300), hostile.many_scans(20, 1_000)):
        in_time(preprocess, data)


def test_the_corpus_stays_small():
    assert sum(file.stat().st_size for file in (ROOT / "tests/corpus").rglob("*")) < 200_000
