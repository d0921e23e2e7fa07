"""Draw some of a model's answers: right ones framed in green, wrong ones in red and dashed."""

from pathlib import Path

from affect_contract.commands import CommandParser
from affect_contract.labels import LABELS
from affect_evaluation.report import plots
from affect_evaluation.report.picture_grids import SHOWN, CaptionedPicture, grid
from affect_evaluation.run.answers import Answers, read_answers
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import Truth, complete_rows, read_truth


def main() -> None:
    """Draw the answers to a PNG file."""
    options = _parser().parse_args()
    truth = read_truth(options.scores)
    answers = read_answers(options.scores / PREDICTIONS_FILE, truth.samples)[options.backbone]
    answered = complete_rows(answers.probabilities) & complete_rows(answers.affect)
    by_chance = sorted(answered.nonzero()[0].tolist(), key=lambda place: truth.samples[place].digest)
    plots.save(grid([_captioned(truth, answers, place) for place in by_chance[:SHOWN]], ""), options.out)


def _captioned(truth: Truth, answers: Answers, place: int) -> CaptionedPicture:
    sample, predicted = truth.samples[place], int(answers.probabilities[place].argmax())
    valence, arousal = answers.affect[place]
    right = predicted == sample.expression
    verdict = "right" if right else f"wrong: {sample.expression.label}"
    title = f"{LABELS[predicted]} {answers.probabilities[place, predicted]:.2f}\n{verdict}"
    return CaptionedPicture(sample, title, f"valence {valence:+.2f}\narousal {arousal:+.2f}", right)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python scripts/draw_answers.py",
        description="Draw some of a model's answers to scored pictures, right ones in green and wrong ones in red.",
        examples=("python scripts/draw_answers.py --scores scores --backbone custom_cnn --out answers.png",),
    )
    parser.add_argument(
        "--scores", type=Path, required=True, metavar="DIR", help="folder that affect-evaluate has written"
    )
    parser.add_argument("--backbone", required=True, metavar="NAME", help="backbone whose answers to draw")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="PNG file to write")
    return parser


if __name__ == "__main__":
    main()
