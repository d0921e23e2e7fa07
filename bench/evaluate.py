"""Compare the evaluation job with a bare load generator on the same gateway, and time the scoring of large sets.

Both send the same pictures to the gateway, with 16 requests in flight. Then recorded answers to ``--rows`` pictures
are scored and plotted in a process of its own.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from affect_contract.arguments import whole_number
from affect_contract.commands import CommandParser
from affect_contract.labels import LABELS, Expression
from affect_contract.schemas import AnsweringModel, Prediction
from affect_dataset.faces.synthetic import write_faces
from affect_dataset.samples import Sample
from affect_dataset.split import STUDY_FRACTIONS
from affect_evaluation.run.manifest import claim, identity
from affect_evaluation.run.predictions import PREDICTIONS_FILE, RecordedAnswer
from affect_evaluation.run.truth import Prior, Truth, scalar_values

BENCH = Path(__file__).resolve().parent
FACES = 64
SECONDS = 6.0


def main() -> None:
    """Run the benchmark and print its figures."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = _many_faces(root, options.pictures)
        with _gateway(options.models) as (http, rpc):
            ways: dict[str, list[float]] = {
                "load generator": [],
                "affect-evaluate, HTTP": [],
                "affect-evaluate, gRPC": [],
            }
            for number in range(options.rounds):
                ways["load generator"].append(_load(http, data / "images"))
                ways["affect-evaluate, HTTP"].append(_evaluate(http, data, root / f"http{number}"))
                ways["affect-evaluate, gRPC"].append(_evaluate(rpc, data, root / f"rpc{number}"))
        base = statistics.median(ways["load generator"])
        for name, several in ways.items():
            print(f"{name:24}{statistics.median(several):8.0f} pictures/s ({statistics.median(several) / base:.2f}x)")
        _score_many(root / "many", options.rows)


def _many_faces(root: Path, count: int) -> Path:
    """Write a data set of ``count`` pictures: a few synthetic faces, repeated with bytes added so that all differ."""
    write_faces(root / "drawn", FACES)
    data = root / "faces"
    shutil.copytree(root / "drawn", data)
    images = sorted((root / "drawn" / "images").iterdir(), key=lambda path: int(path.stem))
    for number in range(FACES, count):
        source = images[number % FACES]
        (data / "images" / f"{number + 1}.jpg").write_bytes(source.read_bytes() + number.to_bytes(4, "big"))
        for kind in ("exp", "val", "aro"):
            annotations = data / "annotations"
            shutil.copy(annotations / f"{source.stem}_{kind}.npy", annotations / f"{number + 1}_{kind}.npy")
    return data


@contextmanager
def _gateway(models: Path) -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-m", "affect_serving", "--models", str(models), "--backbones", "mobilenet_v2"]
    command += ["--http-port", "0", "--grpc-port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        urls = re.findall(r"\S+://\S+", process.stdout.readline()) if process.stdout else []
        try:
            yield urls[0], urls[1]
        finally:
            process.terminate()


def _load(url: str, pictures: Path) -> float:
    command = [sys.executable, str(BENCH / "load.py"), f"{url}/predict", "--pictures", str(pictures)]
    done = subprocess.run([*command, "--seconds", str(SECONDS)], check=True, capture_output=True)
    result = json.loads(done.stdout)
    return float(result["pictures"] / result["seconds"])


def _evaluate(url: str, data: Path, out: Path) -> float:
    command = [sys.executable, "-m", "affect_evaluation", "--url", url, "--data", str(data), "--out", str(out)]
    subprocess.run([*command, "--split", "all"], check=True, capture_output=True)
    return float(json.loads((out / "run.json").read_text())["timing"]["pictures_per_s"])


def _score_many(folder: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    samples = []
    for number in range(rows):
        valence, arousal = random.uniform(-1, 1, 2).tolist()
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        picture = folder.parent / "drawn" / "images" / f"{number % FACES + 1}.jpg"
        samples.append(Sample(f"{number:06}", picture, Expression(number % len(LABELS)), valence, arousal, digest))
    claim(folder, identity("many", "all", samples, []))
    facts = {"data_digest": "many", "split": "all", "split_seed": 0, "fractions": list(STUDY_FRACTIONS), "excluded": {}}
    Truth.of(samples, Prior.of(samples), facts).write(folder)
    with (folder / PREDICTIONS_FILE).open("w") as file:
        for sample in samples:
            file.write(_answer(sample, random).model_dump_json(exclude_unset=True) + "\n")
    started = time.perf_counter()
    command = [sys.executable, "-m", "affect_evaluation", "score", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit("scoring failed, the figures are void")
    print(f"{rows:,} rows scored and drawn in {time.perf_counter() - started:.0f} s, {_megabytes(used):.0f} MB at most")


def _megabytes(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / 1024


def _answer(sample: Sample, random: np.random.Generator) -> RecordedAnswer:
    weights = random.dirichlet(np.ones(len(LABELS)) + 2 * np.eye(len(LABELS))[sample.expression])
    best = int(weights.argmax())
    model = AnsweringModel(backbone="mobilenet_v2", versions={"mobilenet_v2_affect": 1})
    valence, arousal = np.clip(scalar_values([sample])[0] + random.normal(0, 0.3, 2), -1, 1).tolist()
    answer = Prediction(
        expression=LABELS[best],
        expression_id=best,
        confidence=float(weights[best]),
        probabilities=dict(zip(LABELS, weights.tolist(), strict=True)),
        valence=valence,
        arousal=arousal,
        model=model,
        request_id="r",
    )
    return RecordedAnswer(id=sample.id, backbone=model.backbone, answer=answer, versions=model.versions, latency_ms=5.0)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/evaluate.py",
        description="Measure the evaluation job against a bare load generator, and the scoring of a large set.",
        examples=("python bench/evaluate.py --models models",),
    )
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="models directory with a MobileNetV2")
    parser.add_argument(
        "--pictures",
        type=whole_number(1),
        default=4_000,
        metavar="N",
        help="pictures to ask for (default: %(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        default=50_000,
        metavar="N",
        help="recorded answers to score (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="rounds, of which the median counts (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
