"""A picture of what a model said of some scored pictures: right in green, wrong in red, marked so without colour too.

python scripts/draw_answers.py --scores DIR --backbone custom_cnn --out answers.png
"""

import argparse
from pathlib import Path

from affect_contract.labels import LABELS
from affect_evaluation.report import plots
from affect_evaluation.report.picture_grids import SHOWN, Shown, grid
from affect_evaluation.run.answers import Answers, read_answers
from affect_evaluation.run.predictions import FILE_NAME
from affect_evaluation.run.truth import Truth, read_truth, whole


def main() -> None:
    """Draw the picture."""
    options = _parser().parse_args()
    truth = read_truth(options.scores)
    answers = read_answers(options.scores / FILE_NAME, truth.samples)[options.backbone]
    answered = whole(answers.probabilities) & whole(answers.affect)
    by_chance = sorted(answered.nonzero()[0].tolist(), key=lambda place: truth.samples[place].digest)
    plots.save(grid([_shown(truth, answers, place) for place in by_chance[:SHOWN]], ""), options.out)


def _shown(truth: Truth, answers: Answers, place: int) -> Shown:
    sample, predicted = truth.samples[place], int(answers.probabilities[place].argmax())
    valence, arousal = answers.affect[place]
    right = predicted == sample.expression
    verdict = "right" if right else f"wrong: {sample.expression.label}"
    title = f"{LABELS[predicted]} {answers.probabilities[place, predicted]:.2f}\n{verdict}"
    return Shown(sample, title, f"valence {valence:+.2f}\narousal {arousal:+.2f}", right)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Draw some answers of an evaluation.")
    parser.add_argument("--scores", type=Path, required=True, help="the folder of affect-evaluate")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    return parser


if __name__ == "__main__":
    main()
