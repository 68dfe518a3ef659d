"""Plots for papers: perception against distortion, ranks, one method against another, cost.

Methods have the same colour (Okabe and Ito's and four more, told apart by the colour-blind) and
marker (told apart in grey) in every plot of a report. What its scores do not allow is not drawn.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.base.text import slug
from bench.base.types import MetricSpec
from bench.reports.figures import style
from bench.reports.figures.style import COLOURS, MARKERS, short
from bench.results.bootstrap import bootstrap
from bench.results.results import Item, Results
from bench.results.table_stats import Statistics, common_scores, statistics
from bench.results.view import PLAIN, View

Good = Literal["left", "down", "up"]

FOLDER = "plots"
PAGE_WIDTH, PAGE_HEIGHT = 7.0, 9.5
RANKS_ACROSS = 6
LARGEST, SMALLEST = 7.5, 5.5
"""Sizes of the markers from the first method to the last: none hides one drawn before it."""
BARS = "bars: 95 % of the difference to the methods' mean"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``plots/DATASET/NAME.png`` and ``.pdf``: perception-distortion, ranks, the two best
    methods image by image, score against parameters."""
    found = statistics(results)
    written = []
    for dataset in (item.name for item in results.datasets):
        sizes = {(dataset, m.name): m.parameters / 1e6 for m in results.methods if m.parameters}
        drawn = {
            "perception_distortion": perception_distortion(results, found, dataset),
            "ranks": ranks(results, found, dataset),
            "two_best": two_best(results, found, dataset),
            "parameters": score_against(results, sizes, "parameters (millions)", dataset, found),
        }
        for name, figure in drawn.items():
            if figure is not None:
                written += style.save(figure, out / FOLDER / slug(dataset) / name)
    return written


def perception_distortion(results: Results, found: Statistics, dataset: str) -> Figure | None:
    """The first no-reference metric against the first full-reference one.

    Bars are 95 % intervals of paired differences (see `_paired_halves`): they tell methods apart,
    where intervals of the means would mostly show how the images differ. None where one of the
    metrics is not there, or fewer than two methods have both.
    """
    per_image = [metric for metric in results.metrics if metric.kind == "image"]
    distortion = next((metric for metric in per_image if metric.reference), None)
    perception = next((metric for metric in per_image if not metric.reference), None)
    if distortion is None or perception is None:
        return None
    x, y = (_means(found, dataset, metric) for metric in (distortion, perception))
    if len(x.keys() & y.keys()) < 2:
        return None
    halves = [_paired_halves(results, dataset, metric) for metric in (distortion, perception)]
    figure, axes = _scatter(results, dataset, x, y, *halves)
    _metric_axis(axes, distortion, "left", "distortion: ")
    _metric_axis(axes, perception, "down", "perception: ")
    return figure


def ranks(results: Results, found: Statistics, dataset: str) -> Figure | None:
    """Ranks of the methods by every tested metric, with the range of 95 % of the resamples.

    As wide as a page at most, with more metrics in further rows. None where nothing was tested or
    there is one method.
    """
    tested = [m for m in results.metrics if len(_of(found, dataset, m, "rank"))]
    if not tested or len(results.methods) < 2:
        return None
    count, rows = len(results.methods), -(-len(tested) // RANKS_ACROSS)
    columns = -(-len(tested) // rows)
    width = min(PAGE_WIDTH, 1.6 + 1.2 * columns)
    height = min(PAGE_HEIGHT, 0.3 + rows * (0.6 + 0.19 * count))
    names = [short(method.title) for method in results.methods]
    with mpl.rc_context(fname=style.STYLE):
        figure = Figure((width, height), layout="constrained")
        figure.suptitle(_title(results, dataset), fontsize=8)
        figure.supxlabel("rank", fontsize=8)
        for row, axes in enumerate(figure.subplots(rows, squeeze=False).ravel()):
            own = tested[row * columns : (row + 1) * columns]
            ranked = [(_metric_name(m), _of(found, dataset, m, "rank")) for m in own]
            _rank_row(axes, [method.name for method in results.methods], ranked)
            axes.set_xlim(-0.5, columns * (count + 2) - 0.5)
            axes.set_yticks(range(count), names)
            for line in axes.get_ygridlines():
                line.set_xdata([0, len(own) / columns])
            axes.set_ylim(count - 0.5, -0.5)
    return figure


def _rank_row(axes: Axes, names: list[str], ranked: list[tuple[str, pd.DataFrame]]) -> None:
    """Metrics with their titles side by side on one pair of axes, since these and their ticks are
    what takes long to draw: each with ranks from 1 on."""
    count = len(names)
    places = np.arange(len(ranked)) * (count + 2)
    cells = [own.reindex(names) for _, own in ranked]
    low, rank, high = (
        np.array([own[name] for own in cells], float) + places[:, None]
        for name in ("rank_low", "rank", "rank_high")
    )
    for index in range(count):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        across = np.full(len(places), index)
        axes.hlines(across, low[:, index], high[:, index], color=colour, lw=2)
        axes.plot(rank[:, index], across, marker, color=colour, ms=5)
    for place, (title, _) in zip(places, ranked, strict=True):
        axes.text(place + (count + 1) / 2, -0.8, title, ha="center", va="bottom")
    shown = np.arange(1, count + 1, -(-count // 6))
    axes.set_xticks(np.add.outer(places, shown).ravel(), [*shown] * len(places))
    axes.spines["bottom"].set_bounds(0.5, places[-1] + count + 0.5)


def two_best(results: Results, found: Statistics, dataset: str) -> Figure | None:
    """The best method image by image against the second best, by the first tested metric."""
    items = {method.name: method for method in results.methods}
    for metric in results.metrics:
        ranked = _of(found, dataset, metric, "rank").sort_values("rank", kind="stable")
        if len(ranked) > 1:
            best, second, *_ = ranked.index
            return against(results, dataset, metric, items[second], items[best])
    return None


def against(results: Results, dataset: str, metric: MetricSpec, a: Item, b: Item) -> Figure | None:
    """Scores of `b` over those of `a`, a point per row of `common_scores`, of which everything
    else that is said of two methods is; None where nothing can be tested."""
    row = common_scores(results, dataset, metric)
    if not row.tested:
        return None
    pairs = row.values[:, [row.methods.index(a.name), row.methods.index(b.name)]]
    sign = 1 if metric.better == "higher" else -1
    wins = int((sign * (pairs[:, 1] - pairs[:, 0]) > 0).sum())
    figure, axes = style.new_figure(f"{_title(results, dataset)}, {_metric_name(metric)}")
    margin = 0.05 * float(np.ptp(pairs)) or 1.0
    limits = (float(pairs.min()) - margin, float(pairs.max()) + margin)
    axes.plot(limits, limits, color="#555555", lw=0.8, ls="--")
    axes.plot(pairs[:, 0], pairs[:, 1], "o", color=COLOURS[0], ms=3, alpha=0.6, mew=0)
    axes.set(aspect="equal", xlim=limits, ylim=limits)
    axes.set_xlabel(short(a.title))
    axes.set_ylabel(f"{short(b.title)}\nbetter on {wins} of {len(pairs)} {row.rows_are}")
    return figure


def score_against(
    results: Results,
    costs: Mapping[tuple[str, str], float],
    label: str,
    dataset: str = "",
    found: Statistics | None = None,
) -> Figure | None:
    """The first metric with means against what methods cost, on a logarithmic axis.

    Args:
        costs: by dataset and method; a method without one is left out.
        label: of the cost axis.
        dataset: the first unless named.

    Returns:
        None where fewer than two methods have both.
    """
    dataset = dataset or results.datasets[0].name
    found = found or statistics(results)
    x = {method: cost for (own, method), cost in costs.items() if own == dataset and cost > 0}
    for metric in results.metrics:
        y = _means(found, dataset, metric)
        if len(x.keys() & y.keys()) > 1:
            halves = _paired_halves(results, dataset, metric)
            figure, axes = _scatter(results, dataset, x, y, {}, halves)
            axes.set_xscale("log")
            style.plain_numbers(axes.xaxis)
            axes.set_xlabel(label)
            _metric_axis(axes, metric, "up")
            return figure
    return None


# -- parts of figures ----------------------------------------------------------------------------


def _of(found: Statistics, dataset: str, metric: MetricSpec, known: str) -> pd.DataFrame:
    """Cells of one dataset and metric in which a column is finite, by method."""
    cells = found.cells
    own = cells[(cells["dataset"] == dataset) & (cells["metric"] == metric.name)]
    return own[np.isfinite(own[known].astype(float))].set_index("method")


def _means(found: Statistics, dataset: str, metric: MetricSpec) -> dict[str, float]:
    means = _of(found, dataset, metric, "mean")["mean"]
    return {str(method): mean for method, mean in means.items()}


def _paired_halves(results: Results, dataset: str, metric: MetricSpec) -> dict[str, float]:
    """Half of a 95 % interval by method: of its difference to the mean of all on the same images.

    Empty where nothing can be tested.
    """
    row = common_scores(results, dataset, metric)
    if not row.tested:
        return {}
    differences = row.values - row.values.mean(axis=1, keepdims=True)
    halves = bootstrap(differences, row.seed).half_width()
    return {m: float(h) for m, h in zip(row.methods, halves, strict=True) if h and math.isfinite(h)}


def _scatter(
    results: Results,
    dataset: str,
    x: Mapping[str, float],
    y: Mapping[str, float],
    across: Mapping[str, float],
    down: Mapping[str, float],
) -> tuple[Figure, Axes]:
    """The methods at `x` and `y` with bars that reach so far; all bars lie below all markers."""
    figure, axes = style.new_figure(f"{_title(results, dataset)}\n{BARS}")
    steps = max(1, len(results.methods) - 1)
    for index, method in enumerate(results.methods):
        name = method.name
        if name in x and name in y:
            bars = axes.errorbar(
                x[name], y[name], down.get(name), across.get(name),
                color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)],
                ms=LARGEST - (LARGEST - SMALLEST) * index / steps, mec="white", mew=0.4,
                elinewidth=0.8, ls="", label=short(method.title), zorder=3,
            )  # fmt: skip
            for bar in bars.lines[2]:
                bar.set_zorder(2)
    style.add_legend(figure, axes)
    return figure, axes


def _metric_axis(axes: Axes, metric: MetricSpec, good: Good, before: str = "") -> None:
    """Label an axis and turn it so that better lies where `good` says."""
    axis = axes.xaxis if good == "left" else axes.yaxis
    axis.set_label_text(f"{before}{_metric_name(metric)} (better {good})")
    axis.set_inverted((metric.better == "higher") != (good == "up"))


def _metric_name(metric: MetricSpec) -> str:
    return short(f"{metric.title} {metric.arrow}")


def _title(results: Results, dataset: str) -> str:
    return short(next(item.title for item in results.datasets if item.name == dataset))
