"""A gateway for the time of a call: it is there, it is gone afterwards, and it says why when it cannot be."""

import json
import os
import time
from pathlib import Path

import pytest

from affect_client.errors import ServiceUnreachable
from affect_client.local_gateway import local_gateway

READY = "print('affect-serve: ready on http://127.0.0.1:1 and grpc://127.0.0.1:2', flush=True)"
NOTE = """
import json, os, pathlib, sys, time
pathlib.Path({path!r}).write_text(json.dumps([os.getpid(), sys.argv[1:]]))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a script in the place of the gateway's process."""

    def put(script: str) -> None:
        package = tmp_path / "packages" / "affect_serving"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(NOTE.format(path=str(tmp_path / "note")) + script)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return put


@pytest.fixture
def noted(tmp_path):
    """Process id and arguments of the last gateway started."""
    return lambda: json.loads((tmp_path / "note").read_text())


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_answers_inside_and_is_gone_afterwards(stand_in, noted, tmp_path):
    stand_in(f"print('starting'); {READY}; time.sleep(600)")
    with local_gateway(tmp_path) as urls:
        assert urls == ("http://127.0.0.1:1", "grpc://127.0.0.1:2")
        pid, _ = noted()
        assert is_alive(pid)
    assert not is_alive(pid)


def test_it_listens_on_this_machine_alone_whatever_the_environment_says(stand_in, noted, tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECT_HOST", "0.0.0.0")
    monkeypatch.setenv("AFFECT_HTTP_PORT", "8080")
    stand_in(f"{READY}; time.sleep(600)")
    with local_gateway(tmp_path / "models"):
        _, arguments = noted()
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert flags == {
        "--models": str(tmp_path / "models"),
        "--host": "127.0.0.1",
        "--http-port": "0",
        "--grpc-port": "0",
        "--drain-delay-s": "0",
    }


def test_what_goes_wrong_inside_ends_it_too(stand_in, noted, tmp_path):
    stand_in(f"{READY}; time.sleep(600)")
    with pytest.raises(RuntimeError, match="on purpose"), local_gateway(tmp_path):
        raise RuntimeError("on purpose")
    assert not is_alive(noted()[0])


def test_one_that_does_not_end_when_told_is_killed(stand_in, noted, tmp_path):
    stand_in(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}; time.sleep(600)")
    started = time.monotonic()
    with local_gateway(tmp_path, stop_s=0.2):
        pass
    assert not is_alive(noted()[0])
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("print('a line', file=sys.stderr); sys.exit('affect-serve: there is no models directory')", "there is no"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("pass", "it printed nothing"),
    ],
    ids=["its error", "a crash", "in silence"],
)
def test_the_last_word_of_one_that_does_not_start_is_the_error(stand_in, tmp_path, script, word):
    stand_in(script)
    with pytest.raises(ServiceUnreachable) as caught, local_gateway(tmp_path):
        pytest.fail("there is no gateway")
    assert str(caught.value).startswith(f"the gateway for {tmp_path} did not start: {word}")


def test_one_that_never_says_it_is_ready_is_given_up(stand_in, noted, tmp_path):
    stand_in("print('loading', file=sys.stderr, flush=True); time.sleep(600)")
    late = pytest.raises(ServiceUnreachable, match="did not start: no answer within 1 s; ")
    with late, local_gateway(tmp_path, start_s=1.0):
        pytest.fail("there is no gateway")
    assert not (tmp_path / "note").exists() or not is_alive(noted()[0])


def test_a_failed_start_leaves_no_process_to_be_collected(stand_in, tmp_path):
    stand_in("sys.exit(1)")
    with pytest.raises(ServiceUnreachable), local_gateway(tmp_path):
        pytest.fail("there is no gateway")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
