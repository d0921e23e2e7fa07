"""`affect-models flags`, and the server files that it names."""

import pytest
from google.protobuf import text_format

from affect_contract.proto.tfserving.v1 import server_files_pb2
from affect_contract.signatures import ALLOWED_BATCH_SIZES
from affect_models import __main__ as models_command
from affect_registry.model_server_settings import write_missing_files
from affect_registry.saved_models import read_warmup
from affect_registry.store import WARMUP_FILE
from tests.unit.sound_models import NAME, run, write_sound_models


@pytest.fixture
def models(tmp_path):
    write_sound_models(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--in-flight", "0"], "'0': give a whole number from 1"),
        (["--port", "65536"], "'65536': ports end at 65535"),
        (["--rest-port", "8500"], "--port and --rest-port are both 8500"),
        (["--mount", "models"], "'models': give an absolute path"),
    ],
    ids=["no calls", "no such port", "one port for both", "relative"],
)
def test_flags_that_no_server_could_use_are_refused(models, capsys, arguments, sentence):
    with pytest.raises(SystemExit, match="2"):
        models_command.main(["flags", "--models", str(models), *arguments])
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.out == ""


def test_the_flags_name_the_files_that_are_there(models, capsys):
    status, out, _ = run(capsys, "flags", "--models", models, "--in-flight", 48, "--port", 9000, "--one-per-line")
    assert status == 0
    flags = dict(line.removeprefix("--").split("=", 1) for line in out.splitlines())
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (models / flags[name]).is_file()
    assert (flags["port"], flags["enable_batching"]) == ("9000", "true")
    assert int(flags["grpc_max_threads"]) > 48, "a thread has to listen while 48 answer"


def test_the_command_line_is_one_line_for_a_shell(models, capsys):
    _, out, _ = run(capsys, "flags", "--models", models)
    assert out.startswith("tensorflow_model_server --port=8500 ")
    assert out.count("\n") == 1


def test_batches_have_the_sizes_of_the_warmup_records(trained):
    text = (trained / "batching.config").read_text()
    parameters = text_format.Parse(text, server_files_pb2.BatchingParameters())
    recorded = {record.batch_size for record in read_warmup(trained / NAME / "1" / WARMUP_FILE)}
    assert tuple(parameters.allowed_batch_sizes) == ALLOWED_BATCH_SIZES == tuple(sorted(recorded))


def test_files_that_somebody_changed_stay_as_they_are(tmp_path):
    (tmp_path / "batching.config").write_text("max_batch_size { value: 16 }")
    write_missing_files(tmp_path)
    assert (tmp_path / "batching.config").read_text() == "max_batch_size { value: 16 }"
    assert "prometheus" in (tmp_path / "monitoring.config").read_text()
