"""The plot of a load: response times and rates by offered rate, or by time."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from affect_load.stages import LoadKind, Measured, Target

_PERCENTILES: Final = ((0.5, "p50", "#56B4E9", ":"), (0.95, "p95", "#0072B2", "-"), (0.99, "p99", "#CC79A7", "--"))
_ANSWERED: Final = "#009E73"
_LIMIT: Final = "#D55E00"
_GREY: Final = "#767676"


def curve(kind: LoadKind, measured: Sequence[Measured], target: Target, highest_rate: float | None) -> Figure:
    """Draw percentiles of the response times in ms above, and the rates of answers and refusals below."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
    stages = sorted(measured, key=lambda one: one.stage.rate) if kind is LoadKind.STEPS else list(measured)
    places = _places(kind, stages)
    for share, name, colour, dash in _PERCENTILES:
        times = [one.counts.percentile_ms(share) for one in stages]
        seen = [(place, time) for place, time in zip(places, times, strict=True) if time is not None]
        above.plot(*zip(*seen, strict=True), color=colour, linestyle=dash, marker="o", markersize=4, label=name)
    above.axhline(target.p95_ms, color=_LIMIT, linewidth=1, label=f"target of p95: {target.p95_ms:g} ms")
    above.set(ylabel="time of an answer, ms", yscale="log")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter(NullFormatter())
    above.grid(visible=True, which="both", linewidth=0.3)
    _rates(below, places, stages)
    below.set(xlabel="requests/s offered" if kind is LoadKind.STEPS else "seconds since the start", ylim=(0, None))
    if highest_rate:
        for axes in (above, below):
            axes.axvline(highest_rate, color=_ANSWERED, linewidth=1, linestyle="-.")
        above.annotate(f" {highest_rate:.0f}/s", (highest_rate, 0.03), xycoords=("data", "axes fraction"))
    for axes in (above, below):
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _rates(axes: Axes, places: Sequence[float], stages: Sequence[Measured]) -> None:
    axes.plot(places, [one.stage.rate for one in stages], color=_GREY, linewidth=0.8, label="offered")
    axes.plot(places, [one.answered_per_s for one in stages], "o-", color=_ANSWERED, markersize=4, label="answered")
    refused = [one.counts.refused / one.seconds for one in stages]
    axes.plot(places, refused, "x-", color=_LIMIT, markersize=5, label="refused (429)")
    axes.set(ylabel="requests/s")
    axes.grid(visible=True, linewidth=0.3)


def _places(kind: LoadKind, stages: Sequence[Measured]) -> list[float]:
    if kind is LoadKind.STEPS:
        return [one.stage.rate for one in stages]
    ends, place = 0.0, []
    for one in stages:
        ends += one.stage.seconds
        place.append(ends)
    return place
