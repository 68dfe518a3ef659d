"""Draws first_look.png for the README: `python docs/figures/draw_first_look.py`.

Left: results/measured/crops.json with 95 % intervals. Right: one photograph of suite `quick`, from
the store of `nox -s leaderboard`, which makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import bench  # noqa: E402
from bench.files.images import read_rgb  # noqa: E402

DATASET, IMAGE = "quick-realistic", "chelsea"
LEFT, TOP, SIDE = 100, 60, 128
SHOWN = ("bicubic", "dat-light", "realesr-animevideov3", "realesrgan-x4plus")
COLOURS = ("#777777", "#b3470f", "#3b5b85", "#2a7f62", "#8a4f9e", "#a8862c", "#c0504d", "#222222")


def draw_board(axes: Axes, board: bench.Leaderboard, metric: str) -> None:
    """Means with intervals on the first test set, the best method on top."""
    results = board.results
    spec = next(m for m in results.metrics if m.name == metric)
    dataset = results.datasets[0]
    cells = board.statistics().cells
    own = cells[(cells["dataset"] == dataset.name) & (cells["metric"] == metric)]
    own = own.sort_values("mean", ascending=spec.better == "higher")
    titles = {method.name: method.title for method in results.methods}
    colours = dict(zip(titles, COLOURS, strict=False))
    for place, row in enumerate(own.itertuples()):
        axes.plot([row.low, row.high], [place, place], color=colours[row.method], lw=2)
        axes.plot(row.mean, place, "o", color=colours[row.method], ms=5)
        axes.annotate(
            f"{row.mean:.2f}", (row.high, place), (4, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(range(len(own)), [titles[name] for name in own["method"]], fontsize=7)
    axes.set_title(f"{spec.title} {spec.arrow}", fontsize=8, loc="left")
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)


def crops() -> list[tuple[str, np.ndarray]]:
    """(title, pixels) of one square in LR, each method's SR and HR."""
    board = bench.run("quick", methods=SHOWN, datasets=DATASET, metrics="psnr_y", limit=2)
    picture = next(p for p in board.results.pictures if p.image == IMAGE)
    titles = {method.name: method.title for method in board.results.methods}
    assert picture.lr is not None and picture.hr is not None
    lr = Image.fromarray(read_rgb(picture.lr))
    enlarged = lr.resize((lr.width * 4, lr.height * 4), Image.Resampling.NEAREST)
    found = [("LR", np.asarray(enlarged))]
    found += [(titles[name], read_rgb(picture.sr[name])) for name in SHOWN]
    found.append(("HR", read_rgb(picture.hr)))
    return [(title, pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE]) for title, pixels in found]


def main() -> None:
    board = bench.load(HERE.parents[1] / "results" / "measured" / "crops.json")
    figure = plt.figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    for axes, metric in zip(left.subplots(2, 1), ("niqe", "psnr_y"), strict=True):
        draw_board(axes, board, metric)
    images = len(
        board.frame[board.frame["dataset"] == board.results.datasets[0].name]["image"].unique()
    )
    left.suptitle(f"RealSR, {images} real pairs: means and 95 % intervals", fontsize=9)
    for axes, (title, pixels) in zip(right.subplots(2, 3).flat, crops(), strict=True):
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    right.suptitle(f"What they look like: suite quick, {IMAGE}", fontsize=9)
    figure.savefig(HERE / "first_look.png", dpi=110)


if __name__ == "__main__":
    main()
