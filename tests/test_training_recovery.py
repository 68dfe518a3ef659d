"""What a training run leaves on disk when it is killed, shared with others or told to go on."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pictures import photo
from PIL import Image

from bench.base.errors import CardError, DataError
from bench.commands.train.validation import Validation
from cassr.base.errors import TrainingError
from cassr.photographs import sets as training_sets
from cassr.photographs.sets import ListedFile, TrainingSet, fetch_packages
from cassr.training import checkpoints
from cassr.training.checkpoints import Checkpoint, found, load, save
from cassr.training.log import TrainingLog
from cassr.training.stages import get_stage

KEEP = 2
NOTES: dict[str, Any] = {"identity": {}, "seconds": 1.0, "skipped": {}}
ACTIVATION = get_stage("activation")
TOUCHING = ("mkdir", "unlink", "rmdir", "replace", "fsync")
"""Functions of `os` that a save changes its folder by."""


class Killed(BaseException):
    """In place of SIGKILL: nothing handles it."""


@contextmanager
def killed_at(call: int) -> Iterator[None]:
    """Ends the process, as it were, before the call of that number to the file system."""
    calls = 0

    def counted(function: Callable) -> Callable:
        def wrapped(*args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= call:
                raise Killed
            return function(*args, **named)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in TOUCHING:
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(checkpoints, "save_file", counted(checkpoints.save_file))
        patch.setattr(torch, "save", counted(torch.save))
        yield


def checkpoint(step: int) -> Checkpoint:
    tensor = torch.full((2,), float(step))
    return Checkpoint(step, {"w": tensor}, {"w": tensor}, {"step": step}, dict(NOTES))


def written(folder: Path, *steps: int) -> None:
    for step in steps:
        save(folder, checkpoint(step), KEEP)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_whole(path: Path) -> None:
    made = load(path)
    assert path.name == f"step-{made.step:08d}"
    for tensors in (made.weights, made.averages):
        assert tensors["w"].tolist() == [made.step] * 2
    assert made.optimizer == {"step": made.step}


class TestKilledSaves:
    @pytest.mark.parametrize("step", [2, 3], ids=["a step that is there", "a new step"])
    def test_a_save_killed_anywhere_leaves_a_whole_newest_checkpoint(
        self, tmp_path: Path, step: int
    ) -> None:
        for call in range(1, 100):
            folder = tmp_path / str(call)
            written(folder, 1, 2)
            try:
                with killed_at(call):
                    save(folder, checkpoint(step), KEEP)
                break
            except Killed:
                assert found(folder)[-1].name in ("step-00000002", f"step-{step:08d}")
                for path in found(folder):
                    assert_whole(path)
            written(folder, step)
            assert names(folder) == [f"step-{n:08d}" for n in (step - 1, step)]
            assert_whole(found(folder)[-1])
        assert call == 1 if step == 2 else call > 10

    def test_killed_twice_in_the_same_place(self, tmp_path: Path) -> None:
        for call in range(1, 15):
            folder = tmp_path / str(call)
            written(folder, 1, 2)
            for again in (call, 1 + call // 2):
                with suppress(Killed), killed_at(again):
                    save(folder, checkpoint(3), KEEP)
                assert_whole(found(folder)[-1])
            written(folder, 3)
            assert names(folder) == ["step-00000002", "step-00000003"]

    def test_parts_of_other_steps_are_removed(self, tmp_path: Path) -> None:
        for name in (".step-00000007.part", ".step-00000001.removed"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "state.json").write_text("{}")
        written(tmp_path, 2)
        assert names(tmp_path) == ["step-00000002"]

    @pytest.mark.parametrize("gone", ["state.json", "weights.safetensors", "optimizer.pt"])
    def test_a_checkpoint_that_lacks_a_file_is_named_and_is_written_anew(
        self, tmp_path: Path, gone: str
    ) -> None:
        written(tmp_path, 1, 2)
        (tmp_path / "step-00000002" / gone).unlink()
        if gone == "state.json":
            assert [path.name for path in found(tmp_path)] == ["step-00000001"]
        else:
            with pytest.raises(TrainingError, match=r"step-00000002: cannot be read.*delete it"):
                load(found(tmp_path)[-1])
        written(tmp_path, 2)
        assert names(tmp_path) == ["step-00000001", "step-00000002"]
        assert_whole(found(tmp_path)[-1])

    @pytest.mark.parametrize("gone", ["identity", "seconds", "skipped"])
    def test_a_state_that_lacks_a_note_is_named(self, tmp_path: Path, gone: str) -> None:
        written(tmp_path, 2)
        notes = {name: value for name, value in NOTES.items() if name != gone}
        state = tmp_path / "step-00000002" / "state.json"
        state.write_text(json.dumps({"step": 2, **notes}))
        with pytest.raises(TrainingError, match=rf"step-00000002: .*state.json lacks {gone}\)"):
            load(found(tmp_path)[-1])


class TestFetchingTogether:
    def test_two_fetches_at_once_both_succeed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        content = b"a photograph"
        listed = ListedFile(
            name="a.jpg", package="photos", path="usr/a.jpg", licence="CC0-1.0", author="",
            sha256=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        card = TrainingSet(
            name="small", title="", source="", layout="", pattern="*.*", images=1, least_side=0,
            licence="", packages=("photos",), files=(listed,),
        )  # fmt: skip
        both_wrote = Barrier(2)
        seen: list[int] = []
        replace = os.replace

        def packages(*command: str, cwd: str) -> None:
            if command[0] == "apt-get":
                (Path(cwd) / "photos.deb").touch()
                return
            (Path(cwd) / "content" / "usr").mkdir(parents=True)
            (Path(cwd) / "content" / "usr" / "a.jpg").write_bytes(content)

        def together(source: Path, target: Path) -> None:
            both_wrote.wait(timeout=10)
            seen.append(len(training_sets._files(card)))
            both_wrote.wait(timeout=10)
            replace(source, target)

        monkeypatch.setenv("CASSR_TRAINING_DATA", str(tmp_path))
        monkeypatch.setattr(shutil, "which", lambda name: name)
        monkeypatch.setattr(training_sets, "_run", packages)
        monkeypatch.setattr(os, "replace", together)
        with ThreadPoolExecutor(2) as pool:
            fetches = [pool.submit(fetch_packages, card) for _ in range(2)]
            assert [fetch.result() for fetch in fetches] == [tmp_path / "small"] * 2
        assert seen == [0, 0], "what is not whole yet is no photograph"
        assert training_sets.problem(card) == ""
        assert names(tmp_path / "small") == ["a.jpg"]


class Upscaler:
    def activate(self, lr: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.nn.functional.interpolate(lr, scale_factor=4)


@pytest.fixture
def suite(clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Writes a suite of test sets in folders: "pairs" or LR images alone, "lr"."""
    monkeypatch.setattr("bench.commands.train.validation.METRICS", ("psnr_y",))
    monkeypatch.chdir(tmp_path)
    sides = {"pairs/lr": 24, "pairs/hr": 96, "lr": 24}
    for folder, side in sides.items():
        Path(folder).mkdir(parents=True)
        Image.fromarray(photo(96, 96)).resize((side, side)).save(Path(folder) / "a.png")

    def write(*folders: str) -> str:
        sets = [f"folder:{folder}" for folder in folders]
        Path("own.toml").write_text(
            'name = "own"\ntitle = "Own"\nsummary = "Own."\nmethods = ["bicubic"]\n'
            f'datasets = {sets}\nmetrics = ["psnr_y"]\n',
            encoding="utf-8",
        )
        return "own.toml"

    return write


class TestValidation:
    def test_a_set_without_hr_is_named_and_passed_over(
        self, suite: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        validation = Validation(suite("lr", "pairs"), 4, ACTIVATION)
        assert capsys.readouterr().err == (
            "validation: skipped folder:lr: expected pairs of LR and HR images, found none\n"
        )
        scores = validation(Upscaler(), 1, tmp_path / "panels")
        assert list(scores) == ["folder:pairs/psnr_y"]

    def test_panels_are_in_their_folder_wherever_the_set_is(
        self, suite: Callable, tmp_path: Path
    ) -> None:
        panels = tmp_path / "panels"
        validation = Validation(suite(str(tmp_path / "pairs")), 4, ACTIVATION)
        assert validation(Upscaler(), 1, panels)
        assert [path.suffix for path in panels.iterdir()] == [".png"]

    def test_an_output_that_is_no_image_is_named_and_passed_over(
        self, suite: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        class Broken(Upscaler):
            def activate(self, lr: torch.Tensor, **options: Any) -> torch.Tensor:
                return super().activate(lr, **options) / 0

        assert Validation(suite("pairs"), 4, ACTIVATION)(Broken(), 1, tmp_path) == {}
        told = capsys.readouterr().err
        assert "validation: skipped folder:pairs: " in told and "not finite" in told

    def test_a_suite_without_pairs_is_refused_before_training(self, suite: Callable) -> None:
        with pytest.raises(DataError, match=r"own.toml: no test set.*folder:lr: expected pairs"):
            Validation(suite("lr"), 4, ACTIVATION)
        with pytest.raises(CardError, match="'datasets'"):
            Validation(suite(), 4, ACTIVATION)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands until `now` is changed."""
    made = SimpleNamespace(now=100.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr("cassr.training.log.time", made)
    return made


def new_log(folder: Path) -> TrainingLog:
    return TrainingLog(folder / "log.csv", 0, 100, quiet=True, write=True)


ONE: Any = SimpleNamespace(reduce=lambda value, how: value)
"""An accelerator with a single process."""


class TestLog:
    @pytest.mark.parametrize("validate_after", [{1}, {2}, {3}, {4}, {1, 2, 4}])
    def test_speed_is_that_of_the_steps_whenever_is_validated(
        self, tmp_path: Path, clock: SimpleNamespace, validate_after: set[int]
    ) -> None:
        log = new_log(tmp_path)
        speeds = []
        for step in range(1, 7):
            clock.now += 2
            log.add({"loss": torch.tensor(1.0)}, 0.1, samples=8)
            if step % 3 == 0:
                speeds.append(log.means(ONE)["samples_per_second"])
            if step in validate_after:
                clock.now += 50
                log.validated(step, {"psnr": 1.0})
        assert speeds == [4.0, 4.0]

    def test_waiting_for_samples_is_a_share_of_the_interval(
        self, tmp_path: Path, clock: SimpleNamespace
    ) -> None:
        log = new_log(tmp_path)
        for waited in (0.0, 1.0):
            clock.now += 2
            log.add({"loss": torch.tensor(1.0)}, 0.1, samples=8, waited=waited)
        assert log.means(ONE)["data_wait"] == 0.25
        clock.now += 2
        log.add({"loss": torch.tensor(1.0)}, 0.1, samples=8)
        assert log.means(ONE)["data_wait"] == 0

    def test_new_columns_are_added_to_the_lines_before(self, tmp_path: Path) -> None:
        log = new_log(tmp_path)
        log.validated(10, {"a/psnr": 1.0})
        log.validated(20, {"a/psnr": 2.0, "a/niqe": 3.0})
        log.validated(30, {"b, too/psnr": 4.0})
        log.validated(40, {"a/niqe": 5.0, "a/psnr": 6.0})
        with (tmp_path / "validation.csv").open(newline="") as file:
            assert list(csv.reader(file)) == [
                ["step", "a/psnr", "a/niqe", "b, too/psnr"],
                ["10", "1", "", ""],
                ["20", "2", "3", ""],
                ["30", "", "", "4"],
                ["40", "6", "5", ""],
            ]
        assert names(tmp_path) == ["validation.csv"]

    def test_rows_without_a_step_are_dropped(self, tmp_path: Path) -> None:
        rows = "step,psnr,step\n1,2\n\u00b2,2,\u00b2\n5,3,5\n"
        (tmp_path / "validation.csv").write_text(rows, encoding="utf-8")
        log = TrainingLog(tmp_path / "log.csv", 9, 100, quiet=True, write=True)
        log.validated(20, {"psnr": 1.0})
        text = (tmp_path / "validation.csv").read_text(encoding="utf-8").split()
        assert text == ["step,psnr", "5,3", "20,1"]

    def test_a_file_killed_while_columns_are_added_is_the_one_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = new_log(tmp_path)
        log.validated(10, {"psnr": 1.0})
        before = (tmp_path / "validation.csv").read_bytes()

        def killed(*args: Any) -> None:
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", killed)
            log.validated(20, {"niqe": 2.0})
        assert (tmp_path / "validation.csv").read_bytes() == before
        log.validated(20, {"niqe": 2.0})
        text = (tmp_path / "validation.csv").read_text().split()
        assert text == ["step,psnr,niqe", "10,1,", "20,,2"]
