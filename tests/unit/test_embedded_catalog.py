"""The catalogs of the embedded backend while versions come, go and fail; no runtime is needed."""

from pathlib import PurePosixPath

import pytest

from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE, END
from affect_registry.store import Entry
from affect_serving.backends.embedded.catalog import (
    limited_to,
    merged,
    needed,
    offered,
    unanswered,
    with_failures,
    with_loading,
)
from affect_serving.core.backend import Selector, Version
from affect_serving.core.routing import route

FUSED = fused("mobilenet_v2")
EXPRESSION, AFFECT = (single("mobilenet_v2", task) for task in Task)
OTHER = fused("densenet121")


def entry(model, *versions, **labels):
    return Entry(model.name, PurePosixPath("/models") / model.name, versions, labels)


def offer(*entries):
    return offered({one.name: one for one in entries}, ())


def after(before, coming, **failing):
    """The catalog after ``coming`` has been loaded, except for versions that fail, given by model name."""
    failures = {(FUSED if name == "fused" else EXPRESSION, number): "broken" for name, number in failing.items()}
    marked = with_failures(coming, failures)
    return merged(before, limited_to(marked, [*needed(marked), *failures]))


def answering(catalog, **selector):
    models = route(catalog, "mobilenet_v2", Selector(**selector))
    return [model.name.removeprefix("mobilenet_v2_") for model in models]


def test_the_fused_model_or_else_the_pair_is_loaded_never_both():
    everything = offer(*(entry(model, 1, stable=1) for model in (FUSED, EXPRESSION, AFFECT)))
    assert needed(everything) == [(FUSED, 1)]
    assert set(needed(with_failures(everything, {(FUSED, 1): "broken"}))) == {(EXPRESSION, 1), (AFFECT, 1)}


def test_a_pair_that_is_listed_without_a_label_takes_nothing_from_the_fused_model():
    before = after({}, offer(*(entry(model, 1, stable=1) for model in (FUSED, EXPRESSION, AFFECT))))
    listed = offer(entry(FUSED, 1, stable=1), *(entry(model, 1, 2, stable=1) for model in (EXPRESSION, AFFECT)))
    both = after(before, listed)
    assert both[EXPRESSION] == (Version(2, AVAILABLE, ()),)
    assert answering(both) == ["affect"]
    assert answering(both, version=2) == ["classification", "regression"]


def test_a_version_that_is_being_loaded_is_listed_and_gets_no_requests():
    before = offer(entry(FUSED, 1, stable=1))
    during = with_loading(before, [(FUSED, 2), (EXPRESSION, 2), (OTHER, 1)])
    assert during == {
        FUSED: (Version(1, AVAILABLE, ("stable",)), Version(2, "LOADING", ())),
        EXPRESSION: (Version(2, "LOADING", ()),),
    }, "a backbone that never answered is not announced: a gateway waits for what is listed"
    assert answering(during) == ["affect"]


@pytest.mark.parametrize("listed", [(2,), (1, 2)], ids=["in place of the old", "beside the old"])
def test_a_stable_label_on_a_version_that_fails_leaves_the_backbone_as_it_was(listed):
    before = offer(entry(FUSED, 1, stable=1))
    now = after(before, offer(entry(FUSED, *listed, stable=2)), fused=2)
    assert now[FUSED] == (Version(1, AVAILABLE, ("stable",)), Version(2, END, (), "broken"))
    assert answering(now) == ["affect"]


def test_a_canary_that_fails_takes_nothing_from_the_stable_version():
    before = offer(entry(FUSED, 1, stable=1))
    now = after(before, offer(entry(FUSED, 1, 2, stable=1, canary=2)), fused=2)
    assert now[FUSED][1] == Version(2, END, ("canary",), "broken")
    assert answering(now) == ["affect"]


def test_a_canary_that_answers_stays_where_the_next_one_fails():
    before = offer(entry(FUSED, 1, 2, stable=1, canary=2))
    now = after(before, offer(entry(FUSED, 1, 3, stable=1, canary=3)), fused=3)
    assert [(one.number, one.labels) for one in now[FUSED]] == [(1, ("stable",)), (2, ("canary",)), (3, ())]


def test_half_a_pair_that_fails_leaves_the_fused_model_answering():
    before = after({}, offer(*(entry(model, 1, stable=1) for model in (FUSED, EXPRESSION, AFFECT))))
    coming = offer(entry(FUSED, 1, stable=1), *(entry(model, 2, stable=2) for model in (EXPRESSION, AFFECT)))
    now = after(before, coming, expression=2)
    assert answering(now) == ["affect"]
    assert now[EXPRESSION] == (Version(2, END, (), "broken"),)


def test_a_label_that_is_removed_is_no_longer_served():
    before = offer(entry(FUSED, 1, 2, stable=1, canary=2))
    assert after(before, offer(entry(FUSED, 1, stable=1))) == offer(entry(FUSED, 1, stable=1))


def test_a_backbone_that_never_answered_and_cannot_is_left_out():
    before = offer(entry(OTHER, 1, stable=1))
    coming = {**before, **offer(entry(FUSED, 1, stable=1))}
    now = after(before, coming, fused=1)
    assert now == before
    assert unanswered(now, coming) == ["mobilenet_v2"]


def test_a_backbone_that_is_no_longer_configured_is_no_longer_served():
    before = offer(entry(OTHER, 1, stable=1), entry(FUSED, 1, stable=1))
    assert set(after(before, offer(entry(OTHER, 1, stable=1)))) == {OTHER}
