"""Pictures with what was said of them, as the study drew them: right in green, wrong in red, and told apart without."""

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
from affect_evaluation.run.truth import affect, expressions, whole

_ACROSS: Final = 6
SHOWN: Final = 12


class Shown(NamedTuple):
    """A picture with two lines of text."""

    sample: Sample
    title: str
    detail: str
    right: bool


def right_and_wrong(samples: Sequence[Sample], answers: Answers) -> tuple[list[Shown], list[Shown]]:
    """Some right and some wrong answers, chosen by the pictures' digests, which know nothing of the answers."""
    by_chance = sorted(_classified(answers), key=lambda place: samples[place].digest)
    right = _right(samples, answers)
    return (
        [_shown(samples, answers, place) for place in [one for one in by_chance if right[one]][:SHOWN]],
        [_shown(samples, answers, place) for place in [one for one in by_chance if not right[one]][:SHOWN]],
    )


def surest_errors(samples: Sequence[Sample], answers: Answers) -> list[Shown]:
    """The wrong expressions that the model was surest of."""
    confidence, right = answers.probabilities.max(axis=1), _right(samples, answers)
    wrong = sorted((one for one in _classified(answers) if not right[one]), key=lambda place: -confidence[place])
    return [_shown(samples, answers, place) for place in wrong[:SHOWN]]


def farthest_off(samples: Sequence[Sample], answers: Answers) -> list[Shown]:
    """The pictures whose valence and arousal were predicted farthest from their annotation."""
    true = affect(samples)
    distance = np.linalg.norm(answers.affect - true, axis=1)
    order = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")[:SHOWN]
    return [
        Shown(
            samples[place],
            f"V {true[place, 0]:+.2f}, A {true[place, 1]:+.2f}",
            f"predicted\nV {answers.affect[place, 0]:+.2f}, A {answers.affect[place, 1]:+.2f}",
            right=False,
        )
        for place in order
        if np.isfinite(distance[place])
    ]


def grid(shown: Sequence[Shown], title: str) -> Figure:
    """The pictures in rows of six."""
    rows = -(-len(shown) // _ACROSS)
    figure = Figure(figsize=(1.75 * _ACROSS, 2.55 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    for axes, one in zip(figure.subplots(rows, _ACROSS, squeeze=False).flat, [*shown, *[None] * _ACROSS], strict=False):
        if one is None:
            axes.set_axis_off()
        else:
            _draw(axes, one)
    return figure


def _draw(axes: Axes, shown: Shown) -> None:
    colour = RIGHT if shown.right else WRONG
    try:
        with Image.open(shown.sample.path) as picture:
            axes.imshow(picture.convert("RGB").resize((112, 112)))
    except (OSError, UnidentifiedImageError):
        axes.text(0.5, 0.5, "picture no\nlonger there", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=colour, linewidth=3.5, linestyle="-" if shown.right else (0, (3, 2)))
    axes.set_title(shown.title, fontsize=10)
    axes.set_xlabel(shown.detail, fontsize=9, color=colour)


def _classified(answers: Answers) -> list[int]:
    """The places of pictures whose expression was answered."""
    return np.flatnonzero(whole(answers.probabilities)).tolist()


def _right(samples: Sequence[Sample], answers: Answers) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = answers.probabilities.argmax(axis=1) == expressions(samples)
    return right


def _shown(samples: Sequence[Sample], answers: Answers, place: int) -> Shown:
    sample, predicted = samples[place], int(answers.probabilities[place].argmax())
    right = predicted == sample.expression
    verdict = "right" if right else f"wrong: {LABELS[predicted]}"
    return Shown(sample, sample.expression.label, f"{verdict}\n{answers.probabilities[place, predicted]:.2f}", right)
