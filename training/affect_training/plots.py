"""The study's training plots, drawn from a run's history alone: curves, losses compared, networks compared."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from affect_contract.backbones import BACKBONES
from affect_contract.outputs import SCALARS, Task
from affect_training.loop.validation import Epoch

_LOSS_LABEL: Final = {Task.CLASSIFICATION: "cross-entropy", Task.REGRESSION: "mean squared error"}
_SCORE: Final = {
    Task.CLASSIFICATION: ("val_accuracy", "accuracy, validation"),
    Task.REGRESSION: (f"val_ccc_{SCALARS[0].name}", f"CCC of {SCALARS[0].name}, validation"),
}
_CURVES: Final = {
    Task.CLASSIFICATION: [("accuracy", "accuracy", "training"), ("val_accuracy", "accuracy", "validation")],
    Task.REGRESSION: [(f"val_ccc_{scalar.name}", "CCC, validation", scalar.name) for scalar in SCALARS],
}

Record = dict[str, Any]
"""One network's part of a run's history."""


def draw_all(history: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every plot of a run as PNG.

    Args:
        history: the document that `records.history` makes.
        folder: where the files go.

    Returns:
        The files made: one of curves for each network, and for each task one that compares losses and one
        that compares scores and times.
    """
    networks: dict[str, Record] = history["models"]
    made = [_save(curves(record), folder / f"curves_{name}.png") for name, record in networks.items()]
    for task in Task:
        records = [record for record in networks.values() if record["task"] == task]
        if records:
            made.append(_save(loss_comparison(task, records), folder / f"loss_comparison_{task}.png"))
            made.append(_save(network_comparison(task, records), folder / f"comparison_{task}.png"))
    return made


def curves(record: Record) -> Figure:
    """One network's losses and scores by epoch."""
    figure, (losses, scores) = _panels(f"{_title(record)}, {record['task']}")
    task = Task(record["task"])
    for measure, label in (("loss", "training"), ("val_loss", "validation")):
        _line(losses, record["epochs"], measure, label=label, dashed=measure == "loss")
    losses.set_ylabel(f"loss ({_loss_label(task, record)})")
    for number, (measure, axis_label, label) in enumerate(_CURVES[task]):
        _line(scores, record["epochs"], measure, label=label, dashed=number == 0)
        scores.set_ylabel(axis_label)
    for axes in (losses, scores):
        axes.legend(frameon=False)
    return figure


def loss_comparison(task: Task, records: Iterable[Record]) -> Figure:
    """The losses of all networks of a task on common axes: training left, validation right."""
    figure, panels = _panels(f"Loss by network, {task}")
    records = list(records)
    for axes, measure, title in zip(panels, ("loss", "val_loss"), ("training", "validation"), strict=True):
        for record in records:
            _line(axes, record["epochs"], measure, label=_title(record), backbone=record["backbone"])
        axes.set_title(title, fontsize="medium")
        axes.set_ylabel(f"loss ({_loss_label(task, records[0])})")
    panels[0].sharey(panels[1])
    panels[1].legend(frameon=False)
    return figure


def network_comparison(task: Task, records: Iterable[Record]) -> Figure:
    """Final score of each network of a task, and the time each took."""
    measure, label = _SCORE[task]
    figure, (scores, times) = _panels(f"Networks compared, {task}")
    records = list(records)
    positions = range(len(records))
    colours = [BACKBONES[record["backbone"]].colour for record in records]
    values = [record["epochs"][-1][measure] for record in records]
    _bars(scores, positions, values, colours, "{:.3f}".format)
    scores.set_ylabel(f"{label}, last epoch")
    seconds = [record["feature_seconds"] + record["training_seconds"] for record in records]
    _bars(times, positions, seconds, colours, "{:.1f} s".format)
    times.set_ylabel("seconds (features + training)")
    for axes in (scores, times):
        axes.set_xticks(positions, [_tick(record) for record in records], fontsize="small")
        axes.set_xlabel("")
    return figure


def _panels(title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, fontsize="large", fontweight="bold")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd")
        axes.set_axisbelow(True)
        axes.set_xlabel("epoch")
    return figure, (left, right)


def _line(
    axes: Axes,
    epochs: list[Epoch],
    measure: str,
    *,
    label: str,
    dashed: bool = False,
    backbone: str | None = None,
) -> None:
    axes.plot(
        range(1, len(epochs) + 1),
        [epoch[measure] for epoch in epochs],
        label=label,
        linestyle="--" if dashed else "-",
        color=BACKBONES[backbone].colour if backbone else ("#777777" if dashed else "#0072B2"),
        marker=BACKBONES[backbone].marker if backbone else "o",
        markersize=4,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _bars(
    axes: Axes,
    positions: Iterable[int],
    values: list[float],
    colours: list[str],
    text: Callable[[float], str],
) -> None:
    bars = axes.bar(list(positions), values, color=colours, width=0.6)
    axes.bar_label(bars, [text(value) for value in values], padding=2)
    axes.margins(y=0.15)
    axes.set_xlim(-0.75, len(values) - 0.25)


def _loss_label(task: Task, record: Record) -> str:
    recipe = record["recipe"]
    if task is Task.REGRESSION and "concordance" in recipe:
        return "1 - CCC, squared error" if recipe["squared_error"] else "1 - CCC"
    return _LOSS_LABEL[task]


def _title(record: Record) -> str:
    note = " (random backbone)" if record["note"] else ""
    return f"{BACKBONES[record['backbone']].display_name}{note}"


def _tick(record: Record) -> str:
    name = _title(record).replace(" (", "\n(").replace("random backbone", "random")
    cached = record["weights"] != "trained from scratch" and not record["pictures_extracted"]
    return f"{name}\n(cached features)" if cached else name


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=144)
    return path
