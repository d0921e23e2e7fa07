"""What may become stable, the rewrites that make it so, and what may be deleted: files alone."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affect_contract.versions import CANARY, PREVIOUS, STABLE
from affect_registry import promotion, pruning, store
from affect_registry.publication import publish
from affect_registry.store import Entry, StoreError
from tests.unit.version_directories import NAME, OTHER, entry, write_models, write_version


def entries_of(versions):
    number = st.sampled_from(sorted(versions))
    return st.builds(
        lambda stable, more: Entry("", PurePosixPath("/models"), tuple(sorted(versions)), {**more, STABLE: stable}),
        number,
        st.dictionaries(st.sampled_from([CANARY, PREVIOUS]), number),
    )


ENTRIES = st.dictionaries(
    st.sampled_from([NAME, OTHER]), st.sets(st.integers(1, 6), min_size=1).flatmap(entries_of), min_size=1
).map(lambda entries: {name: replace(one, name=name) for name, one in entries.items()})


@given(entries=ENTRIES, target=st.integers(1, 8), keep_old=st.booleans())
def test_every_step_is_one_that_a_model_server_takes(entries, target, keep_old):
    targets = dict.fromkeys(entries, target)
    steps = promotion.steps(entries, targets, keep_old=keep_old)
    for before, after in pairwise([entries, *steps]):
        for name, one in after.items():
            store._require_valid(one, Path("models.config"))
            for version in one.labels.values():
                assert version in before[name].versions, "a label is on what the step before named"
            assert before[name].labels[STABLE] in one.versions or one.labels[STABLE] in before[name].versions
    for name, one in steps.kept.items():
        assert one.labels[STABLE] == target
        assert set(one.versions) == set(one.labels.values())
        assert one.labels.get(CANARY) != target
        old = entries[name].labels[STABLE]
        assert (PREVIOUS in one.labels) == (keep_old and (old != target or PREVIOUS in entries[name].labels))


@given(entries=ENTRIES, target=st.integers(1, 8), keep_old=st.booleans())
def test_a_change_that_is_made_again_from_any_of_its_steps_ends_the_same(entries, target, keep_old):
    targets = dict.fromkeys(entries, target)
    steps = promotion.steps(entries, targets, keep_old=keep_old)
    for step in steps:
        assert promotion.steps(step, targets, keep_old=keep_old).kept == steps.kept


def test_a_model_that_would_have_no_stable_version_is_refused(tmp_path):
    entries = {NAME: entry(tmp_path, NAME, 1, stable=1), OTHER: entry(tmp_path, OTHER, 1, 2, canary=2)}
    with pytest.raises(StoreError, match=f"{OTHER} has no stable version"):
        promotion.steps(entries, {NAME: 1})
    assert promotion.steps(entries, {OTHER: 2}).kept[OTHER].labels == {STABLE: 2}


def test_others_models_are_left_alone(tmp_path):
    other = entry(tmp_path, "somebody_elses", 1, 2, canary=2)
    entries = {NAME: entry(tmp_path, NAME, 1, 2, stable=1, canary=2), other.name: other}
    targets = promotion.canaries(entries)
    assert targets == {NAME: 2}
    assert promotion.steps(entries, targets).kept[other.name] == other


def test_backbones_can_be_picked(tmp_path):
    entries = {name: entry(tmp_path, name, 1, 2, stable=1, canary=2) for name in (NAME, OTHER)}
    assert promotion.canaries(entries, ["densenet121"]) == {OTHER: 2}


def test_the_way_back_is_that_of_the_last_promotion_that_stands(tmp_path):
    root = tmp_path
    write_models(root, *(entry(root, name, 1, stable=1) for name in (NAME, OTHER)))

    def promote(**targets):
        entries = store.read(root)
        promotion.record_promotion(root, entries, targets)
        store.write(root, promotion.steps(entries, targets).kept)

    assert promotion.previously_stable(root, store.read(root)) == {}
    promote(**{NAME: 2, OTHER: 2})
    promote(**{OTHER: 3})
    assert promotion.previously_stable(root, store.read(root)) == {OTHER: 2}
    store.write(root, promotion.steps(store.read(root), {OTHER: 2}).kept)
    assert promotion.previously_stable(root, store.read(root)) == {NAME: 1, OTHER: 1}
    assert promotion.previously_stable(root, store.read(root), ["mobilenet_v2"]) == {NAME: 1}
    store.write(root, promotion.steps(store.read(root), {NAME: 1, OTHER: 1}).kept)
    assert promotion.previously_stable(root, store.read(root)) == {}


def test_a_record_of_what_was_killed_before_it_happened_leads_nowhere(tmp_path):
    write_models(tmp_path, entry(tmp_path, NAME, 1, 2, stable=1, canary=2))
    promotion.record_promotion(tmp_path, store.read(tmp_path), {NAME: 2})
    assert promotion.previously_stable(tmp_path, store.read(tmp_path)) == {}


@pytest.mark.parametrize("text", ["nonsense", "[]\n", '{"models": {"a": 1}}\n', '{"models": {"a": {"before": 1}}}\n'])
def test_a_record_that_was_spoilt_is_said(tmp_path, text):
    write_models(tmp_path, entry(tmp_path, NAME, 1, stable=1))
    (tmp_path / promotion.RECORD_FILE).write_text(text)
    with pytest.raises(StoreError, match="promotions.jsonl is no record that affect-models wrote"):
        promotion.previously_stable(tmp_path, store.read(tmp_path))


def test_a_publish_that_promotes_can_be_gone_back_on(tmp_path):
    for promote in (False, True):
        staged = {NAME: write_version(tmp_path / ".staged", NAME, 1)}
        publish(tmp_path, staged, promote=promote, reload_wait_s=0.0)
    assert promotion.previously_stable(tmp_path, store.read(tmp_path)) == {NAME: 1}


def test_a_publish_that_moves_a_label_gives_servers_time_to_read_what_it_names(tmp_path, monkeypatch):
    pauses, seen = [], []

    def sleep(seconds):
        pauses.append(seconds)
        seen.append(store.read(tmp_path)[NAME])

    monkeypatch.setattr("affect_registry.publication.time.sleep", sleep)
    for _ in range(3):
        publish(tmp_path, {NAME: write_version(tmp_path / ".staged", NAME, 1)}, reload_wait_s=7.0)
    assert pauses == [7.0], "the first publish and the first canary move no label"
    assert (seen[0].versions, dict(seen[0].labels)) == ((1, 2, 3), {STABLE: 1, CANARY: 2})


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_pruning_deletes_nothing_that_is_listed_new_or_gone_back_to(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("models")
    on_disk = data.draw(st.sets(st.integers(1, 12), min_size=2))
    stable, older = data.draw(st.permutations(sorted(on_disk)))[:2]
    keep = data.draw(st.integers(1, 5))
    write_models(root, entry(root, NAME, older, stable=older), on_disk=tuple(on_disk))
    promotion.record_promotion(root, store.read(root), {NAME: stable})
    store.write(root, {NAME: entry(root, NAME, stable, stable=stable)})
    expected = on_disk - set(sorted(on_disk)[-keep:]) - {stable, older}
    planned = pruning.prunable_versions(root, keep)
    assert pruning.prune(root, keep) == planned == [root / NAME / str(number) for number in sorted(expected)]
    assert set(store.versions_on_disk(root / NAME)) == on_disk - expected
    assert not (root / ".pruned").exists()
    assert pruning.prune(root, keep) == []


def test_a_prune_that_was_killed_leaves_no_half_version_and_is_tidied_up(tmp_path, monkeypatch):
    write_models(tmp_path, entry(tmp_path, NAME, 3, stable=3))

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("affect_registry.pruning.sync_folder", killed)
        pruning.prune(tmp_path, 1)
    assert store.versions_on_disk(tmp_path / NAME) == (2, 3)
    assert pruning.prune(tmp_path, 1) == [tmp_path / NAME / "2"]
    assert not (tmp_path / ".pruned").exists()
