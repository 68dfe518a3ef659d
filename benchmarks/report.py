"""The HTML report of a whole benchmark, made from stored scores and pictures.

    python benchmarks/report.py --images 193 --methods 8

Writes synthetic 512 px pictures, then times the report's parts: pictures and thumbnails, page and
statistics, and a second rendering, which finds the pictures already there. As a scale the same
pictures are read and written once as plain copies.
"""

import argparse
import tempfile
from pathlib import Path
from timeit import timeit

import numpy as np
import pandas as pd
from PIL import Image

from bench.base.types import MetricSpec
from bench.reports.html.report import render
from bench.results.results import Item, PictureSet, Results

TITLES = ("PSNR-Y", "SSIM-Y", "LPIPS", "DISTS", "NIQE", "MUSIQ", "MANIQA", "CLIPIQA")


def picture(path: Path, side: int, rng: np.random.Generator) -> Path:
    """A PNG about as large as that of a photograph: smooth colours under fine noise."""
    coarse = Image.fromarray(rng.integers(0, 256, (side // 32, side // 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    noisy = (smooth + rng.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(path, compress_level=1)
    return path


def synthetic(root: Path, images: int, methods: int, side: int) -> Results:
    rng = np.random.default_rng(0)
    names = [f"method {i}" for i in range(methods)]
    sets = []
    for index in range(images):
        folder = root / f"{index:04d}"
        sr = {name: picture(folder / f"{name}.png", side, rng) for name in names}
        lr, hr = picture(folder / "lr.png", side // 4, rng), picture(folder / "hr.png", side, rng)
        sets.append(PictureSet("set", f"image {index:04d}", 4, lr, hr, sr))
    specs = [
        MetricSpec(name=title.lower(), title=title, better="higher", reference=True, means="",
                   source="", factory="none:none")
        for title in TITLES
    ]  # fmt: skip
    rows = [
        ("set", name, item.image, spec.name, float(rng.normal(place, 3)), "")
        for place, name in enumerate(names)
        for item in sets
        for spec in specs
    ]
    scores = pd.DataFrame(rows, columns=["dataset", "method", "image", "metric", "value", "reason"])
    items = tuple(Item(name, name) for name in names)
    return Results("Synthetic", (Item("set", "Set"),), items, tuple(specs), scores, tuple(sets))


def copy_all(results: Results, target: Path) -> None:
    target.mkdir()
    for number, path in enumerate(results.files()):
        (target / str(number)).write_bytes(path.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=193)
    parser.add_argument("--methods", type=int, default=8)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results = synthetic(root, options.images, options.methods, options.size)
        copies = timeit(lambda: copy_all(results, root / "copies"), number=1)
        first = timeit(lambda: render(results, root / "out"), number=1)
        again = timeit(lambda: render(results, root / "out"), number=1)
        page = root / "out" / "html"
        light = sum(p.stat().st_size for p in page.iterdir() if p.is_file())
        thumbs = sum(p.stat().st_size for p in (page / "thumbs").rglob("*.jpg"))
    print(f"{options.images} images x {options.methods} methods, {options.size} px")
    print(f"copying the pictures      {copies:7.1f} s   x 1")
    print(f"report, first time        {first:7.1f} s   x {first / copies:.1f}")
    print(f"report, again             {again:7.1f} s   x {again / copies:.1f}")
    print(f"page, scripts and data {light / 1e6:6.2f} MB, thumbnails {thumbs / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
