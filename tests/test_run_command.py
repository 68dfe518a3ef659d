"""`run`, `report` and `upscale`: true tables, nothing computed twice, killed runs that go on."""

import csv
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Cli, plant_quick_sets
from pictures import not_read_in_folders, photo, put
from PIL import Image

from bench.base.errors import BenchError, DataError, SetAside, Unavailable
from bench.base.progress import Progress
from bench.commands.shared.output import tell
from bench.files import images
from bench.files.record_log import sealed
from bench.methods.find import find as find_method
from bench.processes.foreign import each
from bench.running import execute
from bench.running.cell import UpscaleTask
from bench.running.collect import _losses
from bench.running.fill import forget, upscale_one
from bench.running.options import RunOptions
from bench.running.plan import make_plan
from bench.store.scores import write_features
from bench.store.store import Store
from bench.suites.find import chosen, find_suite

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


DAMAGED = [
    *(sealed({"sr": "a", "hr": None, "value": v}) for v in (math.nan, math.inf, "12")),
    *(sealed({"sr": "a", "hr": None, "value": v}) for v in (True, None, [1.0])),
    *(b"{}", b"3", b"[" * 100_000, b'{"sr": "\xff", "hr": null, "value": 1.0}', b"\x00\xff"),
    sealed({"sr": "a"}),
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named_and_counts_as_not_there(tmp_path: Path, line: bytes) -> None:
    scores, images = Store(tmp_path).scores("psnr_y", {}), Store(tmp_path).images("m", {}, "d")
    scores.put(("a", None), 30.5)
    put(images, seconds=1.5)
    other = line.rstrip(b"\n") + b" "
    for folder in (scores.folder, images.folder / "records"):
        (folder / "0.jsonl").write_bytes(b"\n".join([line.rstrip(b"\n"), other, b'{"torn": ']))
    with pytest.warns(SetAside, match=r"0\.jsonl: line 1 is set aside \(.*; and 1 more lines\)"):
        assert Store(tmp_path).scores("psnr_y", {}).get(("a", None)) == 30.5
    with pytest.warns(SetAside, match=r"0\.jsonl: line 1"):
        found = Store(tmp_path).images("m", {}, "d").get("k", "x")
    assert found is not None and found.record.seconds == 1.5


def test_names_that_are_no_unicode_stay_in_the_records(tmp_path: Path) -> None:
    put(Store(tmp_path).images("m", {}, "d"), "x\udcff")
    found = Store(tmp_path).images("m", {}, "d").get("k", "x")
    assert found is not None and found.record.id == "x\udcff"


def test_damaged_features_and_manifests_count_as_not_there(tmp_path: Path) -> None:
    features = Store(tmp_path).features({})
    write_features(features.place("a"), np.arange(6.0))
    file = features.folder / "a.npy"
    whole = file.read_bytes()
    assert features.has("a") and (features.get("a") == np.arange(6.0)).all()
    for damaged in (b"", whole[:60], whole[:-1], b"x" * len(whole), whole.replace(b"f8", b"i8")):
        file.write_bytes(damaged)
        assert not features.has("a")
    write_features(features.place("a"), np.array([1.0, np.nan]))
    with pytest.raises(
        DataError, match=r"a\.npy: holds values that are not finite and is set aside; run again"
    ):
        features.get("a")


def test_a_damaged_score_is_computed_again_and_so_is_a_manifest(cli: Cli, tmp_path: Path) -> None:
    run = ("run", "quick", "--methods", "nearest", "--datasets", "quick-bicubic")
    arguments = (*run, "--metrics", "psnr_y", "--limit", 2, "--reports", "csv", "--store", "store")
    assert cli(*arguments, "--out", tmp_path / "good").returncode == 0
    store = tmp_path / "cwd" / "store"
    (scores,) = store.glob("scores/psnr_y-*/*.jsonl")
    (manifest,) = store.glob("datasets/*/manifest.json")
    text = re.sub(r'"value": [0-9.]+', '"value": "99"', scores.read_text())
    scores.write_text(text)
    without_one = json.loads(manifest.read_text())
    without_one["pairs"] = without_one["pairs"][1:]
    for damaged, warnings in ((json.dumps(without_one), 2), ("{}", 1)):  # a line is named once
        manifest.write_text(damaged)
        done = cli(*arguments, "--out", tmp_path / "again")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("warning: ") == warnings, done.stderr
        named = f"{scores.name}: line 1 is set aside (its checksum does not fit"
        assert done.stderr.count(named) == warnings - 1
        assert "manifest.json: is set aside (" in done.stderr and "Nearest on" not in done.stderr
        assert files_of(tmp_path / "good") == files_of(tmp_path / "again")


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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sys.exit(0)", "SystemExit: 0 (mine.py:6)"),
        ("raise GeneratorExit", "GeneratorExit (mine.py:6)"),
        ("raise StopIteration(3)", "StopIteration: 3 (mine.py:6)"),
        ("raise type('Odd', (BaseException,), {})('x')", "Odd: x (mine.py:6)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (mine.py:6)"),
        ("torch.zeros(2).view(3)", "is invalid for input of size 2 (mine.py:6)"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: sys.exit(0)})",
            "Mute: (its message cannot be shown) (mine.py:6)",
        ),
        ("raise ValueError('x' * 50_000)", "ValueError: " + "x" * 300 + "… (mine.py:6)"),
    ],
)
def test_whatever_a_method_raises_is_one_line_with_its_place(
    body: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = upscaled(body, tmp_path)
    assert isinstance(found, str) and found.startswith(f"method '{tmp_path}/mine.py': ")
    assert found.endswith(expected) and len(found.splitlines()) == 1


def test_what_breaks_while_a_method_is_loaded_is_told_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    for text, expected in (
        ("import sys\nsys.exit(0)\n", "SystemExit: 0 (mine.py:2)"),
        ("def upscale(:\n", "SyntaxError: invalid syntax (mine.py, line 1) (mine.py:1)"),
    ):
        file.write_text(text)
        with pytest.raises(Unavailable) as error:
            find_method("mine.py").load("cpu")
        assert str(error.value) == f"method 'mine.py': {expected}"


def test_what_breaks_between_the_images_of_a_set_is_told_likewise() -> None:
    def made() -> Iterator[int]:
        yield 1
        sys.exit(0)

    found = each("set.toml", made())
    assert next(found) == 1
    with pytest.raises(Unavailable, match=r"method 'set\.toml': SystemExit: 0 \(.*py:\d+\)"):
        next(found)


def test_ctrl_c_is_told_from_a_method_that_raises_it_and_cannot_be_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    press = "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    swallow = "    ".join(("try:\n", f"    {press}\n", "except BaseException:\n", "    pass"))
    for body in (press, swallow):
        with pytest.raises(KeyboardInterrupt):
            upscaled(body, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_method_that_changes_the_folder_moves_no_file_and_prints_beside_our_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(upscaled("os.chdir('/'); print('hello')", tmp_path), dict)
    assert (tmp_path / "out.png").is_file()
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ("None", "found None; return the upscaled image"),
        ("lr.numpy()", "found a numpy array; return torch.from_numpy(x)"),
        ("[lr]", "found list; return a torch tensor"),
        ("(lr * 255).byte()", "found torch.uint8; return x.float() / 255"),
        ("lr * 255", "; divide by 255 if white is 255"),
        ("lr[0].permute(1, 2, 0)", "found shape (6, 8, 3); return x.permute(2, 0, 1)[None]"),
        ("lr / 0", "found values that are not finite"),
    ],
)
def test_an_output_that_is_no_image_is_refused_with_its_remedy(
    returns: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = upscaled("pass", tmp_path, returns)
    assert isinstance(found, str) and expected in found
    assert f"method '{tmp_path}/mine.py': expected floats in [0, 1] of shape (1, 3, H, W)" in found
    assert not (tmp_path / "out.png").exists()


def test_an_output_that_overshoots_is_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(upscaled("pass", tmp_path, "lr * 3"), dict)


@pytest.mark.usefixtures("quick_sets")
def test_a_method_that_kills_its_process_is_named_and_costs_its_own_images(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "cwd" / "dies.py").write_text(
        "import os\n\ndef upscale(lr, *, scale, seeds):\n    os._exit(0)\n"
    )
    done = cli(
        *("run", "quick", "--methods", "dies.py,nearest", "--metrics", "psnr_y", "--limit", 2),
        *("--workers", 2, "--reports", "csv", "--out", "out"),
    )
    assert done.returncode == 1
    assert "method 'dies.py': its process ended by itself with exit code 0" in done.stderr
    assert "(dies.py:4)" in done.stderr
    found = means(tmp_path / "cwd" / "out")
    assert [bool(mean) for (_, method, _), mean in found.items() if method == "nearest"] == [
        True
    ] * (len(found) // 2)


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


def test_an_input_that_shows_what_another_shows_is_written_too(cli: Cli, tmp_path: Path) -> None:
    words = ("upscale", "--method", "nearest", "--input", tmp_path / "in", "--workers", 1)
    for name in ("a", "b", "c"):
        images.write_png(tmp_path / "in" / f"{name}.png", photo(16, 16))
        assert cli(*words, "--output", tmp_path / "out").returncode == 0
        assert (tmp_path / "out" / f"{name}.png").is_file()
    (tmp_path / "out" / "a.png").unlink()
    assert cli(*words, "--output", tmp_path / "out").returncode == 0
    assert len({path.read_bytes() for path in (tmp_path / "out").glob("*.png")}) == 1
    assert len([*(tmp_path / "out").glob("*.png")]) == 3


def test_names_that_differ_by_case_alone_are_one_where_case_is_ignored(
    cli: Cli, tmp_path: Path
) -> None:
    words = ("upscale", "--method", "nearest", "--input", tmp_path / "in", "--workers", 1)
    for seed, name in enumerate(("a", "A", "ß", "ss")):
        images.write_png(tmp_path / "in" / f"{name}.png", photo(16, 16, seed))
    (tmp_path / "sets").mkdir()
    assert cli(*words, "--output", tmp_path / "sets" / "1").returncode == 0
    assert len([*(tmp_path / "sets" / "1").glob("*.png")]) == 4
    (tmp_path / "SETS").symlink_to("sets")
    done = cli(*words, "--output", tmp_path / "sets" / "2")
    assert done.returncode == 1, "one would take the other's place"
    assert "has the name of A.png but for case" in " ".join(done.stderr.split())
    assert len([*(tmp_path / "sets" / "2").glob("*.png")]) == 3


def test_subfolders_are_upscaled_and_scored_under_their_names(cli: Cli, tmp_path: Path) -> None:
    for seed, name in enumerate(("x", "a/x", "a/b/y", "only/z")):
        images.write_png(tmp_path / "lr" / f"{name}.png", photo(16, 16, seed))
        if name != "only/z":
            images.write_png(tmp_path / "hr" / f"{name}.png", photo(64, 64, seed))
    images.write_png(tmp_path / "lr" / ".hidden" / "x.png", photo(16, 16))
    out = tmp_path / "out"
    words = ("upscale", "--method", "nearest", "--input", tmp_path / "lr", "--output", out)
    done = cli(*words, "--workers", 1)
    assert done.returncode == 1 and "lr/a: holds images" in done.stderr
    assert [path.name for path in out.glob("**/*.png")] == ["x.png"]
    for made in (3, 0):
        done = cli(*words, "--workers", 1, "--recursive")
        assert done.returncode == 0 and f"{made} images upscaled" in done.stdout
    assert np.array_equal(
        np.asarray(Image.open(out / "a" / "b" / "y.png"))[::4, ::4], photo(16, 16, 2)
    )
    assert cli(*words, "--recursive", "--limit", 9, "--scale", 2).returncode == 0  # ours to replace
    assert cli(*words, "--recursive").returncode == 0
    words = ("score", "--sr", out, "--hr", tmp_path / "hr", "--metrics", "psnr_y", "--recursive")
    done = cli(*words, "--csv", tmp_path / "s.csv")
    assert done.returncode == 1 and "hr/only: " in done.stderr and "(n = 3)" in done.stdout
    lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == ["a/b/y.png", "a/x.png", "x.png"]


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
    every = tmp_path / "home" / "store" / "failures.txt"
    assert f"all of them, one by one: {every}" in done.stderr
    assert [said.partition(":")[0] for said in every.read_text().splitlines()] == [*"01234"]


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
        (("upscale", "--method", "bicubic"), "give either --input with --output"),
        (("upscale", "--method", "spandrel:no.pth", "--dataset", "quick-bicubic"), "no.pth"),
        (("list", "metrcs"), "did you mean 'metrics'?"),
        (("fetch", "lpisp"), "did you mean 'lpips'?"),
        (("run", "quick", "--methods", ""), "--methods: expected a value, found an empty one"),
        (("run", "quick", "--metrics", ","), "--metrics: expected at least one name, found ','"),
        (("report", "quick", "--reports", " , "), "--reports: expected at least one name"),
        (("report", "quick", "--region="), "--region: expected a value, found an empty one"),
        (("export", "quick", "--out", "x", "--datasets", ","), "--datasets: expected at least one"),
        (("score", "--sr", "", "--metrics", "niqe"), "--sr: expected a value, found an empty one"),
        (("score", "--sr", ".", "--metrics", ","), "--metrics: expected at least one name"),
        (("score", "--sr", ".", "--csv", "-"), "--csv: expected a value, found '-'"),
        (("export", "quick", "--out=-"), "--out: expected a value, found '-'"),
        (("train", "guidance", "--data", ","), "--data: expected at least one name"),
        (("train", "guidance", "--degradation", ","), "--degradation: expected at least one name"),
        (("run", "quick", "--methods", '"a'), "--methods: expected names with commas between"),
        (("report", "quick", "--seed=1" + "0" * 400), "--seed: expected a number of at most 18"),
        (("import", "quick", "x", "--label", "a\nb"), "--label: expected one line of at most 200"),
        (
            ("import", "quick", "x", "--label", "a" * 201),
            "--label: expected one line of at most 200",
        ),
        (("cut", ".", "--out", "x", "--side", "9" * 19), "--side: expected a number of at most 18"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    cli: Cli, arguments: tuple[str, ...], expected: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout
    assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">/dev/full", 2, "error: standard output: cannot be written (no space left on device); "),
        ("2>/dev/full", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_a_standard_stream_that_cannot_be_written_costs_no_work(
    clean_home: Path, image_folders: tuple[Path, Path], streams: str, code: int, said: str
) -> None:
    sr, hr = image_folders
    rest = f"--sr {sr} --hr {hr} --metrics psnr_y --csv {sr.parent}/x.csv {streams}"
    command = f"{sys.executable} -m bench score {rest}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if not line.startswith("scores: ")]
    assert done.returncode == code, done.stderr
    assert len(told) == (1 if said else 0) and done.stderr.count(said)
    assert len((sr.parent / "x.csv").read_text().splitlines()) == 4


def test_what_an_encoding_has_not_is_shown_as_escapes(cli: Cli) -> None:
    done = cli("list", "metrics", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u25cf psnr_y" in done.stdout


def test_a_current_folder_that_was_deleted_is_said(clean_home: Path, tmp_path: Path) -> None:
    command = f"mkdir x; cd x; rmdir ../x; PYTHONPATH={ROOT} {sys.executable} -m bench"
    words = ["bash", "-c", f"{command} export quick --out x.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "error: the folder that you are in is there no longer" in done.stderr


def test_a_name_with_a_comma_is_quoted_in_a_list() -> None:
    from bench.commands.shared import options

    given = ['"folder:a,b@C", bicubic,', "lanczos"]
    assert options.names("--methods", given) == ["folder:a,b@C", "bicubic", "lanczos"]
    assert options.names("--methods", None) == []


def test_store_that_cannot_be_used_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli(*SMALL, "--store", tmp_path / "file" / "store")
    assert (
        done.returncode == 2
        and "file/store: cannot be made (Not a directory); choose" in done.stderr
    )


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


def test_json_has_texts_for_infinity_and_null_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    tell(True, {"a": [math.inf, -math.inf], "b": math.nan, "c": 0.1})
    expected = {"a": ["Infinity", "-Infinity"], "b": None, "c": 0.1}
    assert json.loads(capsys.readouterr().out) == expected


def test_a_missing_file_without_a_name_is_not_the_current_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench import cli as command_line

    with pytest.raises(SystemExit):
        command_line._stop_unexpected(FileNotFoundError("no such device"))
    assert capsys.readouterr().err == "error: no such device\n"


def test_only_options_of_the_command_are_proposed_for_several_values(cli: Cli) -> None:
    hint = "repeated for each: "
    assert f"{hint}--sr A --sr B" in cli("score", "--sr", "a", "b").stderr
    done = cli("export", "quick", "b")
    assert done.returncode == 2 and "--input" not in done.stderr
