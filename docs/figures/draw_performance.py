"""Draws performance.png from performance.json: `python docs/figures/draw_performance.py`.

The JSON holds what `benchmarks/scoring.py --json` ("race"; with `--grow`: "growth") wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
OURS, COMMAND, SCRIPT, GREY = "#b3470f", "#3b5b85", "#7d9bc1", "#777777"


def draw_race(axes: Axes, runs: list[dict[str, Any]]) -> None:
    bars = (
        ("pyiqa command", "command", COMMAND),
        ("a paper's script", "script", SCRIPT),
        ("cassr-bench score", "ours", OURS),
        ("the same again, warm", "warm", GREY),
    )
    for place, (label, key, colour) in enumerate(bars):
        x = [index + 0.2 * (place - 1.5) for index in range(len(runs))]
        drawn = axes.bar(x, [run[key] for run in runs], 0.19, color=colour, label=label)
        axes.bar_label(drawn, fmt=lambda v: f"{v:.0f}" if v >= 10 else f"{v:.1f}", fontsize=7)
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 12)
    axes.set_xticks(range(len(runs)), [str(run["methods"]) for run in runs])
    axes.set_xlabel("methods over one HR set")
    axes.set_ylabel("seconds, cold start")
    axes.legend(fontsize=7, loc="upper left", ncols=2)


def draw_growth(time_axes: Axes, memory_axes: Axes, runs: list[dict[str, Any]]) -> None:
    images = [run["images"] for run in runs]
    for axes, unit, *keys in (
        (time_axes, "seconds", "cold", "warm"),
        (memory_axes, "peak resident memory, MB", "worker", "parent"),
    ):
        for key, colour in zip(keys, (OURS, GREY), strict=True):
            axes.plot(images, [run[key] for run in runs], "o-", color=colour, label=key)
        axes.set_xlabel("images")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)


def main() -> None:
    found = json.loads((HERE / "performance.json").read_text(encoding="utf-8"))
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(11, 3.6), width_ratios=(1.5, 1, 1), layout="constrained"
    )
    draw_race(left, found["race"]["runs"])
    draw_growth(middle, right, found["growth"]["runs"])
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.savefig(HERE / "performance.png", dpi=120)


if __name__ == "__main__":
    main()
