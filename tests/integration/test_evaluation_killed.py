"""An evaluation that is killed, and killed again, ends with the result of one that was not."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter

from tests.conftest import command
from tests.gateway import FakeBackend, listening_gateway


def answers(folder):
    path = folder / "predictions.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_killed_at_any_moment_goes_on_to_the_same_result_and_asks_each_picture_once(faces, tmp_path):
    backend = FakeBackend()
    with listening_gateway(backend) as urls:
        plain = ["--url", urls.http, "--data", faces, "--split", "all"]
        command("affect-evaluate", *plain, "--out", tmp_path / "undisturbed")
        backend.delay_s, pictures = 0.3, answers(tmp_path / "undisturbed")
        asked_before = len(backend.asked)
        words = [sys.executable, "-m", "affect_evaluation", *map(str, plain), "--out", str(tmp_path / "killed")]
        for wanted in (1, 20, 40):
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while answers(tmp_path / "killed") < wanted and process.poll() is None:
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
        command("affect-evaluate", *plain, "--out", tmp_path / "killed")
    metrics = [(tmp_path / name / "metrics.json").read_bytes() for name in ("undisturbed", "killed")]
    assert metrics[0] == metrics[1]
    rows = [json.loads(line) for line in (tmp_path / "killed" / "predictions.jsonl").read_text().splitlines()]
    assert Counter(row["id"] for row in rows).most_common(1)[0][1] == 1
    assert len(rows) == pictures
    assert len(backend.asked) - asked_before <= pictures + 3 * 16
