"""Draws training.png and miniature.jpg: `python docs/figures/draw_training.py`.

The first from the logs of the shipped miniature's runs in cassr/models/cassr-mini/runs, the second
by upscaling sample photographs with it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import pandas as pd
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.commands.train.validation import Validation  # noqa: E402
from cassr.pipeline import CasSRPipeline  # noqa: E402
from cassr.training.stages import get_stage  # noqa: E402

MODEL = HERE.parents[1] / "cassr" / "models" / "cassr-mini"
STAGES = ("vae", "prior", "texture", "activation", "guidance")
COLUMNS = {"loss": "loss", "l1": "L1 distance"}
COLOUR = "#b3470f"
SETS = ("quick-bicubic", "quick-realistic")
SHOWN = 2
"""Photographs of each test set."""


def draw_losses() -> None:
    """What each run minimised, and the plain distance in it."""
    figure, rows = plt.subplots(2, len(STAGES), figsize=(13, 4.4), layout="constrained")
    for (column, label), places in zip(COLUMNS.items(), rows, strict=True):
        places[0].set_ylabel(label)
        for axes, stage in zip(places, STAGES, strict=True):
            log = pd.read_csv(MODEL / "runs" / f"{stage}.csv")
            axes.plot(log["step"], log[column], color=COLOUR, lw=0.6, alpha=0.4)
            smooth = log[column].rolling(7, center=True, min_periods=1).median()
            axes.plot(log["step"], smooth, color=COLOUR, lw=1.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color="#dddddd", lw=0.6)
            axes.set_title(stage if column == "loss" else "")
            axes.set_xlabel("step" if column == "l1" else "")
    figure.savefig(HERE / "training.png", dpi=100, metadata={"Software": None})


def draw_images() -> None:
    """LR image, stage 1, stage 2 and HR, as validation while training shows them."""
    pipeline = CasSRPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)
    with TemporaryDirectory() as folder:
        Validation("quick", SHOWN, get_stage("guidance"))(pipeline, 0, Path(folder))
        panels = [Image.open(Path(folder) / f"{name}-step-{0:08d}.png") for name in SETS]
        canvas = Image.new("RGB", (panels[0].width, sum(p.height + 4 for p in panels)), "white")
        for index, panel in enumerate(panels):
            canvas.paste(panel, (0, sum(p.height + 4 for p in panels[:index])))
    half = canvas.resize((canvas.width // 2, canvas.height // 2), Image.Resampling.LANCZOS)
    half.save(HERE / "miniature.jpg", quality=88)


if __name__ == "__main__":
    draw_losses()
    draw_images()
