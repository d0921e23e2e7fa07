"""A picture of what a model said of some scored pictures: right in green, wrong in red, marked so without colour too.

python scripts/draw_answers.py --data DIR --scores DIR --backbone custom_cnn --out answers.png
"""

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from affect_client.evaluation.predictions import FILE_NAME, read_rows
from affect_contract.schemas import Prediction
from affect_dataset import layouts
from affect_dataset.samples import Sample

COLUMNS, ROWS = 6, 2
RIGHT, WRONG = "#009E73", "#D55E00"


def main() -> None:
    """Draw the picture."""
    options = _parser().parse_args()
    samples = {sample.id: sample for sample in layouts.load(options.data).samples}
    rows = [row for row in read_rows(options.scores / FILE_NAME) if row.backbone == options.backbone]
    answered = [(samples[row.id], row.answer) for row in rows if row.answer is not None]
    answered.sort(key=lambda pair: pair[0].digest)
    figure = Figure(figsize=(2.1 * COLUMNS, 3.3 * ROWS), layout="constrained")
    for axes, (sample, answer) in zip(figure.subplots(ROWS, COLUMNS).flat, answered, strict=False):
        _draw(axes, sample, answer)
    figure.savefig(options.out, dpi=100)


def _draw(axes: Axes, sample: Sample, answer: Prediction) -> None:
    right = answer.expression == sample.expression.label
    colour = RIGHT if right else WRONG
    with Image.open(sample.path) as picture:
        axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=4, linestyle="-" if right else (0, (3, 2)))
    verdict = "right" if right else f"wrong: {sample.expression.label}"
    axes.set_title(f"{answer.expression} {answer.confidence:.2f}\n{verdict}", color=colour, fontsize=11)
    axes.set_xlabel(f"valence {answer.valence:+.2f}\narousal {answer.arousal:+.2f}", fontsize=10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Draw some answers of an evaluation.")
    parser.add_argument("--data", type=Path, required=True, help="the data set that was scored")
    parser.add_argument("--scores", type=Path, required=True, help="the folder of affect-evaluate")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    return parser


if __name__ == "__main__":
    main()
