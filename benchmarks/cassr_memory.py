"""Peak memory of CasSR against the size of its output, at a fixed tile.

Both stages use the same tiles, so stage 2 alone is run. Every size runs in a process of its own,
whose peak resident memory is read at the end:

    python benchmarks/cassr_memory.py                          # 512 to 2048 px
    python benchmarks/cassr_memory.py --untiled --figure       # whole images too, and the figure

The miniature's classes and options are those of the large model; what is measured is how memory
grows with the image, which the size of the networks does not change.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "cassr_memory.png"
MIB = 2**20
# Blocks above 64 KiB go back to the system when they are freed, so that memory in use is measured
# and not what the allocator keeps for later.
ENVIRONMENT = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(side: int, tile: int, scale: int) -> dict[str, float]:
    """Upscale one image to side x side in this process; memory in MiB, time in seconds."""
    import torch

    from cassr.build import build_pipeline

    torch.set_num_threads(1)
    pipeline = build_pipeline("mini")
    pipeline.set_progress_bar_config(disable=True)
    image = torch.rand(3, side // scale, side // scale)
    before = peak()
    started = time.perf_counter()
    tiles = {"tile": tile, "vae_tile": tile, "tile_overlap": 64, "vae_overlap": 64}
    pipeline(image, scale=scale, activation="lr", output_type="pt", **tiles)
    return {
        "side": side,
        "loaded": before,
        "peak": peak(),
        "image": 3 * 4 * side * side / MIB,
        "seconds": time.perf_counter() - started,
    }


def peak() -> float:
    """Largest resident memory of this process so far, MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(side: int, tile: int, scale: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(side), str(tile), str(scale)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    return json.loads(done.stdout.splitlines()[-1])


def draw(tiled: list[dict[str, float]], whole: list[dict[str, float]], tile: int) -> None:
    """Figure: peak memory over the side of the output."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for rows, label, style in (
        (tiled, f"tiles of {tile} px", "o-"),
        (whole, "whole image", "s--"),
    ):
        if rows:
            axes.plot([r["side"] for r in rows], [r["peak"] for r in rows], style, label=label)
    axes.set(
        xlabel="side of the output, px",
        ylabel="peak resident memory, MiB",
        ylim=(0, 1.2 * max(r["peak"] for r in tiled + whole)),
    )
    axes.set_xticks([r["side"] for r in tiled])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--tile", type=int, default=256, help="pixels")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--untiled", action="store_true", help="whole images too, up to 1024 px")
    parser.add_argument("--figure", action="store_true", help=f"draw {FIGURE.name}")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    result: dict[str, Any] = {"tile": options.tile, "tiled": [], "untiled": []}
    for side in options.sides:
        result["tiled"].append(in_a_process(side, options.tile, options.scale))
        print(result["tiled"][-1], flush=True)
    for side in (s for s in options.sides if options.untiled and s <= 1024):
        result["untiled"].append(in_a_process(side, 8192, options.scale))
        print("untiled", result["untiled"][-1], flush=True)
    if options.figure:
        draw(result["tiled"], result["untiled"], options.tile)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
