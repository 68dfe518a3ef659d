"""Plots for papers: perception against distortion, ranks, one method against another, cost.

Methods differ in colour (Okabe and Ito's and four more, told apart by the colour-blind) and in
marker (told apart in grey), the same in every plot of a report. Axes are turned so that better is
always left and down. Sizes are those of a paper: a column is `WIDTH` inches wide, text has 8 pt.
Each plot is a PNG and a PDF of equal content; one that its scores do not allow is not drawn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.base.records import write_atomic
from bench.base.text import printable, slug
from bench.base.types import MetricSpec
from bench.reports.figures.font import in_font
from bench.results.bootstrap import MIN_IMAGES, bootstrap
from bench.results.results import Item, Results
from bench.results.table_stats import Statistics, common_scores, statistics
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Good = Literal["left", "down", "up"]

FOLDER = "plots"
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#4D3300", "#000099", "#004D4D", "#66664D"),
)
MARKERS = "osD^vP*X<>hp"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "savefig.dpi": 300,
}
UNDATED = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
WIDTH, HEIGHT = 3.4, 2.6
PAGE_WIDTH, PAGE_HEIGHT = 7.0, 9.5
RANKS_ACROSS = 6
LONGEST_NAME = 32
LARGEST, SMALLEST = 6.5, 4.5
"""Sizes of the markers from the first method to the last: none hides one drawn before it."""
LEGEND_LENGTH = 52
"""Characters of 8 pt in a column, markers and gaps (6 each) included."""
BARS = "bars: 95 % of the difference to the methods' mean"


def render(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``plots/DATASET/NAME.png`` and ``.pdf``: perception-distortion, ranks, the two best
    methods image by image, score against parameters."""
    found = statistics(results)
    written = []
    for dataset in results.datasets:
        for name, figure in _figures(results, found, dataset.name):
            written += save(figure, out / FOLDER / slug(dataset.name) / name)
    return written


def _figures(results: Results, found: Statistics, dataset: str) -> Iterator[tuple[str, Figure]]:
    """The plots of one dataset that its scores allow."""
    parameters = {
        (dataset, m.name): m.parameters / 1e6 for m in results.methods if m.parameters is not None
    }
    drawn = {
        "perception_distortion": perception_distortion(results, found, dataset),
        "ranks": ranks(results, found, dataset),
        "two_best": two_best(results, found, dataset),
        "parameters": score_against(results, parameters, "parameters (millions)", dataset, found),
    }
    yield from ((name, figure) for name, figure in drawn.items() if figure is not None)


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and PDF without dates; `path` has no suffix."""
    written = []
    with mpl.rc_context(STYLE):
        for suffix, metadata in UNDATED.items():
            file = io.BytesIO()
            figure.savefig(file, format=suffix, metadata=metadata)
            written.append(path.with_name(f"{path.name}.{suffix}"))
            write_atomic(written[-1], file.getvalue())
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
    cells = _cells(found, dataset)
    places = [
        (index, method, cells[distortion.name, method.name], cells[perception.name, method.name])
        for index, method in enumerate(results.methods)
    ]
    known = [place for place in places if _has_mean(place[2]) and _has_mean(place[3])]
    if len(known) < 2:
        return None
    figure, axes = new_figure(f"{_title(results, dataset)}\n{BARS}")
    across, down = (_paired_halves(results, dataset, m) for m in (distortion, perception))
    for index, method, x, y in known:
        half = (across.get(method.name, 0.0), down.get(method.name, 0.0))
        _point(axes, index, len(results.methods), method, (x["mean"], y["mean"]), half)
    _metric_axis(axes, distortion, "left", "distortion: ")
    _metric_axis(axes, perception, "down", "perception: ")
    add_legend(figure, axes)
    return figure


def ranks(results: Results, found: Statistics, dataset: str) -> Figure | None:
    """Ranks of the methods by every tested metric, with the range of 95 % of the resamples.

    As wide as a page at most, with more metrics in further rows. None where
    nothing was tested or there is one method.
    """
    cells = _cells(found, dataset)
    tested = [
        metric
        for metric in results.metrics
        if any(_known(cells[metric.name, method.name]["rank"]) for method in results.methods)
    ]
    if not tested or len(results.methods) < 2:
        return None
    count, rows = len(results.methods), -(-len(tested) // RANKS_ACROSS)
    columns = -(-len(tested) // rows)
    width = min(PAGE_WIDTH, 1.6 + 1.2 * columns)
    height = min(PAGE_HEIGHT, 0.3 + rows * (0.6 + 0.19 * count))
    with mpl.rc_context(STYLE):
        figure = Figure((width, height), layout="constrained")
        figure.suptitle(_title(results, dataset), fontsize=8)
        places = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, metric in zip(places, tested, strict=False):
            _rank_column(axes, results, cells, metric)
        for axes in places[len(tested) :]:
            axes.remove()
        places[0].set_yticks(range(count), [_name(method) for method in results.methods])
        places[0].set_ylim(count - 0.5, -0.5)
    return figure


def _rank_column(
    axes: Axes, results: Results, cells: Mapping[tuple[str, str], Any], metric: MetricSpec
) -> None:
    for index, method in enumerate(results.methods):
        cell = cells[metric.name, method.name]
        if _known(cell["rank"]):
            colour = COLOURS[index % len(COLOURS)]
            axes.plot([cell["rank_low"], cell["rank_high"]], [index, index], color=colour, lw=2)
            axes.plot(cell["rank"], index, MARKERS[index % len(MARKERS)], color=colour, ms=5)
    axes.set_title(_metric_name(metric))
    axes.set_xlabel("rank")
    axes.set_xlim(0.5, len(results.methods) + 0.5)
    axes.set_xticks(range(1, len(results.methods) + 1, -(-len(results.methods) // 6)))


def two_best(results: Results, found: Statistics, dataset: str) -> Figure | None:
    """The best method image by image against the second best, by the first tested metric."""
    cells = _cells(found, dataset)
    for metric in results.metrics:
        known = [m for m in results.methods if _known(cells[metric.name, m.name]["rank"])]
        if len(known) > 1:
            known.sort(key=lambda method: cells[metric.name, method.name]["rank"])
            return against(results, dataset, metric, known[1], known[0])
    return None


def against(results: Results, dataset: str, metric: MetricSpec, a: Item, b: Item) -> Figure | None:
    """Scores of `b` over those of `a`, a point per image that both have.

    None where fewer than six images have both.
    """
    own = results.scores[
        (results.scores["dataset"] == dataset) & (results.scores["metric"] == metric.name)
    ]
    table = own.pivot(index="image", columns="method", values="value").astype(float)
    pairs = table[[a.name, b.name]].replace([math.inf, -math.inf], math.nan).dropna().to_numpy()
    if len(pairs) < MIN_IMAGES:
        return None
    sign = 1 if metric.better == "higher" else -1
    wins = int((sign * (pairs[:, 1] - pairs[:, 0]) > 0).sum())
    figure, axes = new_figure(f"{_title(results, dataset)}, {_metric_name(metric)}")
    margin = 0.05 * float(np.ptp(pairs)) or 1.0
    limits = (float(pairs.min()) - margin, float(pairs.max()) + margin)
    axes.plot(limits, limits, color="#555555", lw=0.8, ls="--")
    axes.plot(pairs[:, 0], pairs[:, 1], "o", color=COLOURS[0], ms=3, alpha=0.6, mew=0)
    axes.set(aspect="equal", xlim=limits, ylim=limits)
    axes.set_xlabel(_name(a))
    axes.set_ylabel(f"{_name(b)}\nbetter on {wins} of {len(pairs)} images")
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
    cells = _cells(found or statistics(results), dataset)
    for metric in results.metrics:
        known = [
            (index, method, costs[dataset, method.name], cells[metric.name, method.name])
            for index, method in enumerate(results.methods)
            if costs.get((dataset, method.name), 0) > 0
            and _has_mean(cells[metric.name, method.name])
        ]
        if len(known) > 1:
            figure, axes = new_figure(f"{_title(results, dataset)}\n{BARS}")
            halves = _paired_halves(results, dataset, metric)
            for index, method, cost, cell in known:
                half = (0.0, halves.get(method.name, 0.0))
                _point(axes, index, len(results.methods), method, (cost, cell["mean"]), half)
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
            axes.set_xlabel(label)
            _metric_axis(axes, metric, "up")
            add_legend(figure, axes)
            return figure
    return None


# -- parts of figures ----------------------------------------------------------------------------


def _cells(found: Statistics, dataset: str) -> dict[tuple[str, str], dict[Any, Any]]:
    """Cells of one dataset by metric and method."""
    own = found.cells[found.cells["dataset"] == dataset]
    return {(row["metric"], row["method"]): row for row in own.to_dict("records")}


def _known(value: float) -> bool:
    return not math.isnan(value)


def _has_mean(cell: Mapping[Any, Any]) -> bool:
    return math.isfinite(cell["mean"])


def _paired_halves(results: Results, dataset: str, metric: MetricSpec) -> dict[str, float]:
    """Half of a 95 % interval by method: of its difference to the mean of all on the same images.

    Empty where nothing can be tested.
    """
    row = common_scores(results, dataset, metric)
    if not row.tested:
        return {}
    differences = row.values - row.values.mean(axis=1, keepdims=True)
    halves = bootstrap(differences, row.seed).half_width()
    return {m: float(h) for m, h in zip(row.methods, halves, strict=True) if math.isfinite(h)}


def new_figure(title: str) -> tuple[Figure, Axes]:
    """An empty plot under its title."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
    return figure, axes


def _point(
    axes: Axes,
    index: int,
    count: int,
    method: Item,
    place: tuple[float, float],
    half: tuple[float, float],
) -> None:
    """The `index`-th of `count` methods; all bars lie below all markers."""
    colour = COLOURS[index % len(COLOURS)]
    size = LARGEST - (LARGEST - SMALLEST) * index / max(1, count - 1)
    bars = axes.errorbar(*place, half[1] or None, half[0] or None, color=colour, elinewidth=0.8,
                         marker=MARKERS[index % len(MARKERS)], ms=size, mec="white", mew=0.4,
                         ls="", label=_name(method), zorder=3)  # fmt: skip
    for bar in bars.lines[2]:
        bar.set_zorder(2)


def _metric_axis(axes: Axes, metric: MetricSpec, good: Good, before: str = "") -> None:
    """Label an axis and turn it so that better lies where `good` says."""
    axis = axes.xaxis if good == "left" else axes.yaxis
    axis.set_label_text(f"{before}{_metric_name(metric)} (better {good})")
    axis.set_inverted((metric.better == "higher") != (good == "up"))


def plain_numbers(axis: Axis) -> None:
    """Numbers of a logarithmic axis as such, since mathematics is off for the sake of names."""
    low, high = sorted(axis.get_view_interval())
    if high / low < 50:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def add_legend(figure: Figure, axes: Axes) -> None:
    """Names below the plot, in as many columns as their lengths allow."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), max(1, LEGEND_LENGTH // (max(map(len, labels)) + 6)))
    rows = -(-len(labels) // columns)
    figure.set_figheight(HEIGHT + 0.16 * rows)
    with mpl.rc_context(STYLE):
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                      columnspacing=1.0, handletextpad=0.3)  # fmt: skip


def _metric_name(metric: MetricSpec) -> str:
    return short(f"{metric.title} {metric.arrow}")


def _name(item: Item) -> str:
    return short(item.title)


def _title(results: Results, dataset: str) -> str:
    return short(next(item.title for item in results.datasets if item.name == dataset))


def short(name: str) -> str:
    """A name as plots show it; a leading underscore would hide it from the legend."""
    shown = in_font(printable(name))
    shown = shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
    return f"\u200b{shown}" if shown.startswith("_") else shown
