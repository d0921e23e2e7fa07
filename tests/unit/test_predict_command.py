"""`affect-predict`: which files, what is printed, and the exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affect_client.predict_command import find_pictures, main
from tests.unit import client_gateway
from tests.unit.client_gateway import FakeGateway
from tests.unit.rpc_gateway import ANSWER, ToldService, listening

COMMAND = [sys.executable, "-m", "affect_client.predict_command"]


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def url(gateway):
    with gateway.listening() as listening:
        yield listening


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, data in (("1.jpg", b"one"), ("2.jpg", b"bad"), ("3.jpg", b"three")):
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def own_gateway(tmp_path, monkeypatch):
    """What `--models` starts is the fake."""
    package = tmp_path / "packages" / "affect_serving"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    script = Path(client_gateway.__file__).read_text()
    (package / "__main__.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)


def test_pictures_are_found_in_folders_at_any_depth_and_in_order(tmp_path):
    for name in ("b.png", "a/2.JPG", "a/1.webp", "notes.txt", "folder.jpg/3.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_pictures([tmp_path, tmp_path / "notes.txt"])
    names = [str(file.relative_to(tmp_path)) for file in found]
    assert names == ["a/1.webp", "a/2.JPG", "b.png", "folder.jpg/3.jpeg", "notes.txt"]


def test_the_table_is_aligned_and_a_bad_picture_does_not_stop_the_others(url, pictures, gateway, capsys):
    assert main([str(pictures), "--url", url]) == 1
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["picture", "expression", "confidence", "valence", "arousal", "model"]
    assert [row.split()[0] for row in rows] == [str(pictures / name) for name in ("1.jpg", "2.jpg", "3.jpg")]
    expected = gateway.prediction(b"one", "mobilenet_v2")
    assert rows[0].split()[1:] == [
        expected["expression"],
        f"{expected['confidence']:.3f}",
        f"{expected['valence']:+.3f}",
        f"{expected['arousal']:+.3f}",
        "mobilenet_v2_affect@1",
    ]
    assert rows[1].endswith("invalid_image: the bytes are no JPEG, PNG or WebP picture: send one")
    starts = {row.index("mobilenet_v2_affect@1") for row in (rows[0], rows[2])}
    assert starts == {head.index("model")}


def test_all_answered_is_status_0(url, pictures, capsys):
    assert main([str(pictures / "1.jpg"), str(pictures / "3.jpg"), "--url", url]) == 0


def test_a_task_that_is_not_served_is_a_dash(url, pictures, gateway, capsys):
    gateway.tasks = ("regression",)
    assert main([str(pictures / "1.jpg"), "--url", url]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1:3] == ["-", "-"]


def test_json_is_one_document_a_picture_and_line(url, pictures, gateway, capsys):
    assert main([str(pictures), "--url", url, "--json"]) == 1
    first, second, _ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"file": str(pictures / "1.jpg"), **gateway.prediction(b"one", "mobilenet_v2")}
    assert second == {
        "file": str(pictures / "2.jpg"),
        "error": {"code": "invalid_image", "detail": "the bytes are no JPEG, PNG or WebP picture: send one"},
    }


def test_the_choice_reaches_the_gateway(url, pictures, gateway, capsys):
    picture = str(pictures / "1.jpg")
    assert main([picture, "--url", url, "--backbone", "densenet121", "--version", "4"]) == 0
    assert main([picture, "--url", url, "--label", "canary"]) == 0
    choices = [choice for _, choice in gateway.asked]
    assert choices == [{"backbone": "densenet121", "version": "4"}, {"label": "canary"}]


def test_a_file_that_cannot_be_read_is_reported_in_its_place(url, pictures, gateway, capsys, monkeypatch):
    answer = gateway.reply

    def reply(*request):
        (pictures / "2.jpg").unlink(missing_ok=True)
        return answer(*request)

    monkeypatch.setattr(gateway, "reply", reply)
    assert main([str(pictures), "--url", url, "--json", "--in-flight", "1"]) == 1
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in document for document in documents] == [False, True, False]
    assert documents[1]["error"]["detail"] == "the file cannot be read: No such file or directory"


def test_a_name_that_is_no_utf8_is_printed_all_the_same(url, tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(name)).write_bytes(b"one")
    done = subprocess.run([*COMMAND, name, "--url", url], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"caf\\xe9.jpg" in done.stdout


@pytest.mark.parametrize(
    ("image", "flags", "sentence"),
    [
        ("nowhere.jpg", [], "there is no file {folder}/nowhere.jpg"),
        ("empty", [], "there is no picture in {folder}/empty: looked for .jpeg, .jpg, .png, .webp"),
        ("1.jpg", ["--url", "http://127.0.0.1:9"], "no gateway answers at http://127.0.0.1:9"),
        ("1.jpg", ["--url", "gateway:port"], "'gateway:port' is not the URL of a gateway"),
        ("1.jpg", ["--models", "{folder}/empty"], "the gateway for {folder}/empty did not start"),
    ],
    ids=["missing file", "empty folder", "nobody there", "no URL", "no models"],
)
def test_when_nothing_can_be_asked_one_line_says_why(pictures, capsys, image, flags, sentence):
    (pictures / "empty").mkdir()
    given = [flag.format(folder=pictures) for flag in flags]
    assert main([str(pictures / image), *given]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"affect-predict: {sentence.format(folder=pictures)}")
    assert not printed.out


def test_a_service_that_is_no_gateway_is_not_taken_for_bad_pictures(url, pictures, gateway, capsys):
    gateway.replies = [(200, {}, {"welcome": "elsewhere"})]
    assert main([str(pictures), "--url", url]) == 2
    assert "check the URL" in capsys.readouterr().err


@pytest.mark.usefixtures("own_gateway")
def test_with_a_models_directory_a_gateway_is_started_for_the_call(pictures, tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert main([str(pictures), "--models", str(tmp_path), "--json"]) == 1
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in document for document in documents] == [False, True, False]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_that_is_told_to_end_takes_its_gateway_with_it(pictures, tmp_path, monkeypatch):
    package = tmp_path / "packages" / "affect_serving"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, pathlib, socket, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "http = f'http://127.0.0.1:{server.getsockname()[1]}'\n"
        "print(f'affect-serve: ready on {http} and grpc://127.0.0.1:9', flush=True)\n"
        "connection = server.accept()\n"
        f"pathlib.Path({str(tmp_path)!r}, 'asked').write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)
    asked = tmp_path / "asked"
    with subprocess.Popen([*COMMAND, str(pictures), "--models", str(tmp_path)], stdout=subprocess.DEVNULL) as process:
        while not asked.exists() or not asked.read_text():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{asked.read_text()}").exists()


@pytest.fixture
def silent_gateway():
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_command_that_is_interrupted_waits_for_no_answer(silent_gateway, pictures):
    url = f"http://127.0.0.1:{silent_gateway.getsockname()[1]}"
    with subprocess.Popen([*COMMAND, str(pictures), "--url", url, "--timeout", "300"]) as process:
        asking = [silent_gateway.accept()[0] for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    for connection in asking:
        connection.close()


def test_the_time_for_a_picture_can_be_said(silent_gateway, pictures, capsys):
    url = f"http://127.0.0.1:{silent_gateway.getsockname()[1]}"
    assert main([str(pictures), "--url", url, "--timeout", "0.1", "--json"]) == 1
    codes = [json.loads(line)["error"]["code"] for line in capsys.readouterr().out.splitlines()]
    assert codes == ["deadline_exceeded"] * 3


@pytest.mark.parametrize(
    "flags", [["--timeout", "0"], ["--timeout", "inf"], ["--timeout", "x"], ["--in-flight", "0"], ["--in-flight", "x"]]
)
def test_a_number_that_cannot_be_is_refused_with_what_to_give(flags, capsys):
    with pytest.raises(SystemExit):
        main(["face.jpg", *flags])
    assert f"argument {flags[0]}: {flags[1]!r}: give a" in capsys.readouterr().err


def test_a_grpc_url_is_asked_over_grpc(pictures, capsys):
    with listening(ToldService()) as address:
        assert main([str(pictures / "1.jpg"), "--url", f"grpc://{address}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expression"] == ANSWER.expression


def test_a_reader_that_has_seen_enough_is_no_accident(url, tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"one")
    with subprocess.Popen(
        [*COMMAND, str(tmp_path), "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "module", ["numpy", "PIL", "sklearn", "scipy", "krippendorff", "affect_dataset", "affect_serving"]
)
def test_asking_for_pictures_loads_no(module):
    code = f"import sys, affect_client.predict_command; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
