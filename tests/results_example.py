"""Small results for the tests of reports: scores with ties, gaps, set metrics and foreign names."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image

from bench.base.types import MetricSpec
from bench.reports import REPORTS
from bench.results.bootstrap import wilcoxon
from bench.results.paired import paired
from bench.results.results import Item, PictureSet, Results

HOSTILE = (
    r"a_b & 50% #1 $x {y} ~z ^w \cmd `q` <b> |p| \"r\"",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "two\nlines\x1b[31m",
    "näive 中文 ✓ Ж α",
    "[red]markup[/red] **bold** [x](y)",
    "long_" * 40,
    "'; DROP TABLE scores;--",
)


def metric(name: str, title: str, better: str = "higher", **options: object) -> MetricSpec:
    """A metric as reports see it; nothing computes it here."""
    return MetricSpec(
        name=name,
        title=title,
        better=better,  # type: ignore[arg-type]
        means="",
        source="",
        factory="tests:none",
        **{"reference": True, **options},  # type: ignore[arg-type]
    )


PSNR = metric("psnr_y", "PSNR-Y", digits=2, unit="dB")
LPIPS = metric("lpips", "LPIPS", "lower")
NIQE = metric("niqe", "NIQE", "lower", reference=False)
FID = metric("fid", "FID", "lower", kind="set", digits=2)

FILES = [report.name for report in REPORTS if report.name not in ("tensorboard", "wandb")]
"""Reports of which equal results give equal files."""

Values = Mapping[tuple[str, str, str, str], float | str]


def frame(values: Values) -> pd.DataFrame:
    """Tidy scores from (dataset, method, image, metric) -> number, or reason why there is none."""
    rows = [
        (
            *key,
            math.nan if isinstance(value, str) else value,
            value if isinstance(value, str) else "",
        )
        for key, value in values.items()
    ]
    return pd.DataFrame(
        rows, columns=["dataset", "method", "image", "metric", "value", "reason"]
    ).astype({"value": float})


def results(
    values: Values,
    metrics: Sequence[MetricSpec],
    *,
    datasets: Sequence[Item] = (),
    methods: Sequence[Item] = (),
    **options: object,
) -> Results:
    """Results of scores; items not given are named as in the scores."""
    found_datasets = dict.fromkeys(key[0] for key in values)
    found_methods = dict.fromkeys(key[1] for key in values)
    return Results(
        title="Example",
        datasets=tuple(datasets or (Item(name, name) for name in found_datasets)),
        methods=tuple(methods or (Item(name, name) for name in found_methods)),
        metrics=tuple(metrics),
        scores=frame(values),
        **options,  # type: ignore[arg-type]
    )


def example(**options: object) -> Results:
    """Two datasets, three methods, four metrics.

    On "clean" everything but FID is known. On "real" `net` lacks image b in PSNR and LPIPS is
    nowhere. `near` and `cubic` tie in NIQE of "clean", and `net` is best in both.
    """
    values: dict[tuple[str, str, str, str], float | str] = {}
    for dataset, shift in (("clean", 0.0), ("real", -2.0)):
        for place, method in enumerate(("near", "cubic", "net")):
            for number, image in enumerate(("a", "b")):
                values[dataset, method, image, "psnr_y"] = 25.125 + shift + place + number
                values[dataset, method, image, "lpips"] = 0.5 - 0.1 * place + 0.01 * number
                values[dataset, method, image, "niqe"] = 7.0 if place < 2 else 5.4321
            values[dataset, method, "", "fid"] = "the Inception weights are not here"
    for key in [key for key in values if key[0] == "real" and key[3] == "lpips"]:
        values[key] = "the LPIPS weights are not here"
    values["real", "net", "b", "psnr_y"] = "out of memory"
    items = {
        "datasets": (Item("clean", "Quick (bicubic)"), Item("real", "Quick (realistic)")),
        "methods": (
            Item("near", "Nearest"),
            Item("cubic", "Bicubic"),
            Item("net", "DAT-light", note="trained on clean downscaling only"),
        ),
        "notes": ("x4, 8-bit RGB.",),
    }
    return results(values, (PSNR, LPIPS, NIQE, FID), **{**items, **options})  # type: ignore[arg-type]


def wide(methods: int = 9, metrics: int = 7, datasets: int = 3) -> Results:
    """As many methods, metrics and datasets as the paper's Table 1, one image each."""
    specs = [
        metric(f"m{i}", title, "lower" if i < 3 else "higher", digits=4)
        for i, title in enumerate(
            ("FID", "DISTS", "LPIPS", "MUSIQ", "MANIQA", "CLIPIQA", "TOPIQ")[:metrics]
        )
    ]
    names = [
        "BSRGAN",
        "FeMaSR",
        "HAT",
        "DASR",
        "PASD",
        "StableSR",
        "DiffBIR",
        "SeeSR",
        "CasSR",
        "OSEDiff",
        "ResShift",
        "SinSR",
    ]
    values: dict[tuple[str, str, str, str], float | str] = {
        (dataset, method, "a", spec.name): round(100 / (1 + i + 3 * j + (7 * i * j) % 5), 4)
        for dataset in ("DIV2K-val", "DRealSR", "RealSR")[:datasets]
        for i, method in enumerate(names[:methods])
        for j, spec in enumerate(specs)
    }
    return results(values, specs)


def hostile(**options: object) -> Results:
    """Every hostile text as dataset, method, image, reason, note and title at once."""
    values: dict[tuple[str, str, str, str], float | str] = {}
    for dataset in HOSTILE[:2]:
        for place, method in enumerate(HOSTILE):
            for image in HOSTILE[:5]:
                values[dataset, method, image, "psnr_y"] = 20.0 + place
            values[dataset, method, "", "fid"] = HOSTILE[(place + 1) % len(HOSTILE)]
    items = {
        "datasets": [Item(name, name, note=HOSTILE[0]) for name in HOSTILE[:2]],
        "methods": [Item(name, name, note=name) for name in HOSTILE],
        "notes": HOSTILE,
    }
    return results(values, (PSNR, FID), **{**items, **options})  # type: ignore[arg-type]


def write_picture(path: Path, rgb: np.ndarray) -> Path:
    """Write (H, W, 3) uint8 as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb, "RGB").save(path)
    return path


def picture_set(
    folder: Path, methods: Sequence[str], *, image: str = "a", size: int = 48, scale: int = 4
) -> PictureSet:
    """Noise pictures on disk: LR (size, size), HR and one SR per method, all different."""
    rng = np.random.default_rng(len(methods))
    side = size * scale

    def picture(name: str, length: int) -> Path:
        pixels = rng.integers(0, 256, (length, length, 3), dtype=np.uint8)
        return write_picture(folder / f"{name}.png", pixels)

    sr = {method: picture(f"sr{i}", side) for i, method in enumerate(methods)}
    return PictureSet("clean", image, scale, picture("lr", size), picture("hr", side), sr)


def compare(a: np.ndarray, b: np.ndarray) -> SimpleNamespace:
    """What the tests say of two methods on the same images, (n,) scores each."""
    differences = (a - b)[:, None]
    found = paired(differences)
    (low,), (high,) = found.interval()
    return SimpleNamespace(
        difference=found.mean[0],
        low=low,
        high=high,
        p=found.p()[0],
        wilcoxon_p=wilcoxon(differences)[0],
    )
