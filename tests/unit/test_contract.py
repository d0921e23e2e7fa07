"""The tables that every part reads: errors, models, labels."""

from http import HTTPStatus

import grpc
import pytest

from affect_contract.errors import FAULTS, AffectError, ErrorCode
from affect_contract.labels import LABELS, Expression
from affect_contract.models import MODELS, fused, single
from affect_contract.outputs import Task
from affect_contract.signatures import ALLOWED_BATCH_SIZES, MAX_BATCH_SIZE


def test_every_code_has_one_row_and_one_class():
    assert set(FAULTS) == set(ErrorCode) == set(AffectError.by_code)
    for code, kind in AffectError.by_code.items():
        assert kind.code is code
        assert kind.__mro__[1] is AffectError, "flat: nothing is two levels deep"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_fault_is_one_that_its_transports_know(code):
    fault = FAULTS[code]
    assert 400 <= HTTPStatus(fault.http) < 600
    assert fault.grpc is None or fault.grpc in grpc.StatusCode.__members__


def test_only_what_may_pass_by_itself_is_retryable():
    assert {code for code in ErrorCode if FAULTS[code].retryable} == {"overloaded", "model_not_ready"}


def test_the_labels_stand_in_affectnets_order():
    assert LABELS == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    assert [expression.value for expression in Expression] == list(range(8))


def test_the_model_names_are_those_that_others_rely_on():
    assert sorted(MODELS) == [
        "custom_cnn_classification",
        "custom_cnn_regression",
        "densenet121_affect",
        "densenet121_classification",
        "densenet121_regression",
        "mobilenet_v2_affect",
        "mobilenet_v2_classification",
        "mobilenet_v2_regression",
    ]
    assert MODELS["densenet121_affect"] == fused("densenet121")
    assert [output.name for output in fused("densenet121").outputs] == ["probabilities", "valence", "arousal"]
    assert [output.name for output in single("custom_cnn", Task.REGRESSION).outputs] == ["valence", "arousal"]


def test_the_largest_allowed_batch_is_the_servers_limit():
    assert list(ALLOWED_BATCH_SIZES) == sorted(set(ALLOWED_BATCH_SIZES))
    assert ALLOWED_BATCH_SIZES[-1] == MAX_BATCH_SIZE
