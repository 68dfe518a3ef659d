"""Plots: which are drawn, what stands where in them, names, bytes."""

import dataclasses
import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.colors
import matplotlib.text
import numpy as np
import pytest
from PIL import Image

from bench.reports.figures import plots, style
from bench.results.results import Item, Results
from bench.results.table_stats import statistics

from . import results_example as ex

NAMES = ("plain", "_hidden $x$", "net 中文", "long " * 20)


def table(images: int = 12) -> Results:
    """Each method is better in NIQE and worse in PSNR than the one before it."""
    rng = np.random.default_rng(0)
    values = {}
    for number in range(images):
        hard = float(rng.normal(0, 1))
        for place, method in enumerate(NAMES):
            noise = float(rng.normal(0, 0.2))
            values["set", method, f"{number:02d}", "psnr_y"] = 30 - place + hard + noise
            values["set", method, f"{number:02d}", "niqe"] = 9 - place + noise
    methods = [Item(n, n, parameters=10**place or None) for place, n in enumerate(NAMES, 5)]
    return ex.results(values, (ex.PSNR, ex.NIQE), methods=methods)


def points(figure: plots.Figure) -> dict[str, tuple[float, float]]:
    """Places of the methods by their names in the legend."""
    axes = figure.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    return {
        label: tuple(np.ravel(handle[0].get_data()))
        for handle, label in zip(handles, labels, strict=True)
    }


def test_perception_and_distortion_stand_at_the_means_and_better_is_left_and_down() -> None:
    results = table()
    found = statistics(results)
    figure = plots.perception_distortion(results, found, "set")
    assert figure is not None
    cells = found.cells.set_index(["metric", "method"])["mean"]
    for place, method in zip(points(figure).values(), NAMES, strict=True):
        assert place == pytest.approx((cells["psnr_y", method], cells["niqe", method]))
    (axes,) = figure.axes
    assert axes.xaxis_inverted() and not axes.yaxis_inverted()
    assert axes.get_xlabel() == "distortion: PSNR-Y ↑ (better left)"


def test_names_are_neither_hidden_nor_read_as_mathematics(tmp_path: Path) -> None:
    results = table()
    figure = plots.perception_distortion(results, statistics(results), "set")
    assert figure is not None
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:3] == ["plain", "\u200b_hidden $x$", "net U+4E2DU+6587"]
    assert len(shown[3]) == style.LONGEST_NAME and shown[3].endswith("…")
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    style.save(figure, tmp_path / "plot")


def test_ranks_show_the_range_of_the_resamples() -> None:
    results = table()
    found = statistics(results)
    figure = plots.ranks(results, found, "set")
    assert figure is not None
    (axes,) = figure.axes
    assert [title.get_text() for title in axes.texts] == ["PSNR-Y ↑", "NIQE ↓"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3", "4"] * 2
    cells = found.cells.set_index(["method", "metric"])
    for ranges, mark, method in zip(axes.collections, axes.lines, NAMES, strict=True):
        own = cells.loc[method].loc[["psnr_y", "niqe"]]
        left = axes.get_xticks()[[0, len(NAMES)]] - 1  # of each metric's own ranks
        ends = np.array([line[:, 0] for line in ranges.get_segments()]) - left[:, None]
        np.testing.assert_array_equal(ends, own[["rank_low", "rank_high"]].to_numpy())
        np.testing.assert_array_equal(mark.get_xdata() - left, own["rank"])


def test_ranks_of_metrics_of_one_title_each_have_their_place() -> None:
    results = table()
    metrics = [dataclasses.replace(metric, title="same") for metric in results.metrics]
    results = dataclasses.replace(results, metrics=tuple(metrics))
    figure = plots.ranks(results, statistics(results), "set")
    assert figure is not None
    assert [title.get_text()[:4] for title in figure.axes[0].texts] == ["same"] * len(metrics)


def test_two_methods_are_set_against_each_other_image_by_image() -> None:
    results = table()
    a, b = results.methods[1], results.methods[0]
    figure = plots.against(results, "set", ex.PSNR, a, b)
    assert figure is not None
    (axes,) = figure.axes
    own = results.scores[results.scores["metric"] == "psnr_y"]
    expected = own.pivot(index="image", columns="method", values="value")[[a.name, b.name]]
    np.testing.assert_array_equal(np.transpose(axes.lines[1].get_data()), expected.to_numpy())
    wins = int((expected[b.name] > expected[a.name]).sum())
    assert axes.get_ylabel() == f"plain\nbetter on {wins} of 12 images"
    told = results.scores
    lost = (told["image"] == "03") & (told["method"] == NAMES[2])
    gap = dataclasses.replace(results, scores=told.assign(value=told["value"].mask(lost)))
    fewer = plots.against(gap, "set", ex.PSNR, a, b)
    assert fewer is not None and len(fewer.axes[0].lines[1].get_xdata()) == 11, "of all methods"
    best = plots.two_best(results, statistics(results), "set")
    assert best is not None and best.axes[0].get_ylabel() == axes.get_ylabel()


def test_scores_stand_against_costs_on_a_logarithmic_axis() -> None:
    results = table()
    costs = {("set", "plain"): 0.01, ("set", NAMES[2]): 20.0, ("set", NAMES[3]): 0.0}
    figure = plots.score_against(results, costs, "seconds")
    assert figure is not None
    assert [place[0] for place in points(figure).values()] == [0.01, 20.0]
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "seconds"
    assert plots.score_against(results, {("set", "plain"): 1.0}, "seconds") is None


def test_what_the_scores_do_not_allow_is_not_drawn(tmp_path: Path) -> None:
    assert plots.render(ex.example(), tmp_path) != []
    few = ex.results({("d", m, "a", "psnr_y"): 1.0 for m in "ab"}, [ex.PSNR])
    unknown = ex.results({("d", m, "a", "psnr_y"): "no weights" for m in "ab"}, [ex.PSNR])
    infinite = ex.results({("d", m, str(i), "psnr_y"): math.inf for m in "ab" for i in range(9)},
                          [ex.PSNR])  # fmt: skip
    for number, results in enumerate((few, unknown, infinite)):
        assert plots.render(results, tmp_path / str(number)) == []


def test_every_plot_is_a_png_and_an_undated_pdf_of_equal_bytes(tmp_path: Path) -> None:
    written = plots.render(table(), tmp_path / "x")
    again = plots.render(table(), tmp_path / "y")
    names = ["perception_distortion", "ranks", "two_best", "parameters"]
    assert [path.name for path in written] == [f"{n}.{s}" for n in names for s in ("png", "pdf")]
    for one, other in zip(written, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"CreationDate" not in one.read_bytes()
        assert one.suffix == ".png" or b"/FontFile2" in one.read_bytes()  # embedded, as TrueType
        if one.suffix == ".png":
            pixels = np.asarray(Image.open(one).convert("L"))
            assert pixels.min() < 60 and (pixels == 255).mean() > 0.5


def test_methods_are_told_apart_without_colour() -> None:
    seen = {(plots.COLOURS[i % len(plots.COLOURS)], plots.MARKERS[i % len(plots.MARKERS)])
            for i in range(60)}  # fmt: skip
    assert len(seen) == 60
    assert len(set(plots.MARKERS)) == 12


SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}  # fmt: skip
"""Of linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), severity 1."""


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_methods_have_colours_that_the_colour_blind_tell_apart(eyes: str) -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    rgb = np.array([mpl.colors.to_rgb(colour) for colour in plots.COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SEEN_BY[eyes]), 0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(shown[None])[0]
    apart = deltaE_ciede2000(lab[:, None], lab[None])[~np.eye(len(rgb), dtype=bool)]
    assert len(rgb) >= 9 and apart.min() > 10


def test_plots_are_of_a_papers_size_and_their_bars_those_of_paired_differences() -> None:
    rng = np.random.default_rng(1)
    names = [f"method {i}" for i in range(12)]
    hard = rng.normal(0, 5, 12)
    values = {
        ("set", name, f"{k:02}", metric): float(20 + hard[k] + place + rng.normal(0, 0.1))
        for place, name in enumerate(names)
        for k in range(12)
        for metric in ("psnr_y", "niqe", *(f"m{i}" for i in range(7)))
    }
    more = [ex.metric(f"m{i}", f"METRIC {i}") for i in range(7)]
    results = ex.results(values, (ex.PSNR, ex.NIQE, *more))
    found = statistics(results)
    figure = plots.perception_distortion(results, found, "set")
    assert figure is not None
    (axes,) = figure.axes
    for bars in axes.containers:
        (low, high) = bars.lines[2][0].get_segments()[0][:, 0]
        assert 0 < high - low < 0.5, "the images differ by 5 dB, the methods' differences hardly"
        assert all(bar.get_zorder() < bars.lines[0].get_zorder() for bar in bars.lines[2])
    ranks = plots.ranks(results, found, "set")
    assert ranks is not None and [len(row.texts) for row in ranks.axes] == [5, 4]
    for drawn, width in ((figure, style.WIDTH), (ranks, plots.PAGE_WIDTH)):
        assert drawn.get_figwidth() <= width and drawn.get_figheight() <= plots.PAGE_HEIGHT
        drawn.canvas.draw()
        texts = [t for t in drawn.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
        assert min(text.get_fontsize() for text in texts) >= 8
