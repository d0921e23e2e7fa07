"""The models directory: whole at every moment, and never a file that a model server would refuse."""

import stat
import threading
from functools import partial
from pathlib import Path, PurePosixPath

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from affect_contract import atomic_files
from affect_contract.proto.tfserving.v1 import model_server_config_pb2 as ours
from affect_contract.versions import CANARY, STABLE
from affect_registry import publication, store
from affect_registry.publication import publication_steps
from affect_registry.store import Entry, StoreError

publish = partial(publication.publish, reload_wait_s=0.0)

MOBILENET, DENSENET = "mobilenet_v2_affect", "densenet121_affect"


def staged(root: Path, *names: str) -> dict[str, Path]:
    made = {}
    for name in names:
        directory = root / ".staging" / name
        directory.mkdir(parents=True)
        (directory / store.SAVED_MODEL_FILE).write_bytes(b"model")
        made[name] = directory
    return made


def labels(root: Path) -> dict[str, dict[str, int]]:
    return {name: dict(entry.labels) for name, entry in store.read(root).items()}


def test_the_first_publish_is_stable_and_later_ones_are_canary(tmp_path):
    assert publish(tmp_path, staged(tmp_path, MOBILENET)) == 1
    assert labels(tmp_path) == {MOBILENET: {STABLE: 1}}
    assert publish(tmp_path, staged(tmp_path, MOBILENET)) == 2
    assert publish(tmp_path, staged(tmp_path, MOBILENET)) == 3
    assert labels(tmp_path) == {MOBILENET: {STABLE: 1, CANARY: 3}}
    assert store.read(tmp_path)[MOBILENET].versions == (1, 3), "version 2 has lost its label"
    assert store.versions_on_disk(tmp_path / MOBILENET) == (1, 2, 3), "and stays on disk"


def test_a_promoted_publish_is_stable_and_ends_the_canary(tmp_path):
    for promote in (False, False, True):
        publish(tmp_path, staged(tmp_path, MOBILENET), promote=promote)
    assert labels(tmp_path) == {MOBILENET: {STABLE: 3}}
    assert store.read(tmp_path)[MOBILENET].versions == (3,)


def test_a_model_that_is_new_is_stable_at_once_beside_one_that_is_not(tmp_path):
    publish(tmp_path, staged(tmp_path, MOBILENET))
    assert publish(tmp_path, staged(tmp_path, MOBILENET, DENSENET)) == 2
    assert labels(tmp_path) == {MOBILENET: {STABLE: 1, CANARY: 2}, DENSENET: {STABLE: 2}}


def test_no_label_moves_in_the_rewrite_that_names_its_version():
    entries = {MOBILENET: Entry(MOBILENET, PurePosixPath("/models") / MOBILENET, (1, 2), {STABLE: 1, CANARY: 2})}
    for promote in (False, True):
        before = entries
        steps = list(publication_steps(entries, [MOBILENET], 3, PurePosixPath("/models"), promote=promote))
        assert len(steps) == 3
        for step in steps:
            for label, version in step[MOBILENET].labels.items():
                assert version in before[MOBILENET].versions, f"{label} moves to a version not listed before"
            before = step


def test_without_a_config_the_highest_version_is_stable(tmp_path):
    for number in ("1", "3", "12", "notes", "-4"):
        (tmp_path / MOBILENET / number).mkdir(parents=True)
    (tmp_path / "somebody_elses" / "1").mkdir(parents=True)
    entries = store.read(tmp_path)
    assert set(entries) == {MOBILENET}
    assert (entries[MOBILENET].versions, dict(entries[MOBILENET].labels)) == ((12,), {STABLE: 12})


def test_a_new_version_is_larger_than_any_on_disk_or_listed(tmp_path):
    publish(tmp_path, staged(tmp_path, MOBILENET))
    (tmp_path / DENSENET / "41").mkdir(parents=True)
    assert store.next_version(tmp_path) == 42


def test_the_base_path_is_absolute_and_can_be_the_servers_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(Path(), staged(tmp_path, MOBILENET))
    assert store.read(tmp_path)[MOBILENET].base_path == PurePosixPath(tmp_path / MOBILENET)
    publish(tmp_path, staged(tmp_path, DENSENET), base_path=PurePosixPath("/models"))
    entry = store.read(tmp_path)[DENSENET]
    assert entry.base_path == PurePosixPath("/models") / DENSENET
    assert entry.directory(tmp_path) == tmp_path / DENSENET


@pytest.mark.parametrize("promote", [False, True])
def test_killed_at_any_write_the_old_or_the_new_is_served_and_the_next_publish_works(tmp_path, monkeypatch, promote):
    real_write, real_rename = store.write_atomically, Path.rename

    def at_step(fatal: int):
        count = 0

        def counted(real):
            def call(*args):
                nonlocal count
                count += 1
                if count == fatal:
                    raise KeyboardInterrupt
                return real(*args)

            return call

        monkeypatch.setattr(store, "write_atomically", counted(real_write))
        monkeypatch.setattr(Path, "rename", counted(real_rename))

    survived = False
    fatal = 0
    while not survived:
        fatal += 1
        root = tmp_path / str(fatal)
        root.mkdir()
        publish(root, staged(root, MOBILENET, DENSENET))
        new = staged(root, MOBILENET, DENSENET)
        at_step(fatal)
        try:
            publish(root, new, promote=promote)
            survived = True
        except KeyboardInterrupt:
            pass
        monkeypatch.undo()
        for entry in store.read(root).values():
            for version in entry.versions:
                assert (entry.directory(root) / str(version) / store.SAVED_MODEL_FILE).exists()
        again = publish(root, staged(root / "again", MOBILENET, DENSENET), promote=True)
        assert labels(root) == {MOBILENET: {STABLE: again}, DENSENET: {STABLE: again}}
    assert fatal > 5


def test_publishes_at_once_get_versions_of_their_own(tmp_path):
    folders = [staged(tmp_path / f"from{number}", MOBILENET) for number in range(4)]
    versions = []
    threads = [threading.Thread(target=lambda one=one: versions.append(publish(tmp_path, one))) for one in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == [1, 2, 3, 4]
    assert labels(tmp_path) == {MOBILENET: {STABLE: 1, CANARY: 4}}


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(1, 2**40), max_size=3), max_size=4))
def test_what_is_written_is_what_is_read(tmp_path_factory, models):
    entries = {
        name: Entry(name, PurePosixPath("/models") / name, tuple(sorted({7, *named.values()})), named)
        for name, named in models.items()
    }
    root = tmp_path_factory.mktemp("models")
    store.write(root, entries)
    assert store.read(root) == entries


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model_config_list { config {", "is not a ModelServerConfig"),
        ("models: yaml", "is not a ModelServerConfig"),
        ('model_config_list { config { base_path: "/m" } }', "an entry without a name"),
        ('model_config_list { config { name: "a" base_path: "m/a" } }', "the relative base_path 'm/a'"),
        (
            'model_config_list { config { name: "a" base_path: "/a" } config { name: "a" base_path: "/b" } }',
            "names the model 'a' twice",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" '
            'model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 2 } } }',
            "labels version 2 of a 'stable' without listing that version",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" '
            "model_version_policy { specific { versions: 1 } } } }",
            "gives a the model_platform '': set it to 'tensorflow'",
        ),
    ],
    ids=["torn", "not text proto", "nameless", "relative", "twice", "label of nothing", "no platform"],
)
def test_a_config_that_would_stop_a_server_is_refused_with_what_is_wrong(tmp_path, text, sentence):
    (tmp_path / store.CONFIG_FILE).write_text(text)
    with pytest.raises(StoreError, match=sentence):
        store.read(tmp_path)


def test_a_config_of_bytes_that_are_no_text_is_refused(tmp_path):
    (tmp_path / store.CONFIG_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match="cannot be read"):
        store.read(tmp_path)


@pytest.mark.parametrize(
    ("policy", "versions"), [("", (5,)), ("latest { num_versions: 2 }", (3, 5)), ("all {}", (1, 3, 5))]
)
def test_other_version_policies_are_read_as_the_server_reads_them(tmp_path, policy, versions):
    for number in (1, 3, 5):
        (tmp_path / "a" / str(number)).mkdir(parents=True)
    policy = f"model_version_policy {{ {policy} }}" if policy else ""
    (tmp_path / store.CONFIG_FILE).write_text(
        f'model_config_list {{ config {{ name: "a" base_path: "/a" model_platform: "tensorflow" {policy} }} }}'
    )
    assert store.read(tmp_path)["a"].versions == versions


def test_a_missing_directory_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(StoreError, match=r"there is no models directory .*: publish models to it with affect-train"):
        store.read(tmp_path / "nowhere")


@pytest.mark.parametrize("method", ["is_dir", "exists", "read_text"])
def test_a_directory_that_may_not_be_read_is_refused_with_who_needs_to(tmp_path, monkeypatch, method):
    (tmp_path / store.CONFIG_FILE).touch()

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(StoreError, match=r"cannot be read: Permission denied; user \d+ needs to read everything in "):
        store.read(tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "models").write_text("a file in the way")
    with pytest.raises(StoreError, match="cannot publish to|there is no models directory"):
        publish(tmp_path / "models", staged(tmp_path, MOBILENET))


def test_the_official_protocol_reads_what_is_written_and_means_the_same(tmp_path):
    official = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    publish(tmp_path, staged(tmp_path, MOBILENET))
    publish(tmp_path, staged(tmp_path, MOBILENET))
    text = (tmp_path / store.CONFIG_FILE).read_text()
    theirs = text_format.Parse(text, official.ModelServerConfig())
    mine = text_format.Parse(text, ours.ModelServerConfig())
    assert theirs.SerializeToString(deterministic=True) == mine.SerializeToString(deterministic=True)
    (config,) = theirs.model_config_list.config
    assert list(config.model_version_policy.specific.versions) == [1, 2]
    assert dict(config.version_labels) == {STABLE: 1, CANARY: 2}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_files.write_atomically(path, "old")
    monkeypatch.setattr(atomic_files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic_files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
