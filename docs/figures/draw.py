"""Draw the figures of docs/ again, all or those named: `python docs/figures/draw.py [NAME...]`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import skimage.data
from matplotlib.axes import Axes
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import bench  # noqa: E402
from bench.commands.train.validation import Validation  # noqa: E402
from bench.files.images import read_rgb  # noqa: E402
from cassr import degradation as degrading  # noqa: E402
from cassr.pipeline import CasSRPipeline  # noqa: E402
from cassr.training.stages import get_stage  # noqa: E402

MAIN = "#b3470f"


# -- degradation.png: one photograph under six seeds of both presets -----------------------------


def degradation() -> None:
    hr = np.ascontiguousarray(skimage.data.astronaut()[:400, 56:456])
    figure, rows = plt.subplots(2, 7, figsize=(14, 4.9), layout="constrained")
    for axes, preset in zip(rows, ("full", "mild"), strict=True):
        axes[0].imshow(hr)
        axes[0].set_title("HR", fontsize=9)
        axes[0].set_ylabel(preset, fontsize=12)
        for seed, axis in enumerate(axes[1:]):
            parameters = degrading.seeded_parameters(degrading.resolve_options(preset), seed)
            axis.imshow(degrading.apply(hr, parameters), interpolation="nearest")
            axis.set_title(f"seed {seed}", fontsize=9)
            axis.set_xlabel(caption(parameters), fontsize=7)
        plt.setp(axes, xticks=[], yticks=[])
    figure.savefig(HERE / "degradation.png", dpi=130)


def caption(parameters: degrading.DegradationParameters) -> str:
    """Resize factor, noise and JPEG quality of both orders."""
    return "\n".join(
        f"x {order.resize.factor:.2f}, {noise.kind} {noise.strength:.1f}, q {order.jpeg_quality}"
        for order in (parameters.first, parameters.second)
        if (noise := order.noise) is not None
    )


# -- first_look.png: results/measured/crops.json with 95 % intervals, and one photograph of suite
# -- `quick` from the store, which `nox -s leaderboard` makes ------------------------------------

DATASET, IMAGE = "quick-realistic", "chelsea"
LEFT, TOP, SIDE = 100, 60, 128
SHOWN = ("bicubic", "dat-light", "realesrgan-x4plus", "cassr-mini-realesrgan")
COLOURS = plt.get_cmap("tab10").colors


def first_look() -> None:
    board = bench.load(ROOT / "results" / "measured" / "crops.json")
    figure = plt.figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    for axes, metric in zip(left.subplots(2, 1), ("niqe", "psnr_y"), strict=True):
        draw_board(axes, board, metric)
    frame = board.frame
    images = frame[frame["dataset"] == board.results.datasets[0].name]["image"].nunique()
    left.suptitle(f"RealSR, {images} real pairs: means and 95 % intervals", fontsize=9)
    for axes, (title, pixels) in zip(right.subplots(2, 3).flat, crops(), strict=True):
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    right.suptitle(f"What they look like: suite quick, {IMAGE}", fontsize=9)
    figure.savefig(HERE / "first_look.png", dpi=110)


def draw_board(axes: Axes, board: bench.Leaderboard, metric: str) -> None:
    """Means with intervals on the first test set, the best method on top."""
    results = board.results
    spec = next(m for m in results.metrics if m.name == metric)
    cells = board.statistics().cells
    own = cells[(cells["dataset"] == results.datasets[0].name) & (cells["metric"] == metric)]
    own = own.sort_values("mean", ascending=spec.better == "higher")
    titles = {method.name: method.title for method in results.methods}
    colours = dict(zip(titles, COLOURS, strict=False))
    for place, row in enumerate(own.itertuples()):
        axes.plot([row.low, row.high], [place, place], color=colours[row.method], lw=2)
        axes.plot(row.mean, place, "o", color=colours[row.method], ms=5)
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(f"{row.mean:.2f}", (row.high, place), **beside)
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
    made = [(titles[name], read_rgb(picture.sr[name])) for name in SHOWN]
    found = [("LR", np.asarray(enlarged)), *made, ("HR", read_rgb(picture.hr))]
    return [(title, pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE]) for title, pixels in found]


# -- training.png: the logs of the shipped miniature's runs; miniature.jpg: sample photographs
# -- upscaled with it, as validation while training shows them -----------------------------------

MODEL = ROOT / "cassr" / "models" / "cassr-mini"
STAGES = ("vae", "prior", "texture", "activation", "guidance")


def training() -> None:
    """What each run minimised, and the plain distance in it."""
    figure, rows = plt.subplots(2, len(STAGES), figsize=(13, 4.4), layout="constrained")
    for (column, label), places in zip(
        (("loss", "loss"), ("l1", "L1 distance")), rows, strict=True
    ):
        places[0].set_ylabel(label)
        for axes, stage in zip(places, STAGES, strict=True):
            log = pd.read_csv(MODEL / "runs" / f"{stage}.csv")
            axes.plot(log["step"], log[column], color=MAIN, lw=0.6, alpha=0.4)
            smooth = log[column].rolling(7, center=True, min_periods=1).median()
            axes.plot(log["step"], smooth, color=MAIN, lw=1.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color="#dddddd", lw=0.6)
            axes.set(**({"title": stage} if column == "loss" else {"xlabel": "step"}))
    figure.savefig(HERE / "training.png", dpi=100, metadata={"Software": None})


def miniature() -> None:
    """LR image, stage 1, stage 2 and HR, of two photographs of each test set."""
    pipeline = CasSRPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)
    with TemporaryDirectory() as folder:
        Validation("quick", 2, get_stage("guidance"))(pipeline, 0, Path(folder))
        files = (f"quick-{name}-step-{0:08d}.png" for name in ("bicubic", "realistic"))
        panels = [Image.open(Path(folder) / file) for file in files]
        canvas = Image.new("RGB", (panels[0].width, sum(p.height + 4 for p in panels)), "white")
        for index, panel in enumerate(panels):
            canvas.paste(panel, (0, sum(p.height + 4 for p in panels[:index])))
    half = canvas.resize((canvas.width // 2, canvas.height // 2), Image.Resampling.LANCZOS)
    half.save(HERE / "miniature.jpg", quality=88)


FIGURES = (degradation, first_look, training, miniature)

if __name__ == "__main__":
    for draw in FIGURES:
        if draw.__name__ in (sys.argv[1:] or draw.__name__):
            draw()
