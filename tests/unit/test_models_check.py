"""`affect-models check`: what would stop a model server is found before it is started."""

import json
import shutil
from pathlib import Path

import pytest
from tensorflow.core.framework import types_pb2

from affect_contract.models import MODELS
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.versions import STABLE
from affect_models import __main__ as models_command
from affect_registry.store import WARMUP_FILE, Entry, write
from affect_testbed.model_server.made_up_models import signature
from tests.unit.sound_models import NAME, records, run, write_signatures, write_sound_models


@pytest.fixture
def models(tmp_path):
    write_sound_models(tmp_path)
    return tmp_path


def test_a_directory_that_is_well_says_what_it_serves(models, capsys):
    status, out, err = run(capsys, "check", "--models", models)
    assert (status, err) == (0, "")
    assert out == f"{NAME}  1 (stable)\n"


def test_what_training_publishes_is_well(trained, capsys):
    assert run(capsys, "check", "--models", trained)[0] == 0


def break_nothing_but(change):
    return pytest.param(change, id=change.__name__)


def an_empty_saved_model(models):
    (models / NAME / "1/saved_model.pb").write_bytes(b"")
    return "saved_model.pb has no signature"


def a_saved_model_cut_off(models):
    path = models / NAME / "1/saved_model.pb"
    path.write_bytes(path.read_bytes()[:-5])
    return "saved_model.pb is cut off"


def a_missing_version(models):
    shutil.rmtree(models / NAME)
    return "but models.config lists it or is about to"


def a_version_without_a_saved_model(models):
    (models / NAME / "1/saved_model.pb").unlink()
    return "saved_model.pb cannot be read"


def a_saved_model_for_training(models):
    write_signatures(models / NAME / "1", tags=("train",), serving_default=signature(MODELS[NAME]))
    return "has no signature under the tag 'serve'"


def another_signature(models):
    declared = signature(MODELS[NAME])
    declared.inputs["images"].dtype = types_pb2.DT_FLOAT
    write_signatures(models / NAME / "1", serving_default=declared)
    return "its input images is DT_FLOAT, not DT_UINT8"


def a_warmup_larger_than_a_batch(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1, 33)))
    return "a record of 33 pictures"


def a_warmup_cut_off(models):
    path = models / NAME / "1" / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-5])
    return "is cut off or no TFRecord file"


def a_warmup_with_one_bit_turned(models):
    path = models / NAME / "1" / WARMUP_FILE
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    return "is damaged or no TFRecord file"


def a_warmup_of_another_signature(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,), "encoded_images"))
    return "asks for the signature encoded_images, which the model lacks"


def a_warmup_of_another_input(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,), name="pixels"))
    return "serving_default does not accept: its inputs are pixels, not images"


def a_warmup_of_another_type(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,), dtype=pb.DT_FLOAT))
    return "its input images is DT_FLOAT, not DT_UINT8"


def a_warmup_of_another_size(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,), sides=(96, 96, 3)))
    return "its input images has the shape [1, 96, 96, 3], not [-1, 224, 224, 3]"


def a_warmup_of_no_picture(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((0,)))
    return "its input images has the shape [0, 224, 224, 3], not [-1, 224, 224, 3]"


def a_warmup_of_too_few_bytes(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,), content=b"123"))
    return "its input images holds 3 bytes for 150,528 values"


def a_warmup_without_end(models):
    (models / NAME / "1" / WARMUP_FILE).write_bytes(records((1,)) * 1001)
    return "holds 1,001 records"


def no_platform(models):
    config = models / "models.config"
    config.write_text(config.read_text().replace('model_platform: "tensorflow"', ""))
    return "the model_platform ''"


def a_relative_base_path(models):
    config = models / "models.config"
    config.write_text(config.read_text().replace(str(models / NAME), NAME))
    return "relative base_path"


def a_label_with_a_hyphen(models):
    config = models / "models.config"
    config.write_text(config.read_text().replace('"stable"', '"a-b"'))
    return "use only letters, digits and _"


def an_entry_without_versions(models):
    config = models / "models.config"
    config.write_text(f'model_config_list {{ config {{ name: "{NAME}" base_path: "/nowhere" }} }}')
    return "names no version"


def no_config(models):
    (models / "models.config").unlink()
    return "has no models.config"


def a_setting_nobody_knows(models):
    (models / "models.config").write_text("model_config_list { surprise: 1 }")
    return "is not a ModelServerConfig"


def sizes_that_do_not_rise(models):
    (models / "batching.config").write_text("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 1")
    return "must rise from 1 or more and end with max_batch_size"


def batching_without_threads(models):
    (models / "batching.config").write_text("max_batch_size { value: 32 } num_batch_threads { value: 0 }")
    return "sets num_batch_threads to 0"


def batching_before_the_first_picture(models):
    (models / "batching.config").write_text("max_batch_size { value: 32 } batch_timeout_micros { value: -1 }")
    return "sets batch_timeout_micros to -1: make it 0 or more"


def batches_of_none(models):
    sizes = "max_batch_size { value: 32 } allowed_batch_sizes: 0 allowed_batch_sizes: 32"
    (models / "batching.config").write_text(sizes)
    return "must rise from 1 or more"


def batches_that_are_split_into_larger_ones(models):
    (models / "batching.config").write_text(
        "max_batch_size { value: 32 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 64 }"
    )
    return "sets max_execution_batch_size to 64"


def a_misspelt_batching_setting(models):
    (models / "batching.config").write_text("max_batch_size { value: 32 } num_batch_thread { value: 4 }")
    return 'has no field named "num_batch_thread"'


def a_misspelt_monitoring_setting(models):
    (models / "monitoring.config").write_text("prometheus_config { enabled: true }")
    return 'has no field named "enabled"'


def batching_that_is_no_text(models):
    (models / "batching.config").write_text("max_batch_size 8 {")
    return "is no BatchingParameters"


def no_monitoring(models):
    (models / "monitoring.config").unlink()
    return "monitoring.config cannot be read"


@pytest.mark.parametrize(
    "change",
    [
        break_nothing_but(change)
        for change in (
            an_empty_saved_model, a_saved_model_cut_off, a_missing_version, another_signature,
            a_version_without_a_saved_model, a_saved_model_for_training, a_warmup_larger_than_a_batch, a_warmup_cut_off,
            a_warmup_with_one_bit_turned, a_warmup_of_another_signature, a_warmup_of_another_input,
            a_warmup_of_another_type, a_warmup_of_another_size, a_warmup_of_no_picture, a_warmup_of_too_few_bytes,
            a_warmup_without_end, no_platform,
            a_relative_base_path, a_label_with_a_hyphen, an_entry_without_versions, no_config, a_setting_nobody_knows,
            sizes_that_do_not_rise, batching_without_threads, batching_before_the_first_picture, batches_of_none,
            batches_that_are_split_into_larger_ones, a_misspelt_batching_setting, a_misspelt_monitoring_setting,
            batching_that_is_no_text, no_monitoring,
        )
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "flags"])
def test_what_would_stop_the_server_is_refused_with_the_file_and_the_reason(models, capsys, command, change):
    sentence = change(models)
    status, out, err = run(capsys, command, "--models", models)
    assert (status, out) == (1, "")
    assert sentence in err
    assert str(models) in err


def test_all_problems_are_told_at_once_and_as_json_too(models, capsys):
    changes = (an_empty_saved_model, a_warmup_cut_off, batching_that_is_no_text, no_monitoring)
    sentences = [change(models) for change in changes]
    status, out, _ = run(capsys, "check", "--models", models, "--json")
    assert status == 1
    problems = json.loads(out)["problems"]
    assert len(problems) == len(sentences)
    assert all(any(sentence in problem for problem in problems) for sentence in sentences)


def test_an_entry_that_is_refused_hides_nothing_of_the_others(models, capsys):
    other = "densenet121_affect"
    shutil.copytree(models / NAME, models / other)
    (models / other / "1" / WARMUP_FILE).write_bytes(b"no records")
    names = (NAME, other)
    write(models, {name: Entry(name, models / name, (1,), {STABLE: 1}) for name in names})
    config = models / "models.config"
    config.write_text(config.read_text().replace(str(models / NAME), NAME))
    status, _, err = run(capsys, "check", "--models", models)
    assert status == 1
    assert f"gives {NAME} the relative base_path" in err
    assert f"{models / other / '1' / WARMUP_FILE} is cut off" in err


def test_waiting_says_what_is_wrong_and_ends_when_it_is_mended(models, capsys, monkeypatch):
    (models / "models.config").rename(models / "aside")
    version = models / NAME / "1"
    version.rename(models / NAME / "unfinished")
    steps = [
        lambda: None,
        lambda: (models / "aside").rename(models / "models.config"),
        lambda: (models / NAME / "unfinished").rename(version),
    ]
    monkeypatch.setattr(models_command.time, "sleep", lambda seconds: steps.pop(0)())
    assert models_command.main(["check", "--models", str(models), "--wait"]) == 0
    said = capsys.readouterr()
    assert steps == []
    missing, half_published = said.err.split("affect-models: waiting until this is mended\n")[:2]
    assert missing.count("has no models.config: publish a model") == 1, "what has not changed is said once"
    assert "does not exist, but models.config lists it" in half_published
    assert said.out.startswith(NAME)


def test_a_base_path_outside_the_mount_is_told(models, capsys):
    status, _, err = run(capsys, "flags", "--models", models, "--mount", "/models")
    assert status == 1
    assert f"mount the directory at {models}, or set the base_path to /models/{NAME}" in err


def test_a_file_that_may_not_be_read_is_a_problem_of_its_own(models, capsys, monkeypatch):
    refused, real = models / NAME / "1", Path.is_dir

    def is_dir(path):
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    status, _, err = run(capsys, "check", "--models", models)
    assert (status, err) == (1, f"affect-models: {refused} cannot be read: Permission denied; check its permissions\n")


def test_no_directory_is_another_exit_status(tmp_path, capsys):
    status, _, err = run(capsys, "check", "--models", tmp_path / "none")
    assert status == 2
    assert "affect-train" in err
