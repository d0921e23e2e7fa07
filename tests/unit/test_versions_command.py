"""`affect-models list, promote, rollback, prune` on a directory that a model server follows meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from affect_contract.versions import CANARY, PREVIOUS, STABLE
from affect_models import __main__ as models_command
from affect_registry import promotion, store
from affect_testbed.model_server.in_process import in_process_server
from affect_testbed.model_server.process import free_port
from tests.gateway import FakeBackend, listening_gateway
from tests.unit.evaluation_runs import write_run
from tests.unit.evaluation_samples import write_samples
from tests.unit.version_directories import NAME, OTHER, entry, write_models


@pytest.fixture
def models(tmp_path):
    """One model with three versions on disk: the first is stable, the second the canary."""
    root = tmp_path / "models"
    root.mkdir()
    write_models(root, entry(root, NAME, 1, 2, stable=1, canary=2))
    return root


@pytest.fixture
def server(models):
    with in_process_server(models) as (directory, address):
        yield directory, address


@pytest.fixture
def run(models, capsys):
    def call(command, *arguments):
        words = [command, "--models", models, *arguments]
        status = models_command.main([str(word) for word in words])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def stands(models, name=NAME):
    one = store.read(models)[name]
    return one.versions, dict(one.labels)


def config(models):
    return (models / store.CONFIG_FILE).read_bytes()


def test_the_canary_becomes_stable_and_the_old_version_is_dropped(models, server, run):
    directory, address = server
    status, out, _ = run("promote", "--tfserving", address)
    assert (status, out) == (0, f"{NAME}: stable 1 -> 2\n")
    assert stands(models) == ((2,), {STABLE: 2})
    assert directory.models[NAME].labels[STABLE] == 2
    assert directory.refusals == []


def test_a_version_that_is_not_served_yet_is_loaded_first(models, server, run):
    directory, address = server
    assert run("promote", "--version", 3, "--tfserving", address)[0] == 0
    assert stands(models) == ((2, 3), {STABLE: 3, CANARY: 2}), "another canary stays"
    assert directory.refusals == []


def test_back_and_forth(models, server, run):
    _, address = server
    run("promote", "--tfserving", address)
    status, out, _ = run("rollback", "--tfserving", address)
    assert (status, out) == (0, f"{NAME}: stable 2 -> 1\n")
    assert stands(models) == ((1,), {STABLE: 1})
    status, _, err = run("rollback", "--tfserving", address)
    assert status == 1
    assert "no going back to what was stable before: on disk are 1, 2, 3; name --version" in err
    assert run("rollback", "--version", 3, "--tfserving", address)[0] == 0
    assert stands(models) == ((3,), {STABLE: 3})


def test_a_version_kept_for_going_back_is_labelled_and_needs_no_loading(models, server, run):
    _, address = server
    assert run("promote", "--keep-old", "--tfserving", address)[0] == 0
    assert stands(models) == ((1, 2), {STABLE: 2, PREVIOUS: 1})
    assert run("rollback", "--tfserving", address)[0] == 0
    assert stands(models) == ((1,), {STABLE: 1})


def test_a_canary_is_withdrawn(models, server, run):
    assert run("rollback", "--canary")[0] == 0
    assert stands(models) == ((1,), {STABLE: 1})
    status, _, err = run("rollback", "--canary")
    assert (status, "nothing to withdraw" in err) == (1, True)


def test_a_way_back_that_was_deleted_is_said(models, server, run):
    _, address = server
    run("promote", "--tfserving", address)
    (models / NAME / "1").rename(models / "gone")
    before = config(models)
    status, _, err = run("rollback", "--tfserving", address)
    assert status == 1
    assert f"{models / NAME / '1'} does not exist" in err
    assert config(models) == before


def cut_off(directory):
    file = directory / store.SAVED_MODEL_FILE
    file.write_bytes(file.read_bytes()[:-5])
    return "is cut off or no SavedModel"


def empty(directory):
    (directory / store.SAVED_MODEL_FILE).write_bytes(b"")
    return "has no signature under the tag 'serve'"


def of_another_backbone_and_task(directory):
    other = directory.parents[1] / "mobilenet_v2_regression"
    write_models(directory.parents[1], entry(directory.parents[1], other.name, 1, stable=1), on_disk=(1,))
    (other / "1" / store.SAVED_MODEL_FILE).replace(directory / store.SAVED_MODEL_FILE)
    write_models(directory.parents[1], entry(directory.parents[1], NAME, 1, 2, stable=1, canary=2))
    return "and probabilities is missing"


@pytest.mark.parametrize("spoil", [cut_off, empty, of_another_backbone_and_task])
def test_files_that_no_server_could_serve_are_refused_before_anything_changes(models, server, run, spoil):
    _, address = server
    sentence = spoil(models / NAME / "2")
    before = config(models)
    status, out, err = run("promote", "--tfserving", address)
    assert (status, out) == (1, "")
    assert sentence in err
    assert str(models / NAME / "2") in err
    assert config(models) == before


def test_a_version_that_the_server_cannot_load_is_told_and_everything_is_as_it_was(models, server, run):
    directory, address = server
    directory.failing = {3}
    before = config(models)
    status, _, err = run("promote", "--version", 3, "--tfserving", address)
    assert status == 1
    assert f"{NAME} version 3 does not load: the weights are torn; models.config is as it was" in err
    assert config(models) == before


def test_a_label_that_does_not_move_is_moved_back(models, server, run):
    directory, address = server
    directory.stuck = True
    before = config(models)
    status, _, err = run("promote", "--tfserving", address, "--timeout-s", 0.5)
    assert status == 1
    assert f"does not answer with {NAME} version 2 as stable yet, after 0.5 s" in err
    assert config(models) == before
    assert promotion.previously_stable(models, store.read(models)) == {}


def test_nobody_to_ask_is_no_reason_to_go_on(models, run):
    before = config(models)
    status, _, err = run("promote")
    assert (status, "--tfserving HOST:PORT or the gateways with --url URL" in err) == (2, True)
    status, _, err = run("promote", "--tfserving", f"127.0.0.1:{free_port()}")
    assert (status, "does not say what it serves" in err) == (2, True)
    status, _, err = run("promote", "--url", f"http://127.0.0.1:{free_port()}")
    assert (status, "does not say what it serves" in err) == (2, True)
    status, _, err = run("promote", "--url", "grpc://127.0.0.1:9090")
    assert (status, "lists no models" in err) == (2, True)
    status, _, err = run("promote", "--tfserving", "8500")
    assert (status, "is not HOST:PORT" in err) == (2, True)
    assert config(models) == before


def test_files_alone_are_changed_in_steps_that_a_server_has_time_to_read(models, run, monkeypatch):
    seen = []
    monkeypatch.setattr("affect_registry.rollout.time.sleep", lambda seconds: seen.append((seconds, stands(models))))
    assert run("promote", "--version", 3, "--files-only")[0] == 0
    assert seen == [
        (3.0, ((1, 2, 3), {STABLE: 1, CANARY: 2})),
        (3.0, ((1, 2, 3), {STABLE: 3, CANARY: 2})),
        (3.0, ((2, 3), {STABLE: 3, CANARY: 2})),
    ]


@pytest.mark.parametrize("killed_after", ["listed", "labelled"])
def test_a_promotion_that_was_killed_is_finished_or_undone_by_the_next(models, server, run, killed_after):
    directory, address = server
    store.write(models, {NAME: entry(models, NAME, 1, stable=1)})
    entries = store.read(models)
    steps = promotion.steps(entries, {NAME: 3})
    promotion.record_promotion(models, entries, {NAME: 3})
    store.write(models, steps.listed)
    until(lambda: 3 in directory.models[NAME].versions)
    store.write(models, getattr(steps, killed_after))
    status, _, err = run("promote", "--tfserving", address, "--timeout-s", 20)
    assert status == 0
    assert "an earlier change was interrupted" in err
    stable = 1 if killed_after == "listed" else 3
    assert stands(models) == ((stable,), {STABLE: stable})


def until(condition):
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_command_that_is_killed_while_it_waits_leaves_a_whole_file(models, server):
    directory, address = server
    directory.stuck = True
    process = waiting(models, "--version", "3", "--tfserving", address)
    process.kill()
    process.communicate()
    assert stands(models) == ((1, 2, 3), {STABLE: 1, CANARY: 2})


def test_a_command_that_is_stopped_while_it_waits_puts_everything_back(models, server):
    directory, address = server
    directory.stuck = True
    before = config(models)
    process = waiting(models, "--version", "3", "--tfserving", address)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "stopped; models.config is as it was" in err) == (130, True)
    assert config(models) == before


def waiting(models, *arguments):
    """The command as a process that waits for a server."""
    words = [sys.executable, "-m", "affect_models.__main__", "promote", "--models", str(models), *arguments]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stderr
    assert "waiting: " in process.stderr.readline()
    return process


def test_of_two_promotions_at_once_one_waits_and_says_so(models, server, capsys):
    _, address = server
    statuses = []
    with store.locked(models):
        words = ["promote", "--models", str(models), "--tfserving", address]
        second = threading.Thread(target=lambda: statuses.append(models_command.main(words)))
        second.start()
        said = ""
        while "another publish or promotion is under way" not in said:
            said += capsys.readouterr().err
        assert stands(models)[1] == {STABLE: 1, CANARY: 2}
    second.join(30)
    assert statuses == [0]
    assert stands(models) == ((2,), {STABLE: 2})


def test_nothing_to_promote_is_said(models, server, run):
    _, address = server
    run("rollback", "--canary")
    status, _, err = run("promote", "--tfserving", address)
    assert (status, "no model has a version labelled 'canary'" in err) == (1, True)
    status, _, err = run("promote", "--version", 9, "--tfserving", address)
    assert (status, "no model has version 9 that is not stable already: on disk are 1, 2, 3" in err) == (1, True)


def test_a_gateway_that_serves_another_backbone_cannot_say(models, run):
    backend = FakeBackend()
    write_models(models, entry(models, OTHER, 1, 2, stable=1, canary=2))
    with listening_gateway(backend) as urls:
        status, _, err = run("promote", "--url", urls.http)
    assert (status, "serves no model of densenet121: leave it out with --backbones" in err) == (2, True)


def test_what_there_is_is_listed(models, server, run):
    _, address = server
    status, out, _ = run("list", "--tfserving", address)
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines] == [[NAME, "1", "stable"], [NAME, "2", "canary"], [NAME, "3", "-"]]
    assert out.count("AVAILABLE") == 2
    document = json.loads(run("list", "--json")[1])
    (model,) = document["models"]
    assert [(one["version"], one["labels"], one["listed"]) for one in model["versions"]] == [
        (1, [STABLE], True), (2, [CANARY], True), (3, [], False),
    ]  # fmt: skip
    assert all(one["bytes"] > 0 for one in model["versions"])


def test_what_would_be_deleted_can_be_asked_first(models, run):
    store.write(models, {NAME: entry(models, NAME, 3, stable=3)})
    _, out, _ = run("prune", "--keep", 1, "--dry-run")
    assert out == "".join(f"would delete {models / NAME / str(number)}\n" for number in (1, 2))
    assert store.versions_on_disk(models / NAME) == (1, 2, 3)
    status, out, _ = run("prune", "--keep", 1)
    assert (status, len(out.splitlines())) == (0, 2)
    assert store.versions_on_disk(models / NAME) == (3,)
    assert "nothing to delete" in run("prune", "--keep", 1)[2]


@pytest.fixture
def runs(tmp_path):
    pictures = write_samples(tmp_path / "pictures", 160)

    def make(name, **options):
        return write_run(tmp_path / name, pictures, **options)

    return make


GATE = ("--fail-if", "valence.ccc < -0.02", "--fail-if", "expression.accuracy < -0.02")


def gated(run, address, canary, stable, *conditions):
    return run("promote", "--tfserving", address, "--if-evaluation", canary, "--against", stable, *(conditions or GATE))


def test_a_canary_that_scores_as_well_is_promoted(models, server, run, runs):
    stable, canary = runs("stable"), runs("canary", version=2, right=0.7, noise=0.1)
    assert gated(run, server[1], canary, stable)[0] == 0
    assert stands(models)[1] == {STABLE: 2}


def test_a_canary_that_scores_worse_is_not(models, server, run, runs):
    before = config(models)
    stable, canary = runs("stable"), runs("canary", version=2, right=0.3, noise=0.9)
    status, _, err = gated(run, server[1], canary, stable)
    assert status == 1
    assert "fails 'valence.ccc < -0.02' against" in err
    assert "fails 'expression.accuracy < -0.02' against" in err
    assert config(models) == before


@pytest.mark.parametrize(
    ("canary", "stable", "sentence"),
    [
        ({"version": 3}, {}, "scored mobilenet_v2_affect version 3, where 2 is in question"),
        ({"version": 2}, {"version": 2}, "scored mobilenet_v2_affect version 2, where 1 is in question"),
        ({"version": 2, "backbones": ("densenet121",)}, {}, "has no scores of mobilenet_v2: evaluate it"),
    ],
    ids=["another canary", "another stable", "another backbone"],
)
def test_scores_of_something_else_promote_nothing(models, server, run, runs, canary, stable, sentence):
    before = config(models)
    status, _, err = gated(run, server[1], runs("canary", **canary), runs("stable", **stable))
    assert status == 1
    assert sentence in err
    assert config(models) == before


def test_what_cannot_be_judged_promotes_nothing(models, server, run, runs, tmp_path):
    before = config(models)
    stable, canary = runs("stable"), runs("canary", version=2)
    for one, conditions, sentence in (
        (tmp_path / "none", (), "is no run of affect-evaluate"),
        (runs("half", version=2, finished=False), (), "is not finished"),
        (canary, ("--fail-if", "valence.none < 0"), "cannot be judged"),
    ):
        status, _, err = gated(run, server[1], one, stable, *conditions)
        assert (status, sentence in err) == (2, True), err
    assert config(models) == before


_INSTALL = "which is not installed: pip install 'affect-serving[evaluate]'"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("scipy", f"needs scipy, {_INSTALL}"),
        ("sklearn", f"needs sklearn, {_INSTALL}"),
        ("matplotlib", "x is no run of affect-evaluate"),
    ],
)
def test_without_what_scores_are_made_with_a_gate_names_it_and_the_rest_works(models, tmp_path, module, sentence):
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / f"{module}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')")
    path = os.pathsep.join([str(absent), os.environ.get("PYTHONPATH", "")])

    def call(*words):
        command = [sys.executable, "-m", "affect_models.__main__", *words, "--models", str(models), "--files-only"]
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False
        )

    gated = call("promote", "--if-evaluation", "x", "--against", "x", "--fail-if", "coverage < 0")
    assert gated.returncode == 2
    assert sentence in gated.stderr
    assert call("rollback", "--canary").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--if-evaluation", "x"), "go together: give all three"),
        (("--if-evaluation", "x", "--against", "y", "--fail-if", "valence.ccc"), "is no condition"),
        (("--version", "0"), "give a whole number from 1"),
        (("--backbones", "vgg"), "'vgg': choose from"),
    ],
    ids=["half a gate", "no condition", "no version", "no backbone"],
)
def test_a_wrong_option_is_said_before_anything_changes(models, capsys, server, arguments, sentence):
    with pytest.raises(SystemExit, match="2"):
        models_command.main(["promote", "--models", str(models), "--tfserving", server[1], *arguments])
    assert sentence in capsys.readouterr().err
