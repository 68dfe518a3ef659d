"""Draws cassr_architecture.png: `python docs/figures/draw_cassr.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).parent
FROZEN, TRAINED, DATA = "#dfe5ee", "#fbd9b5", "#ffffff"
EDGE = "#30363f"

# name: (x, y, width, height, text, colour)
BOXES = {
    "lr": (0.0, 3.4, 1.5, 0.9, "LR image\nupscaled x s", DATA),
    "tuners": (2.3, 4.6, 2.2, 0.9, "hint encoder +\n12 CSC-Tuners", TRAINED),
    "unet1": (2.3, 3.4, 2.2, 0.9, "U-Net, VAE\nN steps", FROZEN),
    "ref": (5.2, 3.4, 1.5, 0.9, "reference\nimage", DATA),
    "cn": (2.3, 1.2, 2.2, 1.1, "ControlNet\none set of weights,\none batch", TRAINED),
    "L": (5.2, 1.9, 1.0, 0.6, "L", DATA),
    "R": (5.2, 0.9, 1.0, 0.6, "R", DATA),
    "down": (7.3, 0.9, 1.7, 1.6, "U-Net\ndown, middle\n\n+ L + R on\neach skip", FROZEN),
    "noise": (7.3, 3.4, 1.7, 0.9, "initial noise\nwith LR latent", DATA),
    "up": (9.5, 0.9, 1.7, 1.6, "U-Net\nup path\n\nblocks as\non the right", FROZEN),
    "sr": (9.5, 3.4, 1.7, 0.9, "VAE, colour\ncorrection: SR", DATA),
}
ARROWS = [
    ("lr", "tuners", "right", "left"),
    ("lr", "unet1", "right", "left"),
    ("tuners", "unet1", "bottom", "top"),
    ("unet1", "ref", "right", "left"),
    ("lr", "cn", "bottom", "left"),
    ("ref", "cn", "bottom", "top"),
    ("cn", "L", "right", "left"),
    ("cn", "R", "right", "left"),
    ("L", "down", "right", "left"),
    ("R", "down", "right", "left"),
    ("noise", "down", "bottom", "top"),
    ("down", "up", "right", "left"),
    ("up", "sr", "top", "bottom"),
]
BLOCK = [
    ("X", DATA),
    ("reference attention  (Eq. 1)\nQ: X    K, V: R", TRAINED),
    ("self-attention", FROZEN),
    ("LR attention  (Eq. 2)\nQ: X'    K, V: L", TRAINED),
    ("text attention", FROZEN),
    ("feed-forward", FROZEN),
    ("X out", DATA),
]


def box(axes: Axes, x: float, y: float, w: float, h: float, text: str, colour: str) -> None:
    shape = FancyBboxPatch(
        (x, y), w, h, boxstyle="round,pad=0,rounding_size=0.08", fc=colour, ec=EDGE, lw=1
    )
    axes.add_patch(shape)
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=8.5, color=EDGE)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, lw=1, ec=EDGE))


def anchor(name: str, side: str) -> tuple[float, float]:
    x, y, w, h = BOXES[name][:4]
    offsets = {"left": (0, h / 2), "right": (w, h / 2), "top": (w / 2, h), "bottom": (w / 2, 0)}
    return x + offsets[side][0], y + offsets[side][1]


def main() -> None:
    figure, axes = plt.subplots(figsize=(11, 4.3), layout="constrained")
    for spec in BOXES.values():
        box(axes, *spec)
    for start, end, leave, enter in ARROWS:
        arrow(axes, anchor(start, leave), anchor(end, enter))
    axes.text(3.4, 5.75, "stage 1: image activation", ha="center", fontsize=10, weight="bold")
    axes.text(
        5.7, 0.35, "stage 2: multiple image guidance", ha="center", fontsize=10, weight="bold"
    )
    left, width = 12.1, 2.9
    axes.text(
        left + width / 2,
        5.75,
        "transformer block of the up path",
        ha="center",
        fontsize=10,
        weight="bold",
    )
    y = 5.0
    for index, (text, colour) in enumerate(BLOCK):
        height = 0.62 if "\n" in text else 0.42
        box(axes, left, y, width, height, text, colour)
        if index < len(BLOCK) - 1:
            below = 0.62 if "\n" in BLOCK[index + 1][0] else 0.42
            arrow(axes, (left + width / 2, y), (left + width / 2, y - 0.26))
            y -= below + 0.26
    for x, colour, text in ((0.0, TRAINED, "trained"), (1.6, FROZEN, "frozen")):
        box(axes, x, 0.25, 0.35, 0.25, "", colour)
        axes.text(x + 0.45, 0.375, text, va="center", fontsize=8.5)
    axes.set(xlim=(-0.1, 15.1), ylim=(0.1, 6.1))
    axes.axis("off")
    figure.savefig(HERE / "cassr_architecture.png", dpi=90)


if __name__ == "__main__":
    main()
