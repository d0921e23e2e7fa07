"""Run the main job end to end with the commands that a user types: data, training, serving, predictions, scores.

    make demo [DATA=dir] [WEIGHTS=dir]

Without a data set it draws synthetic faces; where ImageNet weights cannot be had it goes on with random backbones.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from affect_client.local_gateway import local_gateway
from affect_client.predict_command import find_pictures
from affect_contract.backbones import BACKBONES, BackboneName, pretrained_backbones
from affect_contract.commands import CommandParser
from affect_dataset.loading import folder_of
from affect_training.networks.weights import file_name

FACES = 1600
SHOWN = 8
DOWNLOAD_S = 600

HEADLINE_METRIC = "accuracy"


def main() -> int:
    """Run every step; return the exit status: 1 if the custom CNN loses to the baseline on synthetic faces."""
    options = _parser().parse_args()
    started = time.perf_counter()
    out = _fresh(options.out)
    data = options.data or _draw_faces(out / "faces")
    models, scores = out / "models", out / "evaluation"
    weights = _weights(options.weights)
    _train(data, models, weights, out / "cache")
    _step("Serve the models and ask for a few pictures")
    with local_gateway(models) as (url, _):
        print(f"the gateway answers on {url}")
        _predict(url, data)
        _step("Score the test split through the running service")
        _command("affect-evaluate", "--url", url, "--data", data, "--out", scores)
    _step("Compare the networks with each other")
    _command("affect-evaluate", "compare", scores, "--models", models)
    beaten = _headline(scores / "metrics.json", [name for name in weights if weights[name] == "none"])
    print(f"\n{time.perf_counter() - started:.0f} s. Plots of the training: {models / 'runs' / '1'}")
    print(f"The report, for a browser: {scores / 'report.html'}")
    print(f"Try it yourself: affect-serve --models {models}")
    # On a user's own data ten epochs from scratch prove nothing; on the synthetic faces they must suffice.
    return 0 if beaten or options.data else 1


def _fresh(out: Path) -> Path:
    # Without the marker nothing is removed, so that a mistyped --out never deletes a user's folder.
    marker = out / ".affect-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        sys.exit(f"demo: {out} holds something that no demo made: name another folder with DEMO_OUT=")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    marker.touch()
    return out


def _draw_faces(folder: Path) -> Path:
    _step(f"Draw {FACES:,} synthetic faces in AffectNet's layout")
    _run([sys.executable, "-m", "affect_dataset.faces", "--out", str(folder), "--count", str(FACES)])
    return folder


def _weights(folder: Path | None) -> dict[str, str]:
    """Choose the source of each backbone's weights: the folder, Keras's download, or random weights."""
    chosen: dict[str, str] = {}
    for backbone in pretrained_backbones():
        if folder is not None and (folder / file_name(backbone)).is_file():
            chosen[backbone] = str(folder)
        else:
            chosen[backbone] = "imagenet" if _can_download(backbone) else "none"
    random = [backbone for backbone, source in chosen.items() if source == "none"]
    if random:
        _print_warning(
            f"ImageNet weights cannot be had here for {', '.join(random)}: going on with RANDOM backbones.",
            "Their scores stay near chance and say nothing of the method. Give WEIGHTS=dir with",
            f"{', '.join(file_name(backbone) for backbone in random)} for real ones.",
        )
    return chosen


def _can_download(backbone: BackboneName) -> bool:
    code = (
        "from affect_training.networks.backbones import build_base;"
        "from affect_training.networks.weights import Origin, Weights;"
        f"build_base({backbone!r}, Weights(Origin.IMAGENET))"
    )
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(command, capture_output=True, timeout=DOWNLOAD_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _train(data: Path, models: Path, weights: dict[str, str], cache: Path) -> None:
    _step("Train MobileNetV2, DenseNet121 and the custom CNN for both tasks, and publish them")
    flags = [flag for backbone, source in weights.items() for flag in ("--weights", f"{backbone}={source}")]
    # With an empty cache, the plots show the times of this run.
    flags += ["--cache", str(cache)]
    _command("affect-train", "--data", data, "--models", models, "--backbones", ",".join(BACKBONES), *flags)


def _predict(url: str, data: Path) -> None:
    pictures = find_pictures([folder_of(data)])[:SHOWN]
    for backbone in BACKBONES:
        print(f"\n{backbone}:")
        _command("affect-predict", "--url", url, "--backbone", backbone, *pictures)


def _headline(metrics: Path, random: list[str]) -> bool:
    """Print the accuracies, and return whether the custom CNN beats the baseline."""
    document = json.loads(metrics.read_text())
    baseline = _accuracy(document["baselines"])
    # A network on a random backbone is near chance and is listed apart.
    trained = {name: _accuracy(scored) for name, scored in document["models"].items() if name not in random}
    reached = trained["custom_cnn"]
    _step("Result")
    for name, accuracy in trained.items():
        print(f"{name}: accuracy {accuracy:.3f} on the test split, {accuracy / baseline:.1f}x the majority baseline")
    for name in random:
        accuracy = _accuracy(document["models"][name])
        print(f"{name}: accuracy {accuracy:.3f} with a RANDOM backbone, near chance as it must be")
    print(f"majority baseline: {baseline:.3f}")
    if reached <= baseline:
        _print_warning(f"the custom CNN ({reached:.3f}) does not beat the majority baseline ({baseline:.3f})")
    return reached > baseline


def _accuracy(scored: dict[str, Any]) -> float:
    return float(scored["classification"][HEADLINE_METRIC])


def _command(name: str, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print(f"$ {shlex.join([name, *words])}", flush=True)
    _run([str(Path(sys.executable).with_name(name)), *words])


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


def _step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def _print_warning(*lines: str) -> None:
    width = max(map(len, lines))
    print("\n".join(["", "!" * (width + 4), *(f"! {line:{width}} !" for line in lines), "!" * (width + 4)]), flush=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python scripts/demo.py",
        description="Do the main job end to end, with the commands that a user types: data, training, serving, "
        "predictions, scores.",
        notes="The folder of an earlier demo is replaced; any other folder that holds something is left alone. Exit "
        "status: 1 if a step fails, or if the custom CNN does not beat the majority baseline on the synthetic faces.",
        examples=(
            "python scripts/demo.py --out demo-out",
            "python scripts/demo.py --out demo-out --data faces --weights weights",
        ),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for everything that the demo makes"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="data set: a folder in AffectNet's layout, or a CSV file (default: synthetic faces)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder of ImageNet weights (default: Keras's download, or random ones where there is no internet)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
