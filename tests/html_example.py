"""A small HTML report, and what its files say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import results_example as ex

from bench.reports.html import report as page_report
from bench.results.results import Results
from bench.results.view import PLAIN, View

IMAGES = 8
METHODS = ("near", "cubic", "net", "<img src=x onerror=alert(1)>")


def example(folder: Path, images: int = IMAGES) -> Results:
    """Two datasets, four methods (one has no scores of "real" in LPIPS), pictures on disk."""
    values: dict[tuple[str, str, str, str], float | str] = {}
    pictures = []
    rng = np.random.default_rng(0)
    for dataset in ("clean", "real"):
        for number in range(images):
            image = f"{number:02d}"
            for place, method in enumerate(METHODS):
                noise = float(rng.normal(0, 0.3))
                values[dataset, method, image, "psnr_y"] = 25 + place - number + noise
                values[dataset, method, image, "lpips"] = 0.3 + 0.01 * number + 0.001 * noise
                if (dataset, place) == ("real", 3):
                    values[dataset, method, image, "lpips"] = "no <b>weights</b>"
            found = ex.picture_set(folder / dataset / image, METHODS, image=image, size=24)
            pictures.append(dataclasses.replace(found, dataset=dataset))
        for place, method in enumerate(METHODS):
            values[dataset, method, "", "fid"] = 50.0 - place
    metrics = (ex.PSNR, ex.LPIPS, ex.FID)
    provenance = {"seed": 3, "methods": {"net": {"weights": ["a1b2"], "options": {"tile": 64}}}}
    return ex.results(values, metrics, pictures=tuple(pictures), provenance=provenance)


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """The page without the plots and other reports in it, which take longest."""
    return page_report.write_page(results, out / "html", view)


def data_of(folder: Path) -> dict[str, Any]:
    """What the page knows; "items" are the images of all datasets."""
    text = (folder / "data.js").read_text()
    data = json.loads(text.removeprefix('"use strict";\nconst REPORT = ').removesuffix(";\n"))
    data["items"] = []
    for place in range(len(data["datasets"])):
        part = (folder / "data" / f"{place}.js").read_text()
        data["items"] += json.loads(part.removeprefix(f"REPORT.parts[{place}] = ")[:-2])
    return data


def shown(folder: Path, data: dict[str, Any], item: int, source: int) -> tuple[Path, Path]:
    """Full picture and thumbnail as the page addresses them."""
    below, file, thumb = data["items"][item][4][source]
    return folder / "pictures" / below / file, folder / "thumbs" / below / thumb
