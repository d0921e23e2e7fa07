"""The plots of a result, one figure each, readable in print and with red-green colour blindness."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from affect_contract.calibration_error import confidence_bins
from affect_contract.labels import LABELS
from affect_evaluation.scoring.metrics import Classification, Ids, Regression, Scores, normalised

RIGHT: Final = "#009E73"
WRONG: Final = "#D55E00"
_TRUE: Final = "#0072B2"
_GREY: Final = "#767676"
_DPI: Final = 110
_TICKS: Final = (-1, -0.5, 0, 0.5, 1)
_NAME_WIDTH: Final = 0.4
_NAME_HEIGHT: Final = 0.08
"""Size of an expression's name in the plane of valence and arousal, in its units."""
_DARK: Final = 0.5
"""Cells with a larger share are drawn so dark that their number is white."""
_SCATTER_MOST: Final = 3_000
"""Most points of a scatter plot; more are drawn as density, or thinned out."""
_STYLES: Final = (
    ("#000000", "-"), ("#E69F00", "--"), ("#56B4E9", "-."), ("#009E73", ":"),
    ("#8C6D00", "-"), ("#0072B2", "--"), ("#D55E00", "-."), ("#CC79A7", ":"),
)  # fmt: skip
"""Okabe and Ito's palette, its yellow darkened for white paper, each with a dash of its own."""


def save(figure: Figure, target: IO[bytes] | Path) -> None:
    """Write a figure as PNG without a timestamp."""
    figure.savefig(target, dpi=_DPI, format="png", metadata={"Software": None})


def confusion(scores: Classification, title: str) -> Figure:
    """Draw the confusion matrix: counts, shaded by their share of the true expression."""
    counts = np.array(scores["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(6.4, 5.6)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        dark = shares[row, column] > _DARK
        axes.text(column, row, f"{count:,}", ha="center", va="center", color="white" if dark else "black", fontsize=9)
    places = range(len(LABELS))
    axes.set(xticks=places, yticks=places, yticklabels=LABELS, xlabel="predicted", ylabel="true", title=title)
    axes.set_xticklabels(LABELS, rotation=40, ha="right")
    figure.colorbar(image, label="share of the true expression's pictures", shrink=0.85)
    return figure


def roc(true: Ids, probabilities: Scores, scores: Classification, title: str) -> Figure:
    """Draw the ROC curve of each expression against the rest."""
    figure, axes = _figure(7.4, 4.8)
    ranked = normalised(probabilities)
    for number in _present(scores):
        area = scores["per_class"][LABELS[number]]["auc_roc"]
        colour, dash = _STYLES[number]
        false_rate, true_rate, _ = roc_curve(true == number, ranked[:, number])
        axes.plot(false_rate, true_rate, color=colour, linestyle=dash, label=f"{LABELS[number]} ({area:.2f})")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="guess (0.50)")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=title, xlim=(0, 1), ylim=(0, 1.01))
    _legend_beside(axes, "expression (AUC)")
    return figure


def precision_recall(true: Ids, probabilities: Scores, scores: Classification, title: str) -> Figure:
    """Draw precision by recall of each expression against the rest."""
    figure, axes = _figure(7.4, 4.8)
    ranked = normalised(probabilities)
    for number in _present(scores):
        own = scores["per_class"][LABELS[number]]
        colour, dash = _STYLES[number]
        precision, recall, _ = precision_recall_curve(true == number, ranked[:, number])
        label = f"{LABELS[number]} ({own['auc_pr']:.2f}, guess {own['prevalence']:.2f})"
        axes.plot(recall, precision, color=colour, linestyle=dash, label=label)
    axes.set(xlabel="recall", ylabel="precision", title=title, xlim=(0, 1), ylim=(0, 1.01))
    _legend_beside(axes, "expression (average precision)")
    return figure


def reliability(true: Ids, probabilities: Scores, scores: Classification, title: str) -> Figure:
    """Draw the share of right predictions by confidence, and the number of predictions."""
    bins = [one for one in confidence_bins(true, probabilities) if one["n"]]
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    above.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="calibrated")
    above.plot([one["confidence"] for one in bins], [one["accuracy"] for one in bins], "o-", color=_TRUE, label="model")
    above.set(ylabel="share that is right", title=title, xlim=(0, 1), ylim=(0, 1))
    above.text(0.97, 0.05, f"ECE {scores['expected_calibration_error']:.3f}", ha="right", transform=above.transAxes)
    above.legend(loc="upper left", frameon=False)
    width = bins[0]["high"] - bins[0]["low"]
    below.bar([one["low"] for one in bins], [one["n"] for one in bins], width, align="edge", color=_TRUE)
    below.set(xlabel="confidence of the predicted expression", ylabel="pictures")
    return figure


def predicted_by_true(true: Scores, predicted: Scores, scores: Mapping[str, Regression], title: str) -> Figure:
    """Draw predicted by annotated values of each scalar output."""
    figure = Figure(figsize=(4.6 * len(scores), 4.6), layout="constrained")
    figure.suptitle(title)
    for column, (axes, (name, own)) in enumerate(zip(figure.subplots(1, len(scores)), scores.items(), strict=True)):
        _cloud(axes, true[:, column], predicted[:, column])
        axes.plot([-1, 1], [-1, 1], color=_GREY, linewidth=0.8)
        ccc = "undefined" if own["ccc"] is None else f"{own['ccc']:.3f}"
        axes.set(xlabel=f"annotated {name}", ylabel=f"predicted {name}", title=f"CCC {ccc}, RMSE {own['rmse']:.3f}")
        _affect_axes(axes)
    return figure


def circumplex(ids: Ids, true: Scores, predicted: Scores, title: str) -> Figure:
    """Draw annotations and predictions in the plane of valence and arousal.

    An arrow for each expression leads from the mean annotation to the mean prediction.

    Source: Russell (1980), A circumplex model of affect.
    """
    figure, axes = _figure(6.6, 6.4)
    picked = np.linspace(0, len(true) - 1, min(len(true), _SCATTER_MOST)).astype(int)
    axes.scatter(
        true[picked, 0], true[picked, 1], s=9, alpha=0.35, color=_TRUE, marker="o", linewidths=0, label="annotated"
    )
    axes.scatter(
        predicted[picked, 0],
        predicted[picked, 1],
        s=13,
        alpha=0.35,
        color=WRONG,
        marker="x",
        linewidths=0.8,
        label="predicted",
    )
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(angle), np.sin(angle), color=_GREY, linewidth=0.8)
    _mean_arrows(axes, ids, true, predicted)
    axes.axhline(0, color=_GREY, linewidth=0.5)
    axes.axvline(0, color=_GREY, linewidth=0.5)
    axes.set(xlabel="valence: displeased to pleased", ylabel="arousal: calm to excited", title=title)
    _affect_axes(axes)
    axes.legend(loc="upper left", frameon=False, markerscale=2)
    axes.text(0.99, 0.01, "arrows: from the mean annotation\nto the mean prediction", ha="right", fontsize=8,
              transform=axes.transAxes)  # fmt: skip
    return figure


def _mean_arrows(axes: Axes, ids: Ids, true: Scores, predicted: Scores) -> None:
    """Draw an arrow for each expression, with its name at the start, moved up where another name is in the way."""
    taken: list[tuple[float, float]] = []
    means = {label: (true[ids == number].mean(axis=0), predicted[ids == number].mean(axis=0))
             for number, label in enumerate(LABELS) if (ids == number).any()}  # fmt: skip
    for label, (begin, end) in sorted(means.items(), key=lambda item: item[1][0][1]):
        axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 1.4})
        x, y = float(begin[0]), float(begin[1])
        while any(abs(x - other) < _NAME_WIDTH and abs(y - height) < _NAME_HEIGHT for other, height in taken):
            y += _NAME_HEIGHT / 4
        taken.append((x, y))
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
        axes.annotate(label, (x, y), fontsize=10, weight="bold", ha="center", va="bottom", bbox=box)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _present(scores: Classification) -> Iterable[int]:
    return (number for number, label in enumerate(LABELS) if scores["per_class"][label]["auc_roc"] is not None)


def _legend_beside(axes: Axes, title: str) -> None:
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, alignment="left")


def _cloud(axes: Axes, x: Scores, y: Scores) -> None:
    if len(x) > _SCATTER_MOST:
        axes.hexbin(x, y, gridsize=50, cmap="Blues", mincnt=1, bins="log", extent=(-1, 1, -1, 1))
    else:
        axes.scatter(x, y, s=10, alpha=0.4, color=_TRUE, linewidths=0)


def _affect_axes(axes: Axes) -> None:
    limits: Sequence[float] = (-1.05, 1.05)
    axes.set(xlim=limits, ylim=limits, xticks=_TICKS, yticks=_TICKS, aspect="equal")
