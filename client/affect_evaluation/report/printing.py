"""Print the result of a run to the terminal."""

from pathlib import Path

from affect_evaluation.report.html_report import REPORT_FILE
from affect_evaluation.report.terminal_table import table
from affect_evaluation.run.result import METRICS_FILE, Result


def print_result(folder: Path, result: Result) -> None:
    """Print the table of a run, its failures, and the paths of its files."""
    pictures, split = len(result.truth.samples), result.truth.facts["split"]
    scope = "ALL pictures, those that trained the models included" if split == "all" else f"the {split} split"
    print(f"{pictures:,} pictures: {scope}\n\n{table(result.models, result.baselines)}\n")  # noqa: T201
    for name, scores in result.models.items():
        if scores["failures"]:
            counts = ", ".join(f"{code} {count:,}" for code, count in scores["failures"].items())
            print(f"{name}: no answer for {pictures - scores['coverage']['answered']:,} pictures ({counts})")  # noqa: T201
    print(f"scores: {folder / METRICS_FILE}, report: {folder / REPORT_FILE}")  # noqa: T201
