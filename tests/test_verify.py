"""`verify metrics`: published scores again, and what a run then says of them."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli
from PIL import Image, ImageFilter

from bench.gate.verify import _read

METRICS = ("--metrics", "psnr_y,ssim_y,lpips")
LOG = """24-10-23 17:36:07.854 - INFO: Directory [results_osediff]: 93 GT images
24-10-23 17:36:56.406 - INFO: results_osediff/sony_82_x1.png | PSNR: 26.718073; NIQE: 4.018192 | R
===== Average Metrics for [results_osediff] =====
PSNR: 27.9243; MANIQA: 0.5895 | FID: 135.296586 | FID Runtime: 8.10 sec
"""


@pytest.fixture
def published(golden: Path, tmp_path: Path) -> Path:
    """Two published images of each set in the layout of the golden data."""
    folder = tmp_path / "published"
    kept = []
    with (golden / "osediff_scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    for dataset in ("realsr", "drealsr"):
        names = sorted({row["image"] for row in rows if row["dataset"] == dataset})[:2]
        kept += [row for row in rows if row["dataset"] == dataset and row["image"] in names]
        for side in ("osediff", "hr"):
            (folder / dataset / side).mkdir(parents=True)
            for name in names:
                shutil.copy(golden / dataset / side / name, folder / dataset / side / name)
    with (folder / "osediff_scores.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


def test_a_log_is_read_by_image_and_for_the_set() -> None:
    assert _read(LOG, "drealsr") == {
        ("drealsr", "sony_82_x1.png", "PSNR"): 26.718073,
        ("drealsr", "sony_82_x1.png", "NIQE"): 4.018192,
        ("drealsr", "", "FID"): 135.296586,
    }


def test_a_damaged_log_is_named(published: Path, cli: Cli) -> None:
    for row in ("realsr,a.png", f"realsr,{'a' * 200_000}"):  # longer than a field may be
        (published / "osediff_scores.csv").write_text(f"dataset,image,metric,value\n{row}\n")
        done = cli("verify", "metrics", "--from", published)
        assert done.returncode == 2
        assert "osediff_scores.csv: expected a log of scores as published, found" in done.stderr


@pytest.mark.usefixtures("quick_sets")
def test_a_certificate_is_made_kept_and_told(published: Path, cli: Cli, tmp_path: Path) -> None:
    run = ("run", "quick", "--methods", "nearest", "--metrics", "psnr_y", "--limit", 1, "--json")
    run = (*run, "--reports", "csv")
    before = json.loads(cli(*run).stdout)["provenance"]["certificate"]
    assert before == "none; `cassr-bench verify metrics` makes one"
    done = cli("verify", "metrics", "--from", published, *METRICS, "--out", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    assert "realsr" in done.stdout and "holds" in done.stdout
    assert "run: cassr-bench fetch lpips" in " ".join(done.stdout.split())
    lines = json.loads((tmp_path / "c.json").read_text())["lines"]
    by = {(line["dataset"], line["metric"]): line for line in lines}
    assert {key: line["verdict"] for key, line in by.items()} == {
        (dataset, metric): "not run" if metric == "lpips" else "holds"
        for dataset in ("realsr", "drealsr")
        for metric in ("psnr_y", "ssim_y", "lpips")
    }
    assert by["realsr", "psnr_y"]["images"] == 2
    assert 0 < by["realsr", "psnr_y"]["largest"] < 1e-4
    after = json.loads(cli(*run).stdout)["provenance"]["certificate"]
    assert after["osediff"]["holds"] == ["psnr_y"]


def test_other_pixels_and_absent_ones_are_told(published: Path, cli: Cli) -> None:
    first, second = sorted((published / "realsr/osediff").iterdir())
    Image.open(first).filter(ImageFilter.BLUR).save(first)
    (published / "drealsr/osediff" / sorted((published / "drealsr/hr").iterdir())[0].name).unlink()
    second.write_bytes(b"no image")
    done = cli("verify", "metrics", "--from", published, "--metrics", "psnr_y", "--json")
    assert done.returncode == 1
    lines = {line["dataset"]: line for line in json.loads(done.stdout)["lines"]}
    assert lines["realsr"]["verdict"] == lines["drealsr"]["verdict"] == "differs"
    assert lines["realsr"]["largest"] > 0.1
    assert lines["drealsr"]["reason"] == "1 logged images could not be scored"


def test_what_is_no_such_folder_is_said_in_a_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("verify", "metrics", "--from", tmp_path / "empty")
    assert done.returncode == 2
    assert "expected the files of https://github.com/cswry/OSEDiff, found no log" in done.stderr
    gone = cli("verify", "metrics", "--from", tmp_path / "nothing")
    assert gone.returncode == 2 and len(gone.stderr.strip().splitlines()) == 1
