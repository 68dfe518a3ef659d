"""Work on a device that need not wait for files, and what happens where its memory runs out."""

import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pictures import photo

from bench import metrics
from bench.base.errors import CannotWrite, Interrupted
from bench.base.progress import Progress
from bench.base.types import MetricSpec, Missing
from bench.files import images
from bench.files.image_folders import RECORDS
from bench.processes import foreign
from bench.processes.foreign import within_memory
from bench.processes.steps import AHEAD, Steps
from bench.processes.workers import Workers
from bench.running import fill, score_job
from bench.running.cell import UpscaleTask
from bench.running.fill import upscale_one
from bench.running.options import RunOptions
from bench.running.score_folders import score_folders
from bench.running.score_job import ImageJob, ScoreJob
from bench.running.upscale_files import upscale_files

PATIENCE = 60


def test_while_one_is_computed_the_next_is_read_and_the_one_before_written() -> None:
    count = 3 * AHEAD
    reads, writes = ([threading.Event() for _ in range(count)] for _ in range(2))
    computed: list[int] = []

    def read(n: int) -> int:
        assert n - len(computed) <= AHEAD + 1, "no more are read than may wait"
        reads[n].set()
        return 10 * n

    def compute(n: int, given: int) -> int:
        assert n + 1 == count or reads[n + 1].wait(PATIENCE)
        assert n == 0 or writes[n - 1].wait(PATIENCE)
        computed.append(n)
        return given + 1

    def write(n: int, made: int) -> int:
        writes[n].set()
        return 2 * made

    with Workers(1, overlap=True) as pool:
        found = list(pool.map(Steps(read, compute, write), range(count)))
    assert found == [(n, 20 * n + 2) for n in range(count)]
    assert computed == list(range(count))


@pytest.mark.parametrize(
    ("raised", "told"),
    [(KeyboardInterrupt(), Interrupted), (CannotWrite("full", Path()), CannotWrite)],
)
def test_what_is_computed_when_it_is_stopped_is_written_and_given(
    raised: BaseException, told: type[Exception]
) -> None:
    def compute(n: int, given: int) -> int:
        if n == 2:
            raise raised
        return given

    found = []
    with Workers(1, overlap=True) as pool, pytest.raises(told):
        for task, _ in pool.map(Steps(lambda n: n, compute), range(9)):
            found.append(task)
    assert found == [0, 1]


def test_a_full_disk_ends_it_in_either_way() -> None:
    def write(n: int, made: int) -> int:
        raise CannotWrite("no room", Path())

    for overlap in (False, True):
        with Workers(1, overlap=overlap) as pool, pytest.raises(CannotWrite):
            list(pool.map(Steps(lambda n: n, lambda n, given: given, write), range(3)))


def test_a_device_gets_images_read_ahead_and_gives_the_same_bytes_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        images.write_png(tmp_path / "in" / f"{i}.png", photo(96, 96, i))
    read_rgb, quiet = images.read_rgb, Progress(quiet=True)
    found: dict[str, tuple[list[Any], set[bool]]] = {}
    for device in ("cpu", "cpu:0"):  # the latter is one of its own, as a GPU is
        ahead: set[bool] = set()

        def read(path: Path, ahead: set[bool] = ahead) -> Any:
            ahead.add(threading.current_thread() is not threading.main_thread())
            return read_rgb(path)

        place = tmp_path / device
        out, options = place / "out", RunOptions(place / "store", device, workers=1)
        done = upscale_files("bicubic", {out: [tmp_path / "in"]}, options, quiet)
        assert (done.made, done.failures) == (6, ())
        with monkeypatch.context() as patched:
            patched.setattr(images, "read_rgb", read)
            [scores] = score_folders([out], None, ["piqe"], options, quiet)
        [log] = (out / RECORDS).rglob("*.jsonl")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        made = [(line["id"], line["sha256"]) for line in lines]
        assert [image for image, _ in made] == [*"012345"]
        found[device] = [made, scores.rows], ahead
    assert found["cpu"][0] == found["cpu:0"][0]
    assert (found["cpu"][1], found["cpu:0"][1]) == ({False}, {True})


def test_what_is_read_ahead_is_pinned_for_the_gpu_of_the_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.write_png(tmp_path / "in.png", photo(8, 8))
    pinned: list[str] = []
    current = ["cuda:0"]

    @contextmanager
    def device(name: str) -> Iterator[None]:
        current.append(name)
        yield
        current.pop()

    def pin_memory(lr: torch.Tensor) -> torch.Tensor:
        pinned.append(current[-1])
        return lr

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    out = tmp_path / "out.png"
    for name in ("cuda:3", "cpu"):
        upscale_one.read(UpscaleTask("m", name, "in", tmp_path / "in.png", 4, 0, "", out))
    assert pinned == ["cuda:3"] and current == ["cuda:0"]


# -- memory --------------------------------------------------------------------------------------


Upscaled = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture
def upscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upscaled:
    """How many of a small and a large image a method makes that runs `body` on the large one, and
    why not the others."""
    monkeypatch.chdir(tmp_path)
    for name, side in (("small", 8), ("large", 32)):
        images.write_png(tmp_path / "in" / f"{name}.png", photo(side, side))

    def run(body: str, device: str = "cpu") -> tuple[int, dict[str, str]]:
        (tmp_path / "mine.py").write_text(
            "import numpy, torch\n\ntries = []\n\n\ndef upscale(lr, *, scale, seeds):\n"
            f"    if lr.shape[2] > 16:\n        tries.append(1)\n        {body}\n    return lr\n"
        )
        options = RunOptions(tmp_path / "store", device, workers=1, scale=1)
        given = "mine.py", {tmp_path / "out": [tmp_path / "in"]}, options
        done = upscale_files(*given, Progress(quiet=True), overwrite=True)
        return done.made, dict(done.failures)

    return run


CUDA = "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has')"


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (CUDA, " (20.00 GiB more asked for)"),
        ("torch.empty(10**15)", " (4000000000000000 bytes more asked for)"),
        ("numpy.empty(10**15)", " (7.11 PiB more asked for)"),
        ("raise MemoryError", ""),
        ("raise RuntimeError('CUDA error: out of memory\\nCUDA kernel errors might')", ""),
    ],
)
def test_an_image_too_large_for_memory_is_given_up_with_what_to_try(
    body: str, asked: str, upscaled: Upscaled
) -> None:
    made, failures = upscaled(body)
    assert made == 1
    told = f"method 'mine.py' needs more memory than there is{asked}; try fewer --workers"
    assert told in failures["large"] and len(failures) == 1


def test_an_error_that_was_raised_with_another_is_told_as_it_is(upscaled: Upscaled) -> None:
    made, failures = upscaled("raise RuntimeError(ValueError('no such layer'))")
    assert made == 1 and "RuntimeError: no such layer" in failures["large"]


def test_memory_that_was_only_kept_for_later_costs_no_image(upscaled: Upscaled) -> None:
    assert upscaled(f"if len(tries) == 1: {CUDA}") == (2, {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_says_how_much_was_asked_for(upscaled: Upscaled) -> None:
    made, failures = upscaled("torch.empty(1 << 45, device='cuda')", "cuda")
    assert made == 1 and " GiB more asked for)" in failures["large"]


def test_a_device_holds_one_method_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Loaded:
        def __init__(self, device: str) -> None:
            assert not alive, "the one before holds the memory yet"
            alive.add(self)
            self.itself = self  # as networks do

    monkeypatch.setattr(fill, "find_method", lambda name: SimpleNamespace(load=Loaded))
    fill.forget()
    for name in ("one", "one", "other"):
        fill._loaded(name, "cpu")
    assert len(alive) == 1
    fill.forget()
    assert not alive


def _number(n: int) -> int:
    return n


def _asserting(n: int, given: int) -> int | str:
    """On number 2 a kernel of the GPU fails; nothing works in that process afterwards."""

    def call() -> int:
        if n == 2:
            _broken.append(n)
        _answered("cuda:1")
        return os.getpid()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cuda, "synchronize", _answered)
        try:
            return within_memory(call, "it", "try less", "cuda:1")
        except RuntimeError as error:
            return str(error)


def _answered(device: str) -> None:
    if _broken:
        raise RuntimeError("CUDA error: device-side assert triggered")


_broken: list[int] = []


@pytest.mark.parametrize("apart", [False, True])
def test_an_image_that_costs_a_process_its_gpu_costs_no_other(
    apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_lost", [])
    monkeypatch.setattr(sys.modules[__name__], "_broken", [])
    with Workers(1, overlap=True, apart=apart) as pool:
        found = dict(pool.map(Steps(_number, _asserting), range(6)))
    assert [*found] == [*range(6)]
    assert found.pop(2) == "CUDA error: device-side assert triggered"
    assert found[0] == found[1] != found[3] == found[5]
    assert foreign.gpu_lost() == (not apart)
    if not apart:
        with Workers(1, overlap=True) as pool:
            assert dict(pool.map(Steps(_number, _asserting), [7]))[7] not in (os.getpid(), "")
        assert found[0] == os.getpid()


class Network:
    """A metric of which the device holds one at a time, and no image beyond 16 pixels."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec = spec

    def prepare(self, hr: Any) -> None:
        pass

    def score(self, sr: torch.Tensor, hr: Any, prepared: Any) -> float:
        if len(metrics._loaded) > 1 or (sr.shape[2] > 16 and self.spec.name == "lpips"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
        return 1.0


def test_where_metrics_leave_no_memory_to_another_they_are_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "load", Network)
    monkeypatch.setattr(metrics, "_loaded", {})
    for side in (16, 32):
        path = tmp_path / f"{side}.png"
        images.write_png(path, photo(side, side))
        asked = tuple(metrics.find(name) for name in ("musiq", "lpips", "maniqa"))
        own = ImageJob(path, images.image_sha256(path), asked, {})
        hr = ImageJob(path, own.sha256, (), {})
        found = {name: value for name, _, value in score_job.score_job(ScoreJob(hr, (own,), "cpu"))}
        refused = found.pop("lpips") if side == 32 else None
        assert set(found.values()) == {1.0}
        if isinstance(refused, Missing):
            told = "lpips on cpu needs more memory than there is (2.50 GiB more asked for); try"
            assert refused.reason.startswith(told)
