"""A small run's words, and what it left behind."""

import csv
from pathlib import Path
from typing import Any

from pictures import photo

from bench.files import images
from bench.running.cell import UpscaleTask
from bench.running.fill import forget, upscale_one

SMALL = (
    *("run", "quick", "--methods", "nearest,bicubic", "--metrics", "psnr_y,lpips,fid"),
    *("--limit", 2, "--reports", "csv,markdown,panels"),
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def means(out: Path) -> dict[tuple[str, str, str], str]:
    with (out / "summary.csv").open() as file:
        return {(r["dataset"], r["method"], r["metric"]): r["mean"] for r in csv.DictReader(file)}


def upscaled(body: str, folder: Path, returns: str = "lr") -> dict[str, Any] | str:
    """What becomes of one 8x6 image by a method file with this body, in this very process."""
    method = folder / "mine.py"
    method.write_text(
        "import os, signal, sys, time\nimport torch\n\n\n"
        f"def upscale(lr, *, scale, seeds):\n    {body}\n    return {returns}\n"
    )
    images.write_png(folder / "in.png", photo(6, 8))
    forget()
    task = UpscaleTask(str(method), "cpu", "in", folder / "in.png", 1, 0, "key", Path("out.png"))
    return upscale_one(task)
