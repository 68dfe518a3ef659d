"""The store: what is damaged is found and made again, old ones are taken over, nothing is left."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from conftest import ROOT, Cli
from pictures import photo, put
from store_example import flipped, keep_stamp

from bench.base import leftovers
from bench.base.errors import CannotWrite, SetAside, StoreError
from bench.base.hashing import is_same_file
from bench.base.records import copy_atomic, part_of, write_atomic
from bench.commands.store import prune as prune_command
from bench.data.manifest import describe, file_entry, read_manifest, write_manifest
from bench.files import images
from bench.files.record_log import Line, RecordLog
from bench.store import upkeep
from bench.store.scores import DAMAGED, DIGEST, write_features
from bench.store.store import Store, to_layout_2
from bench.store.upkeep import check

pytest_plugins = ["store_example"]

RUN = (
    *("run", "quick", "--datasets", "quick-bicubic", "--metrics", "psnr_y,gmsd", "--limit", 2),
    *("--reports", "csv,markdown", "--workers", 1),
)


NEAREST = (*RUN, "--methods", "nearest")


DAY_AND_MORE = 25 * 3600


def files_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def older(folder: Path, seconds: float) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - seconds, time.time() - seconds))


@dataclass(frozen=True)
class Finished:
    """A small finished run; `store` is not to be changed."""

    cli: Cli
    store: Path
    out: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("store")
    cli = Cli(folder / "home", folder / "cwd")
    done = cli(*NEAREST, "--store", folder / "kept", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    return Finished(cli, folder / "kept", folder / "out")


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished run's store, moved to another place with its times."""
    return Path(shutil.copytree(finished.store, tmp_path / "moved"))


def test_check_names_each_damage_and_mending_costs_nothing_whole(tmp_path: Path) -> None:
    kept, scores = Store(tmp_path).images("m", {}, "d"), Store(tmp_path).scores("psnr_y", {})
    for shade, name in enumerate(("altered", "gone", "whole")):
        images.write_png(kept.file_for(name, name), np.full((2, 2, 3), shade, np.uint8))
        kept.record(name, name, {})
        scores.put((name, None), 30.5)
    altered, gone, whole = (kept.get(name, name).path for name in ("altered", "gone", "whole"))  # type: ignore[union-attr]
    assert check(tmp_path) == []
    keep_stamp(altered, flipped(altered.read_bytes()))
    gone.unlink()
    (log,) = tmp_path.glob("scores/*/*.jsonl")
    first, second, third = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + flipped(second) + third)
    found = {problem.path: problem for problem in check(tmp_path)}
    told = {path: problem.what.partition(" (")[0] for path, problem in found.items()}
    assert told == {
        altered: "is not the file that was recorded",
        gone: "is recorded, but not there",
        log: "line 2 is not as it was written",
    }
    for problem in found.values():
        problem.mend()
    assert check(tmp_path) == []
    again = Store(tmp_path).images("m", {}, "d")
    assert [bool(again.get(name, name)) for name in ("altered", "gone", "whole")] == [
        False,
        False,
        True,
    ]
    assert not altered.exists() and whole.is_file()
    left = Store(tmp_path).scores("psnr_y", {})
    assert [left.get((name, None)) for name in ("altered", "gone", "whole")] == [30.5, None, 30.5]


@pytest.mark.parametrize("ours", [True, False])
def test_of_peoples_files_only_a_change_in_secret_is_damage(tmp_path: Path, ours: bool) -> None:
    folder = tmp_path / "datasets" / f"d-{1:012}"
    image = (folder if ours else tmp_path / "photos") / "0.png"
    images.write_png(image, photo(8, 8))
    entry = {"id": "0", "lr": file_entry(image, photo(8, 8)), "hr": None}
    write_manifest(folder / "manifest.json", describe("d", 4, [entry], [], {}))
    assert check(tmp_path) == []
    stamp, content = image.stat(), image.read_bytes()
    keep_stamp(image, flipped(content))
    assert [problem.path for problem in check(tmp_path)] == [image]
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    assert [problem.path for problem in check(tmp_path)] == [image] * ours
    image.unlink()
    (problem,) = [*check(tmp_path), None][:1]
    assert bool(problem) == ours
    if problem:
        assert "is not there" in problem.what
        problem.mend()
        assert check(tmp_path) == [] and (folder / "manifest.json.damaged").is_file()
    (folder / "manifest.json").unlink(missing_ok=True)
    (folder / "manifest.json").mkdir()
    assert [problem.what for problem in check(tmp_path)] == [
        "is not as it was written (is a folder or device)"
    ]


def test_an_image_made_again_with_other_bytes_is_found_whatever_was_recorded_before(
    tmp_path: Path,
) -> None:
    """As methods on a GPU may do; the newer record need not come last."""
    for shade in range(4):
        store = Store(tmp_path).images("m", {}, "d")
        put(store, shade=shade)
        found = Store(tmp_path).images("m", {}, "d").get("k", "x")
        assert found is not None and images.file_sha256(found.path) == found.sha256


def test_check_finds_all_that_was_altered_and_repair_has_it_made_again(
    finished: Finished, store: Path, tmp_path: Path
) -> None:
    assert finished.cli("store", "check", "--store", store).returncode == 0
    (scores,) = store.glob("scores/psnr_y-*/*.jsonl")
    sr = min(store.glob("images/*/*/*.png"))
    hr = min(store.glob("datasets/*/hr/*.png"))
    for path in (sr, hr):
        keep_stamp(path, flipped(path.read_bytes()))
    scores.write_bytes(flipped(scores.read_bytes()))
    found = finished.cli("store", "check", "--store", store)
    assert found.returncode == 1 and "3 damaged: mend it with --repair" in found.stdout
    for path in (sr, hr, scores):
        assert str(path) in found.stderr
    assert finished.cli("store", "check", "--repair", "--store", store).returncode == 0
    assert check(store) == []
    again = finished.cli(*NEAREST, "--store", store, "--out", tmp_path / "out")
    assert "Nearest on" in again.stderr and again.returncode == 0
    assert files_of(tmp_path / "out") == files_of(finished.out)
    assert check(store) == []


def test_an_altered_image_gets_no_new_score(
    finished: Finished, store: Path, tmp_path: Path
) -> None:
    sr = min(store.glob("images/*/*/*.png"))
    keep_stamp(sr, flipped(sr.read_bytes()))
    for path in store.glob("scores/*/*.jsonl"):
        path.unlink()
    done = finished.cli(*NEAREST, "--store", store, "--out", tmp_path / "out")
    assert "is not the file that was recorded" in (tmp_path / "out" / "scores.csv").read_text()
    assert "store check --repair" in " ".join(done.stdout.split())


# -- an older layout -----------------------------------------------------------------------------


def to_layout_1(root: Path) -> None:
    """As version 1 wrote it: no checksums, absolute paths in manifests, no notes of use."""
    for path in [*root.glob("images/*/*/records/*.jsonl"), *root.glob("scores/*/*.jsonl")]:
        lines = [b"{" + line[29:] for line in path.read_bytes().splitlines()]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        assert all("check" not in json.loads(line) for line in lines)
    for path in root.glob("features/*/*.npy"):
        path.write_bytes(path.read_bytes()[:-DIGEST])
    for path in root.glob("datasets/*/manifest.json"):
        found = json.loads(path.read_text())
        del found["check"]
        for pair in found["pairs"]:
            for side in ("lr", "hr"):
                pair[side]["path"] = str(path.parent.resolve() / pair[side]["path"])
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(root / "uses")
    (root / "store.json").write_text('{"layout": 1}\n')


def test_an_old_store_is_taken_over_and_nothing_is_computed_again(
    finished: Finished, store: Path, tmp_path: Path
) -> None:
    write_features(Store(store).features({}).place("a"), np.arange(6.0))
    expected = files_of(store)
    to_layout_1(store)
    old = files_of(store)
    assert sum(old[name] != content for name, content in expected.items() if name in old) >= 5
    done = finished.cli(*NEAREST, "--store", store, "--out", tmp_path / "out")
    assert done.returncode == 0 and done.stderr == ""
    assert files_of(tmp_path / "out") == files_of(finished.out)
    now = {name: data for name, data in files_of(store).items() if not name.startswith("uses")}
    assert now == {name: data for name, data in expected.items() if not name.startswith("uses")}
    assert check(store) == []


def killing(files: int) -> Callable[..., None]:
    """`os.replace` that is interrupted after so many files."""
    replace, left = os.replace, files

    def replaced(*paths: Any) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        replace(*paths)

    return replaced


def test_taking_over_may_be_killed_at_any_file(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_layout_1(store)
    calm = Path(shutil.copytree(store, tmp_path / "calm"))
    Store(calm)
    kills = 0
    while kills < 100:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killing(kills))
            try:
                Store(store)
            except KeyboardInterrupt:
                kills += 1
                continue
        break
    assert 2 <= kills < 100
    assert json.loads((store / "store.json").read_text()) == {"layout": 2}
    assert read_manifest(next(store.glob("datasets/*/manifest.json"))) is not None
    now, expected = files_of(store), files_of(calm)
    assert {n: d for n, d in now.items() if "uses" not in n and "manifest" not in n} == {
        n: d for n, d in expected.items() if "uses" not in n and "manifest" not in n
    }
    assert all(part.used for part in upkeep.parts(store)), "nobody knows who needs it: all is kept"
    before = files_of(store)
    to_layout_2(store)
    assert files_of(store) == before, "done twice it changes nothing"


# -- what is left behind -------------------------------------------------------------------------


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_stays(
    tmp_path: Path,
) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    of_dead = re.sub(r"-\d+-", f"-{int(dead.stdout)}-", leftovers.temporary(tmp_path, "part").name)
    mine = leftovers.temporary(tmp_path, "part").name
    foreign = f".part-00000000-{int(dead.stdout)}-00000000"
    names = [of_dead, mine, foreign, ".part", ".parted-x", ".part-notes.txt", "part-of-mine.png"]
    for name in names:
        (tmp_path / name).touch()
    write_atomic(tmp_path / "a", "x")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names, "a"} - {of_dead}
    older(tmp_path, DAY_AND_MORE)
    leftovers.sweep.cache_clear()
    write_atomic(tmp_path / "b", "x")
    assert {path.name for path in tmp_path.iterdir()} == left - {foreign} | {"b"}


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="processes do not wait to be asked for")
def test_a_killed_process_that_nobody_asks_for_is_dead() -> None:
    """So it stays in a container whose first process is a program."""
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = re.sub(r"-\d+-", f"-{killed.pid}-", leftovers.temporary(Path("/"), "part").name)
    assert not leftovers.is_abandoned(Path(name))
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    assert leftovers.is_abandoned(Path(name))
    killed.wait()


def test_scratch_of_dead_processes_is_removed_and_that_of_other_machines_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    mine = Path(leftovers.scratch().name)
    of_dead = tmp_path / re.sub(r"-\d+-", f"-{int(dead.stdout)}-", mine.name)
    foreign = tmp_path / f".cassr-bench-00000000-{int(dead.stdout)}-abc_defg"
    others = tmp_path / ".part-download"  # of another program, by a name that is ours elsewhere
    for folder in (of_dead / "store", foreign / "store", others):
        folder.mkdir(parents=True)
    older(tmp_path, DAY_AND_MORE)
    leftovers.sweep.cache_clear()
    with leftovers.scratch() as folder:
        assert Path(folder).parent == tmp_path and not of_dead.exists()
        assert foreign.exists() and others.exists()
    assert not Path(folder).exists()


def test_prune_frees_what_no_last_use_names_and_says_so_before(
    finished: Finished, store: Path, tmp_path: Path
) -> None:
    def sizes(*words: object) -> dict[str, str]:
        done = finished.cli("store", *words, "--store", store, "--json")
        assert done.returncode == 0, done.stderr
        return {Path(row["path"]).name: row["why"] for row in json.loads(done.stdout)}

    old, other = Store(store).images("nearest", {"version": 0}, "quick-bicubic"), Store(store)
    put(old)
    put(other.images("mine", {}, "d"))
    other.note_use({"suite": "mine"}, ())
    (store / "images" / ".part-abcdefgh").touch()
    assert sizes("prune", "--dry-run") == {}, "made today"
    older(store, DAY_AND_MORE)
    (kept,) = (p.name for p in upkeep.parts(store) if p.used and "images/nearest" in p.name)
    images.write_png(store / kept / "nobodys.png", photo(8, 8))
    older(store / kept, DAY_AND_MORE)
    expected = {
        "quick-bicubic": "no recorded use refers to it",
        ".part-abcdefgh": "left behind",
        "nobodys.png": "no record names it",
    }
    before = files_of(store)
    assert sizes("prune", "--dry-run") == expected and files_of(store) == before
    assert sizes("prune") == expected
    assert all(part.used for part in upkeep.parts(store)) and not old.folder.exists()
    assert finished.cli(*NEAREST, "--store", store, "--out", tmp_path / "out").stderr == ""
    older(store / "uses", DAY_AND_MORE * 30)
    older(store / "images", DAY_AND_MORE)
    assert set(sizes("prune", "--older-than", "2w", "--dry-run")) >= {"quick-bicubic", "d"}


def test_what_is_somebody_elses_in_the_folder_of_a_store_stays(tmp_path: Path) -> None:
    """As in a project's folder that --store names."""
    (ours := Store(tmp_path).images("mine", {}, "d")).close()
    put(ours)
    damaged = ours.folder / "a.npy.damaged"
    names = ("datasets/DIV2K/manifest.json", "datasets/DIV2K/a.damaged", "images/cats/a/b.png",
             "scores/mine/a.jsonl", "features/mine/a.npy", "set-aside/a", "b.damaged",
             "mine/.part-download", "datasets/holiday-1234567890123/manifest.json",
             "datasets/photos-20240101abcd/lr/a.png", "datasets/photos-20240101abcd/b.damaged",
             "datasets/folder-0123456789abcdef/mine.txt")  # fmt: skip
    for path in (damaged, *(tmp_path / name for name in names)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}\n")
    older(tmp_path, DAY_AND_MORE)
    before = files_of(tmp_path)
    assert check(tmp_path) == []
    assert [part.name for part in upkeep.parts(tmp_path)] == [
        ours.folder.relative_to(tmp_path).as_posix()
    ]
    assert set(upkeep.spare(tmp_path)) == {ours.folder}
    upkeep.prune(tmp_path, ours.folder)
    gone = {name for name in before if name.startswith("images/mine")}
    assert files_of(tmp_path).keys() == before.keys() - gone and len(gone) == 3


def test_what_a_link_in_a_store_leads_to_is_left_alone_but_a_kind_may_lie_elsewhere(
    tmp_path: Path,
) -> None:
    store, mine, disk = tmp_path / "store", tmp_path / "mine", tmp_path / "disk"
    put(Store(store).images("ours", {}, "d"))
    (store / "images").rename(disk)
    (store / "images").symlink_to(disk)
    for name in ("x.png", "x.npy", "manifest.json", "x.jsonl", "records/x.jsonl", "a.damaged"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(b"mine\n")
    (method,) = disk.iterdir()
    for at in ("scores/m-0123456789ab", "features/0123456789ab", "datasets/m-0123456789ab"):
        (store / at).parent.mkdir(exist_ok=True)
        (store / at).symlink_to(mine)
    (method / "linked").symlink_to(mine)
    (disk / "whole-0123456789ab").symlink_to(tmp_path)
    older(tmp_path, DAY_AND_MORE)
    before = files_of(mine)
    for problem in check(store):
        problem.mend()
    spare = list(upkeep.spare(store))
    assert spare == [store / "images" / method.name / "d"]
    assert [upkeep.prune(store, path) for path in spare] == [""]
    assert files_of(mine) == before and len(before) == 6


def test_what_cannot_be_removed_is_not_told_as_freed_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(Store(tmp_path).images("mine", {}, "d"))
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as in a read-only folder
    told = upkeep.prune(tmp_path, tmp_path / "images")
    assert "images: cannot be removed, or not all of it" in told
    write_features((path := Store(tmp_path).features({"of": "a"}).place("a")), np.arange(6.0))
    path.rename(damaged := path.with_name(path.name + DAMAGED))
    write_features(path, np.arange(6.0))
    older(tmp_path / "images", DAY_AND_MORE)
    with pytest.raises(typer.Exit, match="1"):
        prune_command(older_than="", store=tmp_path, dry_run=False, as_json=True)
    out, err = capsys.readouterr()
    assert [row["path"] for row in json.loads(out)] == [str(damaged)] and not damaged.exists()
    assert err.startswith("left: ") and "cannot be removed" in err and err.count("\n") == 1


def test_what_cannot_be_read_is_not_told_as_sound_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(Store(tmp_path).images("mine", {}, "d"))
    listed = os.scandir

    def refusing(path: str | Path) -> object:
        if "images" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for look in (check, upkeep.parts, upkeep.spare):
        with pytest.raises(PermissionError, match="images"):
            look(tmp_path)


def test_what_is_used_or_made_today_stays_and_all_else_is_spare(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_features((features := store.features({"of": "a"})).place("a"), np.arange(6.0))
    store.scores("psnr_y", {}).put(("\udcff", None), 30.5)
    used = Store(tmp_path)
    put(images_ := used.images("used", {}, "d"))
    used.note_use({"suite": "mine"}, ["0" * 64])
    images.write_png(images_.folder / "nobodys.png", photo(8, 8))
    (images_.folder / "a.png.damaged").touch()
    (images_.folder / "away.png").symlink_to("nowhere")
    assert set(upkeep.spare(tmp_path)) == {images_.folder / "a.png.damaged"}, "made today"
    assert all(part.bytes for part in upkeep.parts(tmp_path))
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time() - DAY_AND_MORE,) * 2, follow_symlinks=False)
    (scores,) = tmp_path.glob("scores/*")
    found = upkeep.spare(tmp_path)
    assert {path.name: why for path, why in found.items()} == {
        features.folder.name: "no recorded use refers to it",
        scores.name: "no recorded use refers to it",
        "nobodys.png": "no record names it",
        "away.png": "no record names it",
        "a.png.damaged": "set aside as damaged",
    }
    assert upkeep.spare(tmp_path, 2 * DAY_AND_MORE) == found
    assert upkeep.spare(tmp_path, 60.0)[images_.folder] == "not used within that time"
    assert Store(tmp_path).scores("psnr_y", {}).get(("\udcff", None)) == 30.5
    assert Store(tmp_path).fingerprints("psnr_y") == []
    store.scores("gmsd", {"metric": "gmsd"}).put(("a", None), 0.5)
    assert Store(tmp_path).fingerprints("gmsd") == [{"metric": "gmsd"}]


def test_info_says_what_lies_where_and_who_used_it(finished: Finished) -> None:
    done = finished.cli("store", "info", "--store", finished.store)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in (r"images/nearest-\w+/quick-bicubic", r"scores/gmsd-\w+", r"datasets/quick-bic\S+"):
        assert any(
            re.match(rf"{name}: (1 file|\d\d+ files|[2-9] files), \d+ [kM]?B, used .* by quick$", x)
            for x in lines
        )
    assert str(finished.store) in lines[-1]
    wrong = finished.cli("store", "prune", "--older-than", "soon", "--store", finished.store)
    assert wrong.returncode == 2 and "expected an age such as 90d, found 'soon'" in wrong.stderr


# -- disks ---------------------------------------------------------------------------------------


def test_a_name_that_is_too_long_is_the_one_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"/x{300}: cannot be written \(file name too long\)"):
        write_atomic(tmp_path / ("x" * 300), "a")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_file_and_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    resource = pytest.importorskip("resource")  # Windows has none
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            CannotWrite, match=r"a\.png: cannot be written \(.*\).*make room and run"
        ):
            images.write_png(tmp_path / "a.png", noise)
        with pytest.raises(CannotWrite, match=r"copy: cannot be written \(.*make room and run"):
            copy_atomic(Path(__file__), tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), part_of(tmp_path / "b"):
        (tmp_path / "is not there").read_bytes()  # no error of writing


def test_a_disk_that_is_full_stops_a_run_with_one_line(
    finished: Finished, store: Path, tmp_path: Path
) -> None:
    arguments = [*map(str, (*RUN, "--methods", "bicubic", "--store", store, "--out", tmp_path))]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$0" -m bench "$@"', sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert done.returncode == 2 and len(errors) == 1, done.stderr
    assert "bicubic-" in errors[0] and ".png: " in errors[0] and "make room" in errors[0]
    assert "Traceback" not in done.stderr and "failed:" not in done.stderr


# -- many at once --------------------------------------------------------------------------------


def at_once(processes: int, cli: Cli, store: Path, out: Path) -> None:
    """Processes that all run everything on one store into one folder, and must all succeed."""
    words = (*RUN, "--methods", "nearest,bicubic", "--store", store, "--out", out)
    for process in [cli.start(*words) for _ in range(processes)]:
        done = process.done(timeout=900)
        assert done.returncode == 0 and "warning" not in done.stderr, done.stderr


@pytest.mark.parametrize("processes", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_many_processes_take_over_one_store_and_write_one_report(
    finished: Finished, store: Path, tmp_path: Path, processes: int
) -> None:
    """The store is of the older layout, so that all meet while it changes."""
    to_layout_1(store)
    at_once(processes, finished.cli, store, tmp_path / "out")
    alone = finished.cli(
        *RUN, "--methods", "nearest,bicubic", "--store", tmp_path / "alone", "--out", tmp_path / "b"
    )
    assert alone.returncode == 0, alone.stderr
    assert files_of(tmp_path / "out") == files_of(tmp_path / "b")
    assert check(store) == [] and not list(tmp_path.rglob(".part-*"))


def test_a_store_that_cannot_be_made_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / ("x" * 300), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"--store .*: cannot be made \(.*\); choose another"):
            Store(root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[" * 100_000, b'{"layout": 3}'])
def test_a_folder_whose_marker_is_no_stores_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    marker = tmp_path / "store.json"
    os.mkfifo(marker) if content is None else marker.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.json: is not the marker of a store of layout 2"):
        Store(tmp_path)


def test_a_pipe_in_place_of_what_is_stored_is_damage_and_nobody_waits_for_it(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    features = store.features({})
    write_features(features.place("a"), np.arange(6.0))
    manifest = tmp_path / "datasets" / f"x-{'0' * 12}" / "manifest.json"
    (use := tmp_path / "uses" / "a.json").parent.mkdir()
    manifest.parent.mkdir(parents=True)
    features.place("a").unlink()
    for path in (features.place("a"), manifest, use):
        os.mkfifo(path)
    assert not features.has("a") and not is_same_file(use, 1, 1, "")
    assert {problem.path for problem in check(tmp_path)} == {features.place("a"), manifest}
    with pytest.warns(SetAside, match="is a folder or device"):
        assert len(upkeep.parts(tmp_path)) == 2


def test_a_pipe_among_records_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(StoreError, match=r"a\.jsonl: expected a file of records, found a folder"):
        list(RecordLog(tmp_path, Line))
