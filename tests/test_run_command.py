"""`run`, `report` and `upscale`: true tables, nothing computed twice, killed runs that go on."""

import json
import os
import random
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Cli, plant_quick_sets
from pictures import photo
from PIL import Image
from run_example import SMALL, files_of, means

from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.types import ImagePair
from bench.methods.find import find as find_method
from bench.running import execute
from bench.running.collect import _losses
from bench.running.options import RunOptions
from bench.running.plan import make_plan
from bench.suites.find import chosen, find_suite


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
    cli = Cli(folder / "home", folder / "cwd")
    plant_quick_sets(folder / "home" / "store")
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
    for command in ("run", "report"):
        done = finished.cli(command, *SMALL[1:-2], "--out", tmp_path / command)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "html" / "index.html").is_file()
    assert files_of(tmp_path / "run") == files_of(tmp_path / "report")


@pytest.mark.usefixtures("quick_sets")
def test_report_of_an_empty_store_says_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", *SMALL[1:], "--out", tmp_path / "a")
    assert done.returncode == 0
    assert "not upscaled yet" in done.stdout


@pytest.mark.usefixtures("quick_sets")
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


@pytest.mark.usefixtures("quick_sets")
def test_dry_run_computes_nothing(cli: Cli, tmp_path: Path, clean_home: Path) -> None:
    done = cli(*SMALL, "--dry-run", "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    where = {"method": "bicubic", "dataset": "quick-bicubic"}
    todo = {"images": 2, "to_upscale": 2, "left": 2, "seconds": None, "pace": "", "problem": ""}
    assert {**where, **todo} in json.loads(done.stdout)
    assert not (tmp_path / "out").exists() and not (clean_home / "store" / "images").exists()


PACED = """
name = "paced"
title = "Paced"
summary = "Bilinear, once timed by somebody"
licence = "MIT"
factory = "baselines.resample:Resample"
options = { filter = "bilinear" }
gpu_gb = 8
pace = { seconds = 10, megapixels = 1, source = "Somebody, on an A100" }
"""


def test_progress_tells_of_the_whole_suite_and_believes_what_it_measures(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = iter(range(0, 10_000, 120))
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    card = tmp_path / "paced.toml"  # 10 s a megapixel
    card.write_text(PACED)
    suite = chosen(find_suite("quick"), ["nearest", str(card)], ["quick-bicubic", "quick-mild"])
    plan = make_plan(suite, RunOptions(tmp_path / "store", limit=2), Progress(quiet=True))
    course = execute.Course([plan], quiet=False)
    assert course.whole() == "in total 0/8, about 8 s left, 4 images not timed yet"
    first = next(cell.title for cell in plan.cells if cell.entry.name == "nearest")
    with course.step(first, 2) as live:
        live(1, 2)
        assert course.whole() == "in total 1/8, about 6 min left"
    assert (
        "Nearest" in first and f"{first}: 0/2; in total 0/8, about 8 s" in capsys.readouterr().err
    )
    assert course.whole() == "in total 2/8, about 4 min left"


def test_json_gives_summary_provenance_and_files(finished: Finished, tmp_path: Path) -> None:
    done = finished.cli(*SMALL, "--json", "--out", tmp_path)
    report = json.loads(done.stdout)
    missing = [row for row in report["summary"] if row["metric"] == "lpips"]
    assert missing and all(row["mean"] is None and row["reason"] for row in missing)
    assert all(Path(file).is_file() for file in report["files"])


@pytest.mark.usefixtures("quick_sets")
def test_a_folder_of_images_serves_one_test_set_alone(cli: Cli, tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    for name in ("quick-bicubic", "quick-realistic"):
        done = cli("upscale", "--method", "nearest", "--dataset", name, "--limit", 2)
        assert done.returncode == 0, done.stderr
        (made,) = (tmp_path / "home" / "store" / "images").glob(f"*/{name}")
        uses = (tmp_path / "home" / "store" / "uses").glob("*.json")
        assert any(f"/{name}" in path.read_text() for path in uses), "pruned a day later"
        (cwd / "up@2x" / name).mkdir(parents=True)
        for file in made.glob("*.png"):
            (cwd / "up@2x" / name / f"{file.stem[:-13]}.png").write_bytes(file.read_bytes())
    run = ("run", "quick", "--metrics", "psnr_y", "--limit", 2, "--reports", "csv", "--methods")
    one = cli(*run, "nearest,folder:up@2x/quick-bicubic@Mine", "--out", tmp_path / "one")
    assert one.returncode == 2 and not (tmp_path / "one").exists()
    for said in ("--datasets", "quick-bicubic and of quick-realistic", "PATH/{dataset}@Mine"):
        assert said in one.stderr
    each = cli(*run, "nearest,folder:up@2x/{dataset}@Mine", "--out", tmp_path / "each")
    assert each.returncode == 0, each.stderr
    found = means(tmp_path / "each")
    for name in ("quick-bicubic", "quick-realistic"):
        assert found[name, "Mine", "psnr_y"] == found[name, "nearest", "psnr_y"]
    assert find_method(f"folder:{cwd / 'up@2x' / 'quick-bicubic'}").card.title == "quick-bicubic"


def test_sets_of_ones_own_go_by_their_folders_names_in_a_path(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "up" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "up" / name / "a.png")
    method = find_method(f"folder:{tmp_path}/up/{{dataset}}@Mine")
    pair = [ImagePair("a", tmp_path / "a.png", None, "", "", 4)]
    hub = ("hf:somebody/one", "hf:somebody/one@v1:test:lr,hr")
    for given in ("one", f"folder:{tmp_path}/sets/one/", "sets/one.toml", *hub):
        assert method.finished(given, pair).files == {"a": tmp_path / "up" / "one" / "a.png"}, given


def test_lossy_outputs_of_a_program_are_said_under_the_table() -> None:
    lines = [("a", "JPEG"), ("b", "grey"), ("c", ""), ("d", "JPEG")]
    records = [(name, SimpleNamespace(lossy=lossy)) for name, lossy in lines]
    plan = SimpleNamespace(cells_of=lambda entry: [SimpleNamespace(records=lambda: records)])
    told = "{} of 4 images were written by its program as {}"
    entry = find_method("osediff")
    assert list(_losses(entry, plan)) == [told.format(2, "JPEG"), told.format(1, "grey")]
    assert list(_losses(find_method("bicubic"), plan)) == []


def test_a_folder_with_an_at_sign_in_its_name_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "out@2x").mkdir()
    Image.fromarray(photo(8, 8)).save(tmp_path / "out@2x" / "a.png")
    assert find_method(f"folder:{tmp_path / 'out@2x'}").card.title == "out@2x"
    assert find_method(f"folder:{tmp_path / 'out@2x'}@Mine").card.title == "Mine"


@pytest.mark.parametrize("name", ["", "x" * 201, "\udcff"])
def test_a_name_behind_the_at_sign_that_no_table_can_have_is_refused(
    tmp_path: Path, name: str
) -> None:
    Image.fromarray(photo(8, 8)).save(tmp_path / "a.png")
    with pytest.raises(BenchError, match=r"expected a name of 1 to 200 characters of Unic"):
        find_method(f"folder:{tmp_path}@{name}")


@pytest.mark.usefixtures("quick_sets")
def test_a_changed_method_or_module_beside_it_never_meets_old_images(
    cli: Cli, tmp_path: Path
) -> None:
    cwd = tmp_path / "cwd"
    for name in ("a", "b"):
        (cwd / name / "shades").mkdir(parents=True)
        (cwd / name / "shades" / "__init__.py").write_text("from .dark import SHADE\n")
        (cwd / name / "shades" / "dark.py").write_text("SHADE = 0.25\n")
        (cwd / name / "helper.py").write_text("from shades import SHADE\n")
        (cwd / name / f"{name}.py").write_text(
            "from helper import SHADE\n"
            "def upscale(lr, *, scale, seeds):\n"
            "    return 0 * lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3) + SHADE\n"
        )
    run = ("run", "quick", "--methods", "a/a.py,b/b.py", "--datasets", "quick-bicubic")
    arguments = (*run, "--metrics", "psnr_y", "--limit", 1, "--workers", 1, "--reports", "csv")

    def score(name: str) -> float:
        done = cli(*arguments, "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        return float(means(tmp_path / "out")["quick-bicubic", name, "psnr_y"])

    before = score("a")
    for file, text in ((cwd / "b" / "shades" / "dark.py", "0.75"), (cwd / "a" / "a.py", "0.9 ")):
        stamp = file.stat()
        changed = re.sub(r"0\.25|SHADE$", text, file.read_text().rstrip())
        file.write_text(changed.ljust(stamp.st_size))
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert file.stat().st_size == stamp.st_size
        assert score(file.relative_to(cwd).parts[0]) != before
        if file.name == "dark.py":
            assert score("a") == before, "two methods' helpers of one name are told apart"


SLOW_METHOD = """
import time
import torch

def upscale(lr, *, scale, seeds):
    time.sleep(0.15)
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    mixed = 0.9 * lr + 0.1 * noise
    return torch.nn.functional.interpolate(mixed, scale_factor=scale)
"""


def test_killed_at_any_instant_it_ends_with_the_same_tables(
    cli: Cli, tmp_path: Path, clean_home: Path
) -> None:
    method = tmp_path / "slow.py"
    method.write_text(SLOW_METHOD)

    def arguments(store: str, out: str) -> list[str]:
        return [
            *("run", "quick", "--methods", f"bicubic,{method}", "--metrics", "psnr_y,gmsd"),
            *("--limit", "3", "--store", str(tmp_path / store), "--out", str(tmp_path / out)),
            *("--reports", "csv,latex,panels,html"),
        ]

    plant_quick_sets(tmp_path / "calm")
    began = time.monotonic()
    assert cli(*arguments("calm", "calm-out")).returncode == 0
    seconds, chance = time.monotonic() - began, random.Random(7)
    for _ in range(3):
        process = cli.start(*arguments("killed", "killed-out"))
        time.sleep(chance.uniform(0.05, 0.9) * seconds)
        process.kill()
        process.wait()
    assert cli(*arguments("killed", "killed-out")).returncode == 0
    assert files_of(tmp_path / "calm-out") == files_of(tmp_path / "killed-out")
    leftovers = list((tmp_path / "killed-out").rglob(".part-*"))
    assert leftovers == []


def test_other_test_sets_do_not_get_the_suites_title_and_note(cli: Cli, tmp_path: Path) -> None:
    for side, size in (("lr", 32), ("hr", 128)):
        (tmp_path / "own" / side).mkdir(parents=True)
        Image.fromarray(photo(size, size)).save(tmp_path / "own" / side / "a.png")
    done = cli(
        *("run", "quick", "--methods", "bicubic", "--datasets", f"folder:{tmp_path / 'own'}"),
        *("--metrics", "psnr_y", "--no-fetch", "--reports", "markdown"),
    )
    assert done.returncode == 0, done.stderr
    assert "\nown\n" in f"\n{done.stdout}" and "sample photographs" not in done.stdout
