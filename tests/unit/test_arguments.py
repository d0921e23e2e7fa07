"""Each type of the commands' arguments takes what it names and refuses anything else with one sentence."""

import argparse
from pathlib import PurePosixPath

import pytest

from affect_contract.arguments import absolute_path, fraction, names, port, positive_number, seconds, whole_number
from affect_contract.outputs import Task

BOTH = (Task.CLASSIFICATION, Task.REGRESSION)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole_number(0), "0", 0),
        (whole_number(1), "1", 1),
        (whole_number(1), "0016", 16),
        (positive_number, "1e-4", 1e-4),
        (seconds, "0.5", 0.5),
        (seconds, "1e3", 1000),
        (fraction, "0", 0),
        (fraction, ".999", 0.999),
        (port, "1", 1),
        (port, "65535", 65535),
        (absolute_path, "/models", PurePosixPath("/models")),
        (names(Task), "regression", (Task.REGRESSION,)),
        (names(Task), "classification,regression", BOTH),
        (names(Task), "classification,,regression,classification,", BOTH),
        (names((Task.REGRESSION,)), "regression", (Task.REGRESSION,)),
    ],
)
def test_what_an_argument_may_be_is_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (whole_number(1), "0", "'0': give a whole number from 1"),
        (whole_number(0), "-1", "'-1': give a whole number from 0"),
        (whole_number(0), "", "'': give a whole number from 0"),
        (whole_number(0), " 1", "' 1': give a whole number from 0"),
        (whole_number(0), "1.0", "give a whole number from 0"),
        (whole_number(0), "1_000", "give a whole number from 0"),
        (whole_number(0), "٣", "'٣': give a whole number from 0"),
        (whole_number(0), "9" * 5000, "give a whole number from 0"),
        *((positive_number, text, f"'{text}': give a number above 0") for text in ("0", "-1", "inf", "nan", "x", "")),
        *((seconds, text, f"'{text}': give a number of seconds above 0") for text in ("0", "-1", "inf", "nan", "10s")),
        *((fraction, text, f"'{text}': give a number from 0 to below 1") for text in ("1", "-0.1", "nan", "half")),
        (port, "0", "'0': give a whole number from 1"),
        (port, "http", "'http': give a whole number from 1"),
        (port, "65536", "'65536': ports end at 65535"),
        (absolute_path, "models", "'models': give an absolute path"),
        (absolute_path, "", "'': give an absolute path"),
        (names(Task), "", "'': choose from classification, regression"),
        (names(Task), ",", "',': choose from classification, regression"),
        (names(Task), "regression,detection", "'detection': choose from classification, regression"),
        (names(Task), "Regression", "'Regression': choose from classification, regression"),
        (names((Task.REGRESSION,)), "classification", "'classification': choose from regression"),
    ],
)
def test_what_an_argument_may_not_be_is_refused_with_what_it_may_be(kind, text, sentence):
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        kind(text)
    assert str(refused.value).endswith(sentence)
