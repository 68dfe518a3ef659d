"""`run`, `report` and `upscale`: true tables, nothing computed twice, killed runs that go on."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli, make_cli
from pictures import not_read_in_folders, photo
from PIL import Image

SMALL = (
    *("run", "quick", "--methods", "nearest,bicubic", "--metrics", "psnr_y,lpips,fid"),
    *("--limit", 2),
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


@dataclass(frozen=True)
class Finished:
    """A finished small run, shared by the tests that only look at it or add to it."""

    cli: Cli
    home: Path
    out: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    cli = make_cli(folder / "home", folder / "cwd")
    done = cli(*SMALL, "--out", folder / "out")
    return Finished(cli, folder / "home", folder / "out", done)


def test_quick_prints_a_true_table_and_where_its_files_are(finished: Finished) -> None:
    done, out = finished.done, finished.out
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines()[:-2])) <= 80
    assert "cassr-bench fetch lpips" in " ".join(done.stdout.split())
    assert str(out) in done.stdout
    found = means(out)
    bicubic = float(found["quick-bicubic", "bicubic", "psnr_y"])
    assert bicubic > float(found["quick-bicubic", "nearest", "psnr_y"]) > 15
    assert bicubic > float(found["quick-realistic", "bicubic", "psnr_y"])
    assert found["quick-bicubic", "bicubic", "lpips"] == ""
    provenance = json.loads((out / "provenance.json").read_text())
    assert len(provenance["datasets"]["quick-bicubic"]["manifest_sha256"]) == 64
    assert provenance["metrics"]["psnr_y"]["metric"] == "psnr_y"


def test_mean_in_the_table_is_that_of_pixels_measured_by_hand(finished: Finished) -> None:
    """The bicubic PSNR-Y, computed here from its definition alone."""
    folder = next((finished.home / "store" / "datasets").glob("quick-bicubic-*"))
    pairs = json.loads((folder / "manifest.json").read_text())["pairs"][:2]

    def luma(image: Image.Image) -> np.ndarray:
        r, g, b = np.moveaxis(np.asarray(image, dtype=np.float64) / 255, -1, 0)
        return 65.481 * r + 128.553 * g + 24.966 * b + 16

    values = []
    for pair in pairs:
        lr = Image.open(folder / "lr" / f"{pair['id']}.png")
        hr = Image.open(folder / "hr" / f"{pair['id']}.png")
        sr = lr.resize(hr.size, Image.Resampling.BICUBIC)
        values.append(10 * np.log10(255**2 / np.mean((luma(sr) - luma(hr)) ** 2)))
    found = float(means(finished.out)["quick-bicubic", "bicubic", "psnr_y"])
    assert found == pytest.approx(np.mean(values), abs=1e-4)


def test_second_run_computes_nothing(finished: Finished, tmp_path: Path) -> None:
    second = finished.cli(*SMALL, "--out", tmp_path)
    assert second.returncode == 0
    assert "Bicubic on" in finished.done.stderr and second.stderr == ""
    assert files_of(finished.out) == files_of(tmp_path)


def test_a_new_method_costs_only_itself(finished: Finished, tmp_path: Path) -> None:
    arguments = ("--methods", "nearest,bicubic,lanczos", "--metrics", "psnr_y", "--limit", 2)
    done = finished.cli("run", "quick", *arguments, "--out", tmp_path)
    assert "Lanczos on Photos, bicubic: 2/2" in done.stderr
    assert "Bicubic on" not in done.stderr and "data" not in done.stderr


def test_report_makes_the_same_files_from_the_store(finished: Finished, tmp_path: Path) -> None:
    again = finished.cli("report", *SMALL[1:], "--out", tmp_path)
    assert again.returncode == 0, again.stderr
    assert files_of(finished.out) == files_of(tmp_path)


def test_report_of_an_empty_store_says_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", *SMALL[1:], "--out", tmp_path / "a")
    assert done.returncode == 0
    assert "not upscaled yet" in done.stdout


def test_shards_merge_to_the_unsharded_table(finished: Finished, cli: Cli, tmp_path: Path) -> None:
    for part in ("2/2", "1/2"):
        assert cli(*SMALL, "--out", tmp_path / "part", "--shard", part).returncode == 0
    merged = cli(*SMALL, "--out", tmp_path / "merged")
    assert merged.stderr == ""
    assert files_of(finished.out) == files_of(tmp_path / "merged")


def test_require_all_makes_missing_scores_an_error(finished: Finished, tmp_path: Path) -> None:
    done = finished.cli(*SMALL, "--require-all", "--out", tmp_path)
    assert done.returncode == 2
    assert "error: --require-all: " in done.stderr


def test_dry_run_computes_nothing(cli: Cli, tmp_path: Path, clean_home: Path) -> None:
    done = cli(*SMALL, "--dry-run", "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    where = {"method": "bicubic", "dataset": "quick-bicubic"}
    assert {**where, "images": 2, "to_upscale": 2, "problem": ""} in json.loads(done.stdout)
    assert not (tmp_path / "out").exists() and not (clean_home / "store" / "images").exists()


def test_json_gives_summary_provenance_and_files(finished: Finished, tmp_path: Path) -> None:
    done = finished.cli(*SMALL, "--json", "--out", tmp_path)
    report = json.loads(done.stdout)
    missing = [row for row in report["summary"] if row["metric"] == "lpips"]
    assert missing and all(row["mean"] is None and row["reason"] for row in missing)
    assert all(Path(file).is_file() for file in report["files"])


SLOW_METHOD = """
import time
import torch

def upscale(lr, *, scale, seeds):
    time.sleep(0.15)
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    mixed = 0.9 * lr + 0.1 * noise
    return torch.nn.functional.interpolate(mixed, scale_factor=scale)
"""


def _start(arguments: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_at_any_instant_it_ends_with_the_same_tables(
    cli: Cli, tmp_path: Path, clean_home: Path
) -> None:
    method = tmp_path / "slow.py"
    method.write_text(SLOW_METHOD)

    def arguments(store: str, out: str) -> list[str]:
        return [
            *("run", "quick", "--methods", f"bicubic,{method}", "--metrics", "psnr_y,gmsd"),
            *("--limit", "5", "--store", str(tmp_path / store), "--out", str(tmp_path / out)),
        ]

    assert cli(*arguments("calm", "calm-out")).returncode == 0
    chance = random.Random(7)
    for _ in range(4):
        process = _start(arguments("killed", "killed-out"), tmp_path)
        time.sleep(chance.uniform(1.5, 7))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert cli(*arguments("killed", "killed-out")).returncode == 0
    assert files_of(tmp_path / "calm-out") == files_of(tmp_path / "killed-out")
    leftovers = list((tmp_path / "killed-out").rglob(".part-*"))
    assert leftovers == []


def test_a_method_of_ones_own_sees_its_seed_and_its_errors_stay_its_own(
    cli: Cli, tmp_path: Path
) -> None:
    method = tmp_path / "mine.py"
    method.write_text(
        "def upscale(lr, *, scale, seeds):\n"
        "    if lr.mean() > 0.5:\n"
        "        raise RuntimeError('too\\nbright')\n"
        "    return lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3)\n"
    )
    bright, dark = tmp_path / "bright.png", tmp_path / "dark.png"
    Image.fromarray(np.full((16, 16, 3), 250, np.uint8)).save(bright)
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(dark)
    done = cli(
        *("upscale", "--method", method, "--input", bright, "--input", dark),
        *("--output", tmp_path / "out"),
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "too\\nbright" in line]
    assert (np.asarray(Image.open(tmp_path / "out" / "dark.png")) == 9).all()
    assert not (tmp_path / "out" / "bright.png").exists()


def test_upscale_writes_one_png_per_input_and_names_the_bad_ones(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    bad = not_read_in_folders(folder)
    for name in ("a b.png", "c'd.jpg", "e\nf.png"):
        Image.fromarray(photo(20, 28)).save(folder / name)
    arguments = ("upscale", "--method", "lanczos", "--input", folder, "--output", tmp_path / "out")
    done = cli(*arguments)
    assert done.returncode == 1
    made = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert made == {"a b.png", "c'd.png", "e\nf.png"}
    assert Image.open(tmp_path / "out" / "a b.png").size == (112, 80)
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(lines) == len(bad)
    again = cli(*arguments)
    assert "0 images upscaled, 3 were there already" in again.stdout


def test_originals_are_never_replaced(cli: Cli, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b"):
        Image.fromarray(photo(16, 16)).save(photos / f"{name}.png")
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").hardlink_to(photos / "a.png")
    before = files_of(photos)
    arguments = ("upscale", "--method", "nearest", "--overwrite", "--workers", 1, "--input")
    for given, output in (
        (photos, photos),
        (photos, tmp_path / "link"),
        (photos / "a.png", photos),
        (photos / "a.png", tmp_path / "link"),
        (photos, tmp_path / "out"),
    ):
        done = cli(*arguments, given, "--output", output)
        assert done.returncode == 2 and "inputs are never replaced" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert files_of(photos) == before and not (tmp_path / "out" / "b.png").exists()


def test_upscale_replaces_its_own_images_and_no_others(cli: Cli, tmp_path: Path) -> None:
    Image.fromarray(photo(16, 16)).save(tmp_path / "a.png")
    out = tmp_path / "out" / "a.png"

    def upscaled(method: str, *more: str) -> int:
        words = ("upscale", "--method", method, "--input", tmp_path / "a.png", "--workers", 1)
        return cli(*words, "--output", out.parent, *more).returncode

    assert upscaled("nearest") == 0
    first = out.read_bytes()
    assert upscaled("bicubic") == 0 and out.read_bytes() != first
    out.write_bytes(first)
    assert upscaled("lanczos") == 0
    out.write_bytes(b"mine")
    assert upscaled("nearest") == 2 and out.read_bytes() == b"mine"
    assert upscaled("nearest", "--overwrite") == 0 and out.read_bytes() == first


FOREIGN = {
    "upscale": (
        ("upscale", "--method", "nearest", "--input", "sr", "--output", "out"),
        ("out/a.png",),
    ),
    "score": (("score", "--sr", "sr", "--metrics", "gmsd", "--csv", "s.csv"), ("s.csv",)),
    "run": (("run", "quick", "--out", "out"), ("out/html/index.html",)),
    "report": (("report", "quick", "--out", "out"), ("out/provenance.json",)),
    "import": (("import", "quick", "theirs.json", "--out", "out"), ("out/scores.csv",)),
    "export": (("export", "quick", "--out", "out"), ("out/README.md",)),
    "export, one file": (("export", "quick", "--out", "out.json"), ("out.json",)),
    "gate --update": (
        ("gate", "quick", "--reference", "out.toml", "--update"),
        ("out.toml",),
    ),
    "gate --junit": (
        ("gate", "quick", "--reference", "some.toml", "--junit", "j.xml"),
        ("j.xml",),
    ),
    "datasets": (("datasets", "verify", "quick-bicubic", "--out", "m.json"), ("m.json",)),
    "train": (
        ("train", "vae", "--preset", "mini", "--data", "sr", "--out", "out"),
        ("out/log.csv", "out/model/model_index.json"),
    ),
}


@pytest.mark.parametrize("command", FOREIGN)
def test_no_command_replaces_somebody_elses_file(cli: Cli, tmp_path: Path, command: str) -> None:
    words, places = FOREIGN[command]
    folder = tmp_path / "cwd"
    (folder / "sr").mkdir()
    Image.fromarray(photo(16, 16)).save(folder / "sr" / "a.png")
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("somebody else's")
    before = files_of(folder)
    done = cli(*words)
    assert done.returncode == 2, done.stderr
    assert places[0] in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert files_of(folder) == before


def test_a_reason_that_many_images_share_is_said_once(cli: Cli, tmp_path: Path) -> None:
    for index in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(photo(20, 28)).save(tmp_path / "in" / f"{index}.png")
    (tmp_path / "broken.pth").write_text("<html></html>")
    method = f"spandrel:{tmp_path / 'broken.pth'}"
    done = cli("upscale", "--method", method, "--input", tmp_path / "in", "--output", "out")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert "failed: 0, 1, 2 and 2 more: method" in line and "is no file of tensors" in line


def test_other_test_sets_do_not_get_the_suites_title_and_note(cli: Cli, tmp_path: Path) -> None:
    for side, size in (("lr", 32), ("hr", 128)):
        (tmp_path / "own" / side).mkdir(parents=True)
        Image.fromarray(photo(size, size)).save(tmp_path / "own" / side / "a.png")
    done = cli(
        *("run", "quick", "--methods", "bicubic", "--datasets", f"folder:{tmp_path / 'own'}"),
        *("--metrics", "psnr_y", "--no-fetch"),
    )
    assert done.returncode == 0, done.stderr
    assert "\nown\n" in f"\n{done.stdout}" and "sample photographs" not in done.stdout


def test_spandrel_file_runs_and_a_pickle_with_code_is_refused(
    cli: Cli, tmp_path: Path, real_weights: Path
) -> None:
    Image.fromarray(photo(24, 32)).save(tmp_path / "x.png")
    arguments = ("--input", tmp_path / "x.png", "--output", tmp_path / "out")
    weights = real_weights / "realesr-animevideov3-x4.fp16.safetensors"
    done = cli("upscale", "--method", f"spandrel:{weights}", *arguments)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out" / "x.png").size == (128, 96)

    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"params": Evil()}))
    done = cli("upscale", "--method", f"spandrel:{tmp_path / 'evil.pth'}", *arguments)
    assert done.returncode in (1, 2) and "evil.pth" in done.stderr
    assert not (tmp_path / "owned").exists() and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "quik"), "did you mean 'quick'?"),
        (("run", "quick", "--methods", "bicubc"), "did you mean 'bicubic'?"),
        (("run", "quick", "--methods", "bicubic,bicubic"), "'bicubic' is named twice"),
        (("run", "quick", "--shard", "3/2"), "--shard: expected i/n with 1 <= i <= n"),
        (("run", "absent.toml"), "absent.toml: cannot be read"),
        (("run", "quick", "--datasets", "folder:/nowhere"), "/nowhere: expected a folder"),
        (("upscale", "--method", "bicubic"), "give either --input with --output, or --dataset"),
        (("upscale", "--method", "spandrel:no.pth", "--dataset", "quick-bicubic"), "no.pth"),
        (("list", "metrcs"), "did you mean 'metrics'?"),
        (("fetch", "lpisp"), "did you mean 'lpips'?"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    cli: Cli, arguments: tuple[str, ...], expected: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout
    assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_store_that_cannot_be_used_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli(*SMALL, "--store", tmp_path / "file" / "store")
    assert done.returncode == 2 and "cannot be made" in done.stderr


def test_a_name_that_is_not_unicode_is_refused_and_the_others_go_on(
    cli: Cli, tmp_path: Path
) -> None:
    for folder, side in (("lr", 16), ("hr", 64)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for name in (b"good.png", b"bad\xff.png"):
            Image.fromarray(photo(side, side)).save(tmp_path / "set" / folder / os.fsdecode(name))
    done = cli(
        *("run", "quick", "--datasets", f"folder:{tmp_path / 'set'}", "--methods", "bicubic"),
        *("--metrics", "psnr_y", "--out", tmp_path / "out", "--no-fetch"),
    )
    assert done.returncode == 1, done.stderr
    assert "its name is not valid Unicode; rename it" in done.stderr
    assert "n = 1" in done.stdout
