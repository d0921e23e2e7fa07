"""Compare two runs with `affect-evaluate` in a process of its own, so that its libraries are not needed here."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from affect_contract.comparison import COMPARISON_FILE, ComparisonDocument
from affect_models.gate import RunsUnusable

_PREFIX: Final = "affect-evaluate: "
_MISSING: Final = re.compile(r"ModuleNotFoundError: No module named '(?P<module>[\w.]+)'")


def compare_runs(against: Path, run: Path) -> ComparisonDocument:
    """Compare the run in a folder with the one that it is measured against.

    Raises:
        RunsUnusable: a folder holds no run, the runs cannot be compared, or a library is missing.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="affect-comparison-") as folder:
            _compare(against, run, Path(folder))
            return ComparisonDocument.model_validate(json.loads((Path(folder) / COMPARISON_FILE).read_bytes()))
    except OSError as exc:
        raise RunsUnusable(f"{run} and {against} cannot be compared: {exc.strerror}") from exc


def _compare(against: Path, run: Path, out: Path) -> None:
    # -P: -m would look for modules in the working directory first.
    command = [
        sys.executable,
        "-P",
        "-m",
        "affect_evaluation",
        "compare",
        "--out",
        str(out),
        "--",
        str(against),
        str(run),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.splitlines() or [f"affect-evaluate ended with status {done.returncode}"])[-1]
        raise RunsUnusable(_reason(last, against, run))


def _reason(last: str, against: Path, run: Path) -> str:
    """Return why the comparison failed, from the last line that it wrote to stderr."""
    if missing := _MISSING.fullmatch(last):
        module = missing["module"]
        return f"--if-evaluation needs {module}, which is not installed: pip install 'affect-serving[evaluate]'"
    if last.startswith(_PREFIX):
        return last.removeprefix(_PREFIX)
    return f"{run} and {against} cannot be compared: {last}"
