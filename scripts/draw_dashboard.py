"""Draw the dashboard of monitoring/grafana without Grafana, from the series of a Prometheus that scraped a gateway.

Needs the program ``prometheus``. Every query is the dashboard's own; panels are drawn as plain lines.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from affect_contract.arguments import seconds
from affect_contract.commands import CommandParser
from affect_dataset.faces.synthetic import write_faces

ROOT: Final = Path(__file__).resolve().parent.parent
DASHBOARD: Final = ROOT / "monitoring" / "grafana" / "affect.json"
RULES: Final = ROOT / "monitoring" / "prometheus" / "rules.yaml"
STEP_S: Final = 2
VARIABLES: Final = {"$__rate_interval": "20s", "$instance": ".*", "$job": ".*", "$backbone": ".*"}
COLUMNS: Final = 24
LONGEST_LEGEND: Final = 9

CONFIGURATION: Final = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: affect
    static_configs: [{{targets: ["{gateway}"]}}]
"""


def main() -> None:
    """Put load on a gateway, then draw the series that Prometheus has collected."""
    options = _parser().parse_args()
    if not shutil.which("prometheus"):
        sys.exit("prometheus is not here: apt-get install prometheus")
    with (
        tempfile.TemporaryDirectory() as folder,
        _gateway(options.models, Path(folder)) as gateway,
        _prometheus(gateway, Path(folder)) as prometheus,
    ):
        started = time.time()
        _load(gateway, Path(folder), options.seconds)
        figure = _drawn(prometheus, started, time.time())
    figure.savefig(options.out, dpi=80)
    print(f"{options.out}: {len(_panels())} panels")


def _panels() -> list[dict[str, Any]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in panels if panel["type"] in ("timeseries", "stat")]


@contextmanager
def _gateway(models: Path, folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "affect_serving", "--models", str(models), "--drain-delay-s", "0"]
    command += ["--http-port", "0", "--grpc-port", "0"]
    with (
        (folder / "gateway.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        line = process.stdout.readline() if process.stdout else ""
        try:
            yield line.split()[3].removeprefix("http://")
        finally:
            process.terminate()


@contextmanager
def _prometheus(gateway: str, folder: Path) -> Iterator[str]:
    (folder / "prometheus.yaml").write_text(CONFIGURATION.format(rules=RULES, gateway=gateway))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'series'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _listening(folder / "prometheus.log")
    finally:
        process.terminate()
        process.wait()


def _listening(log: Path) -> str:
    """Return the URL at which Prometheus says it listens."""
    for _ in range(300):
        if found := re.search(r"Listening on\D+address=(127\.0\.0\.1:\d+)", log.read_text()):
            return f"http://{found[1]}"
        time.sleep(0.1)
    sys.exit(f"prometheus did not start: {log.read_text()[-500:]}")


def _load(gateway: str, folder: Path, seconds: float) -> None:
    """Put load on the gateway: moderate, too much, moderate again, with some broken pictures throughout."""
    write_faces(folder / "faces", 32)
    (folder / "faces" / "images" / "broken.jpg").write_bytes(b"no picture")
    for in_flight in (4, 100, 4):
        command = [sys.executable, str(ROOT / "bench" / "load.py"), f"http://{gateway}/predict"]
        command += ["--pictures", str(folder / "faces" / "images"), "--in-flight", str(in_flight)]
        subprocess.run([*command, "--seconds", str(seconds / 3)], check=True, stdout=subprocess.DEVNULL)


def _drawn(prometheus: str, started: float, ended: float) -> Figure:
    mpl.rcParams["font.size"] = 8
    panels = _panels()
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(20, rows * 0.42), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    for panel in panels:
        place = panel["gridPos"]
        axes = figure.add_subplot(grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]])
        _draw(axes, panel, prometheus, started, ended)
    return figure


def _draw(axes: Axes, panel: dict[str, Any], prometheus: str, started: float, ended: float) -> None:
    axes.set_title(f"{panel['title']} ({panel['fieldConfig']['defaults']['unit']})", loc="left", weight="bold")
    for target in panel["targets"]:
        for series in _series(prometheus, target["expr"], started, ended):
            points = [(float(when) - started, float(value)) for when, value in series["values"] if value != "NaN"]
            if points:
                axes.plot(*zip(*points, strict=True), label=_legend(target["legendFormat"], series["metric"]))
    if 0 < len(axes.lines) <= LONGEST_LEGEND:
        axes.legend(fontsize=6)
    axes.set_xlim(0, ended - started)


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), form)


def _series(prometheus: str, expression: str, started: float, ended: float) -> list[dict[str, Any]]:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    query = urllib.parse.urlencode({"query": expression, "start": started, "end": ended, "step": STEP_S})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{query}") as answer:  # noqa: S310
        series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return series


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python scripts/draw_dashboard.py",
        description="Draw the Grafana dashboard of a gateway under load, without Grafana. Needs prometheus.",
        examples=("python scripts/draw_dashboard.py --models models --out dashboard.png",),
    )
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="models directory to serve")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("dashboard.png"),
        metavar="FILE",
        help="PNG file to write (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=90.0,
        metavar="SECONDS",
        help="time under load (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    main()
