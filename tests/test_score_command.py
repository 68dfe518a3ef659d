"""`cassr-bench score` as people use it: golden values, hostile folders, resume, clear errors."""

import csv
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from pictures import ODD_NAMES, not_read_in_folders, photo
from PIL import Image
from scipy import stats

import bench
from bench.base.text import spreadsheet_text


def read_scores(path: Path) -> dict[tuple[str, str], float]:
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "metric", "value", "folder"]
    return {(r["image"], r["metric"]): float(r["value"]) if r["value"] else math.nan for r in rows}


@pytest.fixture
def with_niqe(clean_home: Path, real_weights: Path) -> None:
    folder = clean_home / "torch" / "hub" / "pyiqa"
    folder.mkdir(parents=True)
    shutil.copy(real_weights / "niqe_modelparameters.mat", folder)


LOGGED = {"psnr_y": ("PSNR", 1e-4), "ssim_y": ("SSIM", 1e-4), "niqe": ("NIQE", 0.02)}


@pytest.mark.parametrize("name", ["realsr", "drealsr"])
def test_published_scores_are_reproduced_on_every_image(
    cli: Cli, golden: Path, with_niqe: None, tmp_path: Path, name: str
) -> None:
    done = cli(
        *("score", "--sr", golden / name / "osediff", "--hr", golden / name / "hr"),
        *("--metrics", "psnr_y,ssim_y,niqe", "--csv", tmp_path / "s.csv"),
    )
    assert done.returncode == 0, done.stderr
    scores = read_scores(tmp_path / "s.csv")
    with (golden / "osediff_scores.csv").open() as file:
        logged = {
            (r["image"], r["metric"]): float(r["value"])
            for r in csv.DictReader(file)
            if r["dataset"] == name
        }
    images = {image for image, _ in scores}
    assert len(images) >= 19
    for image in images:
        for metric, (title, tolerance) in LOGGED.items():
            assert abs(scores[image, metric] - logged[image, title]) <= tolerance, (image, metric)


def test_bad_files_get_one_line_each_and_good_ones_their_scores(cli: Cli, tmp_path: Path) -> None:
    sr, hr = tmp_path / "sr", tmp_path / "hr"
    sr.mkdir(), hr.mkdir()
    bad = not_read_in_folders(sr)
    for name in bad:
        Image.fromarray(photo(64, 64)).save(hr / f"{Path(name).stem}.png")
    for stem in ODD_NAMES:
        Image.fromarray(photo(64, 64)).save(hr / f"{stem}.png")
        Image.fromarray(photo(64, 64, 5)).save(sr / f"{stem}.png")
    for name, shape in (("tiny", (1, 1)), ("wide", (2, 30000))):
        Image.fromarray(photo(*shape)).save(hr / f"{name}.png")
        Image.fromarray(photo(*shape, 5)).save(sr / f"{name}.png")

    done = cli(
        *("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y,ssim_y"),
        *("--csv", tmp_path / "s.csv"),
    )
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    for name, word in bad.items():
        mine = [line for line in lines if f"/{name}:" in line]
        assert len(mine) == 1 and word in mine[0], (name, lines)
    for name in ("tiny.png", "wide.png"):
        assert len([line for line in lines if f"/{name}:" in line]) == 1, lines
    assert len(lines) == len(bad) + 2, lines
    assert "Traceback" not in done.stderr and "Traceback" not in done.stdout
    scores = read_scores(tmp_path / "s.csv")
    for stem in ODD_NAMES:
        shown = spreadsheet_text(f"{stem}.png")
        assert 5 < scores[shown, "psnr_y"] < 60
        assert 0 <= scores[shown, "ssim_y"] <= 1
    assert math.isnan(scores["tiny.png", "ssim_y"])


def test_every_kind_of_image_is_scored_or_named(cli: Cli, tmp_path: Path) -> None:
    sr = tmp_path / "sr"
    (sr / "more").mkdir(parents=True)
    for name in ("a.png", "b.jfif", "c.jpe", "more/d.jpg", ".DS_Store.png"):
        Image.fromarray(photo(64, 64)).save(sr / name, "PNG" if "png" in name else "JPEG")
    (sr / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (sr / "notes.txt").write_text("of mine")
    arguments = ("score", "--sr", sr, "--hr", sr, "--metrics", "psnr_y")
    done = cli(*arguments)
    assert done.returncode == 1 and "(n = 3)" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert line.startswith(f"failed: {sr / 'more'}: holds images")
    for name in ("e.psd", "f.NEF", "g.gif"):
        (sr / name).write_bytes(b"\0")
        done = cli(*arguments)
        assert done.returncode == 2 and f"'{name}'" in done.stderr, name
        (sr / name).unlink()
    shutil.copy(sr / "a.png", sr / "unnamed")
    folder_method = ("run", "quick", "--methods", f"folder:{sr}", "--metrics", "psnr_y")
    gate = ("gate", "--sr", sr, "--reference", "new.toml", "--update", *arguments[3:])
    upscale = ("upscale", "--method", "bicubic", "--input", sr, "--output", tmp_path / "out")
    for words in (arguments, folder_method, gate, upscale):
        done = cli(*words)
        assert done.returncode == 2 and "'unnamed'" in done.stderr, (words, done.stderr)
    (sr / "unnamed").unlink()
    done = cli(*folder_method)
    assert done.returncode == 2 and "more: holds images" in done.stderr
    done = cli("score", "--sr", tmp_path, "--metrics", "niqe")
    assert done.returncode == 2 and "no image file in it" in done.stderr
    assert f"{sr} holds images" in done.stderr


def test_copies_of_a_bad_file_are_each_named(cli: Cli, tmp_path: Path) -> None:
    sr, hr = tmp_path / "sr", tmp_path / "hr"
    sr.mkdir(), hr.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((32, 32), 999, np.uint16)).save(sr / name)
        Image.fromarray(photo(32, 32)).save(hr / name)
    for bad, good in ((sr, hr), (hr, sr)):
        done = cli("score", "--sr", bad, "--hr", good, "--metrics", "psnr_y")
        failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
        assert len(failed) == 2, done.stderr
        for line, name in zip(failed, ("a.png", "b.png"), strict=True):
            assert line.startswith(f"failed: {sr / name}: has 16 bits"), line
    apart = [tmp_path / "one" / "a.png", tmp_path / "two" / "b.png"]
    for file in apart:
        file.parent.mkdir()
        shutil.copy(hr / file.name, file)
    folders = [word for file in apart for word in ("--sr", file.parent)]
    done = cli("score", *folders, "--hr", sr, "--metrics", "psnr_y")
    deep = [line for line in done.stderr.splitlines() if "has 16 bits" in line]
    assert [line.partition(": has")[0] for line in deep] == [
        f"failed: {sr / file.name}" for file in apart
    ]


def test_names_in_a_csv_are_neither_formulas_nor_escapes(cli: Cli, tmp_path: Path) -> None:
    sr = tmp_path / "sr"
    sr.mkdir()
    for name in ("=1+1.png", "\x1b[31mred.png", "two\nlines.png"):
        Image.fromarray(photo(64, 64)).save(sr / name)
    out = tmp_path / "s.csv"
    assert cli("score", "--sr", sr, "--hr", sr, "--metrics", "gmsd", "--csv", out).returncode == 0
    text = out.read_text()
    assert "'=1+1.png" in text and "\x1b" not in text
    assert text.splitlines()[0] == "image,metric,value,folder" and len(text.splitlines()) == 4


def test_unpaired_and_wrongly_sized_files_are_named(
    cli: Cli, image_folders: tuple[Path, Path]
) -> None:
    sr, hr = image_folders
    (hr / "img0.png").rename(hr / "other.png")
    Image.fromarray(photo(100, 128)).save(sr / "img1.png")
    done = cli("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y")
    assert done.returncode == 1
    assert "img0.png: has no partner in" in done.stderr
    assert "other.png: has no partner in" in done.stderr
    assert "img1.png: is 128x100, its HR image is 128x128" in done.stderr
    assert "(n = 1)" in done.stdout


def test_modcrop_cuts_to_the_shared_size_at_the_top_left(tmp_path: Path) -> None:
    sr, hr, cut = tmp_path / "sr", tmp_path / "hr", tmp_path / "cut"
    for folder in (sr, hr, cut):
        folder.mkdir()
    sizes = {"odd": (64, 60), "off": (65, 63), "same": (66, 63), "other": (30, 60)}
    for name, size in sizes.items():
        Image.fromarray(photo(66, 63)).save(hr / f"{name}.png")
        Image.fromarray(photo(66, 63, 5)[: size[0], : size[1]]).save(sr / f"{name}.png")
        Image.fromarray(photo(66, 63)[: size[0], : size[1]]).save(cut / f"{name}.png")

    def scored(folder: Path, modcrop: bool) -> tuple[dict[str, float], dict[str, str]]:
        store = tmp_path / "store"  # shared: what was cut is never found without asking for it
        frame = bench.score(sr, folder, metrics="psnr_y", modcrop=modcrop, store=store)
        known = frame.set_index("image")
        return known.value.to_dict(), known.reason.to_dict()

    with_it, reasons = scored(hr, modcrop=True)
    without, told = scored(hr, modcrop=False)
    expected, _ = scored(cut, modcrop=False)
    for name in ("odd.png", "off.png", "same.png"):
        assert with_it[name] == expected[name] > 0
    assert "its HR image is 63x66" in reasons["other.png"] and "--modcrop" not in told["other.png"]
    assert math.isnan(without["odd.png"]) and "score --modcrop" in told["odd.png"]
    assert without["same.png"] == with_it["same.png"]


@pytest.mark.parametrize("metric", ["vif", "pyiqa:cw_ssim", "pyiqa:mad", "pyiqa:vsi"])
def test_what_is_not_defined_of_a_flat_image_stays_out_of_the_mean(metric: str) -> None:
    flat, other = np.full((64, 64, 3), 128, np.uint8), photo(64, 64)
    measure = bench.metric(metric)
    assert measure(other, photo(64, 64, 5)) > 0
    for sr in (flat, other):
        with pytest.raises(bench.BenchError, match="not defined: its HR image is one flat colour"):
            measure(sr, flat)


def test_second_run_computes_nothing_and_a_changed_image_only_itself(
    cli: Cli, image_folders: tuple[Path, Path], clean_home: Path, tmp_path: Path
) -> None:
    sr, hr = image_folders
    arguments = ("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y", "--csv")
    first = cli(*arguments, tmp_path / "1.csv")
    assert first.returncode == 0 and "scores: 3/3" in first.stderr
    second = cli(*arguments, tmp_path / "2.csv")
    assert "scores:" not in second.stderr
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    Image.fromarray(photo(128, 128, 9)).save(sr / "img1.png")
    third = cli(*arguments, tmp_path / "3.csv")
    assert "scores: 1/1" in third.stderr
    before, after = read_scores(tmp_path / "1.csv"), read_scores(tmp_path / "3.csv")
    assert {key for key in before if before[key] != after[key]} == {("img1.png", "psnr_y")}


def test_workers_change_no_digit(
    cli: Cli, image_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sr, hr = image_folders
    written = set()
    for workers in (1, 2):
        out = tmp_path / f"{workers}.csv"
        done = cli(
            *("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y,ssim_y,gmsd", "--csv", out),
            *("--workers", workers, "--store", tmp_path / f"store{workers}"),
        )
        assert done.returncode == 0, done.stderr
        written.add(out.read_bytes())
    assert len(written) == 1


def test_json_holds_means_and_scores(cli: Cli, image_folders: tuple[Path, Path]) -> None:
    sr, hr = image_folders
    done = cli("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y", "--json")
    report = json.loads(done.stdout)
    assert report["means"][0]["n"] == 3 and report["means"][0]["better"] == "higher"
    values = [row["value"] for row in report["scores"]]
    assert report["means"][0]["mean"] == pytest.approx(sum(values) / 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: [*a[:-1], "psnry"], "did you mean 'psnr_y'"),
        (lambda a: [*a[:-1], "pyiqa:nothing_such"], "nothing_such"),
        (lambda a: a[:3] + a[5:], "psnr_y compares with HR images; give --hr DIR"),
        (lambda a: a[:-2], "--metrics: expected at least one name"),
        (lambda a: [*a, "--device", "tpu"], "--device: expected auto, cpu"),
        (lambda a: [a[0], a[1], "/nowhere/at/all", *a[3:]], "/nowhere/at/all"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    cli: Cli,
    image_folders: tuple[Path, Path],
    change: Callable[[list[str]], list[str]],
    expected: str,
) -> None:
    sr, hr = image_folders
    done = cli(*change(["score", "--sr", str(sr), "--hr", str(hr), "--metrics", "psnr_y"]))
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_metric_without_weights_is_a_dash_with_its_reason(
    cli: Cli, image_folders: tuple[Path, Path]
) -> None:
    sr, hr = image_folders
    done = cli("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y,lpips")
    assert done.returncode == 1
    assert "cassr-bench fetch lpips" in done.stdout
    assert "psnr_y" in done.stdout


def test_several_folders_over_one_hr_folder_give_what_each_gives_alone(
    cli: Cli, image_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sr, hr = image_folders
    arguments = ("--hr", hr, "--metrics", "psnr_y,fsim", "--csv")
    together, alone = tmp_path / "both.csv", tmp_path / "one.csv"
    both = cli("score", "--sr", sr, "--sr", hr, *arguments, together)
    assert both.returncode == 0, both.stderr
    assert "scores: 3/3" in both.stderr
    assert both.stdout.splitlines()[::3] == [str(sr), str(hr)]
    header, *rows = together.read_text().splitlines()
    for folder in (sr, hr):
        done = cli("score", "--sr", folder, *arguments, alone, "--store", tmp_path / "fresh")
        assert done.returncode == 0, done.stderr
        own = [line for line in rows if line.endswith(f",{folder}")]
        assert [header, *own] == alone.read_text().splitlines()
    report = json.loads(cli("score", "--sr", sr, "--sr", hr, *arguments[:-1], "--json").stdout)
    assert [folder["folder"] for folder in report["folders"]] == [str(sr), str(hr)]
    assert [len(folder["scores"]) for folder in report["folders"]] == [6, 6]


def test_a_metric_named_twice_counts_no_image_twice(cli: Cli, tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(photo(16, 16, index)).save(tmp_path / f"{index}.png")
    ask = ("score", "--sr", tmp_path, "--hr", tmp_path, "--csv", tmp_path / "out" / "s.csv")
    done = cli(*ask, "--metrics", "gmsd,gmsd", "--metrics", "gmsd(crop_border=0)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("gmsd") == 1 and "(n = 2)" in done.stdout
    assert (tmp_path / "out" / "s.csv").read_text().count("gmsd") == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_for_a_metric_is_refused_and_a_long_name_is_cut(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.py")
    for metric, told in (
        (tmp_path / "m.py", "found a folder or device"),
        ("x" * 9000, "xxx … xxx"),
    ):
        done = cli("score", "--sr", tmp_path, "--metrics", metric)
        assert done.returncode == 2 and told in done.stderr
        assert len(done.stderr) < 5000


def test_means_have_intervals_where_images_allow(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for index in range(8):
        for name, noise in (("sr", rng.integers(-9, 10, (64, 64, 3))), ("hr", 0)):
            pixels = np.clip(photo(64, 64, index).astype(int) + noise, 0, 255)
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{index}.png")
    arguments = ("score", "--sr", tmp_path / "sr", "--hr", tmp_path / "hr", "--metrics", "gmsd")
    told = json.loads(cli(*arguments, "--json").stdout)
    values = [each["value"] for each in told["scores"]]
    width = stats.t.ppf(0.975, 7) * stats.sem(values)
    half = told["means"][0]["half_width"]
    assert half == pytest.approx(width, rel=0.3)
    assert f"{np.mean(values):.4f} ± {half:.4f}  (n = 8)" in cli(*arguments).stdout
    assert "±" not in cli(*arguments, "--limit", 5).stdout
