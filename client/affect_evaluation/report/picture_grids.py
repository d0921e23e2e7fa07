"""Grids of pictures with their predictions, as in the study: right ones framed green, wrong ones red and dashed."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from affect_contract.labels import LABELS
from affect_dataset.samples import Sample
from affect_evaluation.report.plots import RIGHT, WRONG
from affect_evaluation.run.answers import Answers
from affect_evaluation.run.truth import complete_rows, expression_ids, scalar_values

_ACROSS: Final = 6
SHOWN: Final = 12


class CaptionedPicture(NamedTuple):
    """A picture, the text above and below it, and whether its prediction is right."""

    sample: Sample
    title: str
    detail: str
    right: bool


def sample_right_and_wrong(
    samples: Sequence[Sample], answers: Answers
) -> tuple[list[CaptionedPicture], list[CaptionedPicture]]:
    """Choose some right and some wrong answers by the pictures' digests, which do not depend on the answers."""
    by_chance = sorted(_classified(answers), key=lambda index: samples[index].digest)
    right = _right(samples, answers)
    return (
        [_captioned(samples, answers, index) for index in [one for one in by_chance if right[one]][:SHOWN]],
        [_captioned(samples, answers, index) for index in [one for one in by_chance if not right[one]][:SHOWN]],
    )


def most_confident_errors(samples: Sequence[Sample], answers: Answers) -> list[CaptionedPicture]:
    """Choose the wrong expressions that were predicted with the highest confidence."""
    confidence, right = answers.probabilities.max(axis=1), _right(samples, answers)
    wrong = sorted((one for one in _classified(answers) if not right[one]), key=lambda index: -confidence[index])
    return [_captioned(samples, answers, index) for index in wrong[:SHOWN]]


def largest_scalar_errors(samples: Sequence[Sample], answers: Answers) -> list[CaptionedPicture]:
    """Choose the pictures whose valence and arousal were predicted farthest from their annotations."""
    true = scalar_values(samples)
    distance = np.linalg.norm(answers.affect - true, axis=1)
    order = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")[:SHOWN]
    return [
        CaptionedPicture(
            samples[index],
            f"V {true[index, 0]:+.2f}, A {true[index, 1]:+.2f}",
            f"predicted\nV {answers.affect[index, 0]:+.2f}, A {answers.affect[index, 1]:+.2f}",
            right=False,
        )
        for index in order
        if np.isfinite(distance[index])
    ]


def grid(pictures: Sequence[CaptionedPicture], title: str) -> Figure:
    """Draw the pictures in rows of six."""
    rows = -(-len(pictures) // _ACROSS)
    figure = Figure(figsize=(1.75 * _ACROSS, 2.55 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    cells = figure.subplots(rows, _ACROSS, squeeze=False).flat
    for axes, one in zip(cells, [*pictures, *[None] * _ACROSS], strict=False):
        if one is None:
            axes.set_axis_off()
        else:
            _draw(axes, one)
    return figure


def _draw(axes: Axes, captioned: CaptionedPicture) -> None:
    colour = RIGHT if captioned.right else WRONG
    try:
        with Image.open(captioned.sample.path) as picture:
            axes.imshow(picture.convert("RGB").resize((112, 112)))
    except (OSError, UnidentifiedImageError):
        axes.text(0.5, 0.5, "picture no\nlonger there", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=3.5, linestyle="-" if captioned.right else (0, (3, 2)))
    axes.set_title(captioned.title, fontsize=10)
    axes.set_xlabel(captioned.detail, fontsize=9, color=colour)


def _classified(answers: Answers) -> list[int]:
    """Return the indices of the pictures whose expression was predicted."""
    return np.flatnonzero(complete_rows(answers.probabilities)).tolist()


def _right(samples: Sequence[Sample], answers: Answers) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = answers.probabilities.argmax(axis=1) == expression_ids(samples)
    return right


def _captioned(samples: Sequence[Sample], answers: Answers, index: int) -> CaptionedPicture:
    sample, predicted = samples[index], int(answers.probabilities[index].argmax())
    right = predicted == sample.expression
    verdict = "right" if right else f"wrong: {LABELS[predicted]}"
    return CaptionedPicture(
        sample, sample.expression.label, f"{verdict}\n{answers.probabilities[index, predicted]:.2f}", right
    )
