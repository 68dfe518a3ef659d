"""`upscale`: originals and other people's files stay, every image gets its file or its reason."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from pictures import not_read_in_folders, photo
from PIL import Image
from run_example import files_of

from bench.files import images


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
        (("train", "vae", "--batch-size", "9" * 19), "--batch-size: expected a number of at most"),
        (
            ("score", "--sr", "20240101123000123456", "--metrics", "niqe"),
            "123456: expected a folder",
        ),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    cli: Cli, arguments: tuple[str, ...], expected: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout
    assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1
