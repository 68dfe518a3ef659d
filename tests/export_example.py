"""A small run, exported, and what becomes of its files."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Cli, plant_quick_sets
from results_example import PSNR

from bench import metrics
from bench.results.results import Item, Results

NAMES = ("--metrics", "psnr_y,ssim_y,lpips", "--datasets", "quick-bicubic", "--limit", 2)
BRIEF = ("--reports", "csv,markdown")


@dataclass(frozen=True)
class Exported:
    """A small run, exported as a folder with images and as JSON."""

    cli: Cli
    cwd: Path

    @property
    def folder(self) -> Path:
        return self.cwd / "mine"

    @property
    def json(self) -> Path:
        return self.cwd / "mine.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    cli = Cli(root / "home", root / "cwd")
    plant_quick_sets(root / "home" / "store")
    methods = ("quick", "--methods", "nearest,bicubic,lanczos", *NAMES)
    for arguments in (
        ("run", *methods, *BRIEF, "--out", "reports"),
        ("export", *methods, "--out", "mine", "--images", "--benchmark", "me/faces-x4"),
        ("export", *methods, "--out", "mine.json"),
    ):
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
    return Exported(cli, root / "cwd")


def table(folder: Path) -> dict[tuple[str, ...], str]:
    with (folder / "scores.csv").open() as file:
        rows = csv.DictReader(file)
        return {(r["dataset"], r["method"], r["image"], r["metric"]): r["value"] for r in rows}


def changed(path: Path, change: Callable[[dict[str, Any]], object], out: Path) -> Path:
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    out.write_text(json.dumps(told), encoding="utf-8")
    return out


def scores_of(metric: str, value: float | str) -> Callable[[dict[str, Any]], None]:
    """Every image of a method gets one value."""

    def change(told: dict[str, Any]) -> None:
        cell = next(c for c in told["measured"]["scores"] if c["metric"] == metric)
        cell.update(images=dict.fromkeys(cell["images"], value), mean=None)

    return change


def hostile_results(name: str) -> Results:
    frame = pd.DataFrame(
        [(name, name, name, "psnr_y", 30.0, ""), (name, name, "b", "psnr_y", math.inf, "")],
        columns=["dataset", "method", "image", "metric", "value", "reason"],
    )
    provenance = {
        "suite": {"name": name},
        "seed": 0,
        "limit": None,
        "datasets": {name: {"manifest_sha256": "0" * 64, "images": 2}},
        "methods": {name: {"sha256": "1" * 64}},
        "metrics": {"psnr_y": {"metric": "psnr_y"}},
        "device": "cpu",
    }
    items = (Item(name, name, name),)
    return Results(name, items, items, (PSNR,), frame, notes=(name,), provenance=provenance)


def of_results_in(exported: Exported) -> Results:
    """The run as results, from its reports."""
    frame = pd.read_csv(exported.cwd / "reports" / "scores.csv", keep_default_na=False)
    frame["value"] = pd.to_numeric(frame["value"])
    provenance = json.loads((exported.cwd / "reports" / "provenance.json").read_text())
    names = list(dict.fromkeys(frame["method"]))
    return Results(
        title="Own",
        datasets=(Item("quick-bicubic", "Photos"),),
        methods=tuple(Item(name, name) for name in names),
        metrics=tuple(metrics.find(name) for name in dict.fromkeys(frame["metric"])),
        scores=frame,
        provenance=provenance,
    )
