"""Large photographs cut into crops: all of each, once, beside nobody's files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import Cli
from pictures import photo
from PIL import Image

from cassr.base.errors import TrainingError
from cassr.photographs.cut import cut
from cassr.photographs.read import FilePhotograph, in_folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photographs"
    (place / "deep").mkdir(parents=True)
    for index, size in enumerate([(70, 101), (64, 32), (20, 90)]):
        Image.fromarray(photo(*size, index)).save(place / f"{index}.png")
    Image.open(place / "0.png").save(place / "deep" / "0.png")
    (place / "broken.png").write_bytes(b"no image")
    return place


def counted(folder: Path, target: Path, side: int = 32) -> tuple[dict, list, list]:
    told: list = []
    skipped: list = []
    done = cut(
        in_folders([folder]),
        target,
        side,
        report=lambda *at: told.append(at),
        skip=lambda *why: skipped.append(why),
    )
    return dict(done), told, skipped


def test_crops_cover_a_photograph_pixel_by_pixel(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    done, told, skipped = counted(folder, target)
    assert done == {"there already": 0, "cut": 3, "crops": 3 * 4 + 2 + 3, "skipped": 1}
    assert [name for name, _ in skipped] == [str(folder / "broken.png")]
    assert told[-1] == (4, 4)
    covered = {}
    for place in (p for p in target.iterdir() if p.is_dir()):
        canvas = np.full((128, 128, 3), 255, np.uint8)
        for file in place.iterdir():
            top, left = map(int, file.stem.split("-"))
            crop = np.array(Image.open(file))
            assert max(crop.shape[:2]) == 32
            canvas[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        covered[canvas.tobytes()] = place
    for name in ("0.png", "1.png", "2.png"):
        pixels = np.array(Image.open(folder / name).convert("RGB"))
        canvas = np.full((128, 128, 3), 255, np.uint8)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        assert canvas.tobytes() in covered


def test_it_goes_on_where_it_was_killed_and_cuts_nothing_twice(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "crops"
    counted(folder, target)
    files = {p: p.stat().st_mtime_ns for p in target.rglob("*.png")}
    gone = next(p for p in target.iterdir() if p.is_dir())
    gone.rename(gone.with_suffix(".part"))
    done, _, _ = counted(folder, target)
    assert (done["there already"], done["cut"]) == (2, 1)
    again = {p: p.stat().st_mtime_ns for p in target.rglob("*.png")}
    assert again.keys() == files.keys()
    assert all(again[p] == files[p] for p in files if p.parent != gone)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_two_runs_at_once_leave_each_other_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, save = tmp_path / "crops", Image.Image.save
    seen: list[Path] = []

    def meanwhile(image: Image.Image, file: Path, **options: object) -> None:
        save(image, file, **options)
        if not seen:
            monkeypatch.setattr(psutil.Process, "pid", 1)  # another process, which lives
            seen.append(file.parent)
            assert counted(folder, target)[0]["cut"] == 3
            monkeypatch.undo()

    monkeypatch.setattr(Image.Image, "save", meanwhile)
    done, _, _ = counted(folder, target)
    assert (done["cut"], done["crops"]) == (3, 17)
    assert sorted(p.suffix for p in target.iterdir()) == ["", "", "", ".json"]
    dead = seen[0].with_name(seen[0].name.replace(f"-{os.getpid()}", "-999999999"))
    elsewhere = seen[0].with_name("0.0-999999999.part")
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])  # as long as nobody asks, a zombie
    unasked = seen[0].with_name(seen[0].name.replace(f"-{os.getpid()}", f"-{ended.pid}"))
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    parts = (seen[0], dead, unasked, elsewhere)
    for part in parts:
        part.mkdir()
    counted(folder, target)
    ended.wait()
    assert [part.exists() for part in parts] == [True, False, False, True]


def test_files_of_others_stay(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="an empty folder or one of crops, found other"):
        counted(folder, folder)
    counted(folder, tmp_path / "crops")
    with pytest.raises(TrainingError, match=r"expected \{'side': 64, .*found \{'side': 32, "):
        counted(folder, tmp_path / "crops", side=64)
    (tmp_path / "crops" / "crops.json").write_text('{"side": 32}')
    with pytest.raises(TrainingError, match="delete this one to make it anew"):
        counted(folder, tmp_path / "crops")


def test_a_photograph_that_may_not_be_read_costs_itself_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = FilePhotograph.mark

    def refused(photograph: FilePhotograph) -> str:
        if photograph.path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return mark(photograph)

    monkeypatch.setattr(FilePhotograph, "mark", refused)
    done, _, skipped = counted(folder, tmp_path / "crops")
    assert (done["cut"], done["skipped"]) == (2, 2)
    assert (str(folder / "1.png"), "cannot be read: Permission denied") in skipped


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError("encoder error -2")]
)
def test_a_full_disk_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "save", full)
    reason = error.strerror or str(error)
    with pytest.raises(TrainingError, match=rf"crops: cannot be written: .*{reason}"):
        counted(folder, tmp_path / "crops")


def test_command(folder: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("cut", folder, "--out", tmp_path / "crops", "--side", 32, "--workers", 1)
    assert done.returncode == 1
    assert done.stdout == f"{tmp_path / 'crops'}: 3 cut, 17 crops, 1 skipped\n"
    assert "skipped" in done.stderr and "cut 4/4" in done.stderr
    nameless = cli("cut", "hf:", "--out", tmp_path / "none")
    assert nameless.returncode == 2
    assert nameless.stderr == "error: hf:: expected hf:NAME of a dataset, found no name\n"
    refused = cli("cut", folder, "--out", folder)
    assert refused.returncode == 2
    assert "found other files" in refused.stderr
