"""Work in other processes: whatever a method does costs its own image; signals end a command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Cli
from pictures import photo
from warm_start import Started

from bench.base import progress
from bench.base.errors import Interrupted, WorkerDied
from bench.files import images
from bench.methods.installation import clean_environment
from bench.processes import handle, stopping, workers
from bench.processes.foreign import place_in_dump
from bench.processes.workers import Workers
from bench.running.cell import UpscaleTask
from bench.running.fill import PRELOAD, upscale_one

METHOD = """
import ctypes, os, signal, sys, threading, time
import torch

calls = 0


def upscale(lr, *, scale, seeds):
    global calls
    calls += 1
    if seeds == [1]:
        {body}
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    sr = torch.nn.functional.conv2d(lr + 0.1 * noise, torch.eye(3)[:, :, None, None])
    return torch.nn.functional.interpolate(sr, scale_factor=scale, mode="bicubic")
"""
Outcomes = dict[int, Any]


@pytest.fixture
def upscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcomes]:
    """What becomes of images with the seeds 0, 1, 2, .. of which 1 meets `body`, by seed."""
    monkeypatch.chdir(tmp_path)
    images.write_png(tmp_path / "in.png", photo(16, 24))

    def run(body: str = "pass", count: int = 3, **options: Any) -> Outcomes:
        (tmp_path / "mine.py").write_text(METHOD.format(body=body))
        tasks = [
            UpscaleTask("mine.py", "cpu", str(i), tmp_path / "in.png", 4, i, "", Path(f"{i}.png"))
            for i in range(count)
        ]
        options = {"count": 1, "preload": PRELOAD, "apart": True, **options}
        with Workers(**options) as pool:
            return {task.seed: found for task, found in pool.map(upscale_one, tasks)}

    return run


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os._exit(0)", "its process ended by itself with exit code 0 (mine.py:12)"),
        ("ctypes.string_at(0)", "its process crashed by SIGSEGV (mine.py:12)"),
        ("os.kill(os.getpid(), 9)", "its process was killed, perhaps for lack of memory"),
        ("\n        while True: time.sleep(1)", "took longer than 8 s; raise --image-timeout"),
    ],
)
def test_what_ends_its_process_or_never_ends_costs_one_image(
    body: str, expected: str, upscaled: Callable[..., Outcomes]
) -> None:
    found = upscaled(body, limit=8 if "8 s" in expected else None)
    assert isinstance(found[1], WorkerDied) and str(found[1]).startswith(expected)
    assert "mine.py:1" in str(found[1]) or "killed" in expected
    assert isinstance(found[0], dict) and isinstance(found[2], dict)


def test_the_workers_settings_do_not_reach_other_processes(
    upscaled: Callable[..., Outcomes],
) -> None:
    before = {name for name in os.environ if name.startswith("CASSR_BENCH_")}
    upscaled(count=1)
    assert {name for name in os.environ if name.startswith("CASSR_BENCH_")} == before


@pytest.mark.parametrize(
    "body",
    [
        "os.fork()",
        "os.fork() or time.sleep(600)",
        "threading.Thread(target=time.sleep, args=(600,)).start()",
        "os.chdir('/'); os.write(1, b'raw'); print('text', file=sys.__stdout__, flush=True)",
        "os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGINT)",
    ],
)
def test_what_a_method_leaves_behind_stays_in_its_process(
    body: str, upscaled: Callable[..., Outcomes], capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    found = upscaled(body)
    assert [type(found[i]) for i in range(3)] == [dict] * 3
    assert time.monotonic() - start < 300
    assert capfd.readouterr().out == ""
    assert sorted(path.name for path in Path().glob("?.png")) == ["0.png", "1.png", "2.png"]


def test_when_every_process_ends_the_rest_is_not_tried(upscaled: Callable[..., Outcomes]) -> None:
    (found,) = {str(upscaled("pass\n    os._exit(3)", count=9)[8])}
    assert found == "not tried, since 3 processes in a row ended before it"


def test_the_same_bytes_apart_and_here(upscaled: Callable[..., Outcomes]) -> None:
    def pixels(**options: Any) -> list[bytes]:
        upscaled(**options)
        return [Path(f"{i}.png").read_bytes() for i in range(3)]

    assert pixels(threads=2) == pixels(threads=2, apart=False) == pixels(threads=2, count=2)


def test_what_takes_long_is_told_with_its_place(
    upscaled: Callable[..., Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "PATIENCE", 0.5)
    told: list[tuple[int, str]] = []
    upscaled("time.sleep(4)", tell=lambda task, text: told.append((task.seed, text)))
    slow = [text for seed, text in told if seed == 1]
    assert any("s so far (mine.py:12)" in text for text in slow)
    assert len(slow) <= 5, "each time after twice as long"


def test_a_stack_of_ours_and_of_libraries_alone_is_told_all_the_same() -> None:
    assert place_in_dump("") == ""
    stack = 'Current thread 0x1 (most recent call first):\n  File "{}", line 7 in f\n'
    assert place_in_dump(stack.format(os.__file__)) == f"{os.__file__}:7"
    assert place_in_dump(stack.format(workers.__file__)) == ""


def test_a_first_signal_lets_what_is_in_hand_finish_and_a_second_does_not() -> None:
    before = [signal.signal(number, signal.SIG_DFL) for number in stopping.ENDING]
    try:
        stopping.install()
        done = []
        with pytest.raises(Interrupted, match="stopped by SIGTERM") as error:
            for task, _ in Workers(1).map(lambda n: os.kill(os.getpid(), 15), iter(range(5))):
                done.append(task)
        assert (done, error.value.exit_code) == ([0], 143)
        with pytest.raises(stopping.Stopped):
            for task, _ in Workers(1).map(lambda n: os.kill(os.getpid(), 15), [0]):
                os.kill(os.getpid(), 15)
                done.append(task)
        assert done == [0]
    finally:
        for number, handler in zip(stopping.ENDING, before, strict=True):
            signal.signal(number, handler)


SLOW = METHOD.format(body="pass").replace("calls += 1", "time.sleep(2)")


@pytest.fixture
def running(cli: Cli, tmp_path: Path) -> Iterator[Started]:
    """`upscale` by a slow method in a session of its own; one image is done."""
    (tmp_path / "cwd" / "slow.py").write_text(SLOW)
    for i in range(20):
        images.write_png(tmp_path / "cwd" / "in" / f"{i}.png", photo(16, 24))
    arguments = ("--method", "slow.py", "--input", "in", "--output", "out", "--workers", "2")
    process = cli.start("upscale", *arguments)
    process.until(lambda: list(tmp_path.glob("cwd/out/*.png")))
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        (signal.SIGHUP, True, 129),
        (signal.SIGTERM, False, 143),
        (signal.SIGINT, False, 130),
        (signal.SIGINT, True, 130),
        (signal.SIGKILL, False, -9),
    ],
)
def test_a_signal_ends_it_with_one_line_and_nothing_lives_on(
    number: int, group: bool, code: int, running: Started, tmp_path: Path
) -> None:
    (os.killpg if group else os.kill)(running.pid, number)
    done = running.done(timeout=120)
    assert done.returncode == code
    errors = [line for line in done.stderr.splitlines() if not line.startswith("slow: ")]
    assert len(errors) == (0 if number == signal.SIGKILL else 1), errors
    if number in stopping.ENDING:
        assert len(list(tmp_path.glob("cwd/out/*.png"))) > 1, "what was in hand is finished"
    until = time.monotonic() + 60
    while left := alive(running.pid):
        assert time.monotonic() < until, left


def alive(session: int) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, own = file.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(file.parent.name)
    return found


RUN = (
    *("run", "quick", "--methods", "nearest", "--metrics", "psnr_y", "--limit", "1"),
    *("--reports", "csv", "--out", "out"),
)


@pytest.mark.usefixtures("quick_sets")
def test_reports_and_exit_code_stand_where_nobody_reads_the_table(
    tmp_path: Path, clean_home: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bench", *RUN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "scores.csv").is_file()


def test_a_log_has_the_start_each_minute_and_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0.05)
    seen = ""
    with progress.Progress().step("Bicubic", 4) as advance:
        advance(1, 4)
        while "left" not in seen:
            seen += capsys.readouterr().err
        advance(4, 4)
    lines = (seen + capsys.readouterr().err).splitlines()
    assert lines[0] == "Bicubic: 0/4" and lines[-1] == "Bicubic: 4/4"
    assert progress.pace(0, 9, 5.0) == ""
    assert progress.pace(30, 90, 10.0) == "3.0/s, 20 s left"
    assert progress.pace(1, 301, 25.0) == "25 s each, 2 h 05 min left"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked by a server")
def test_programs_of_others_compute_as_if_there_were_no_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own: set[str] = set()
    monkeypatch.setattr(handle, "NOT_FOR_OTHERS", own)
    monkeypatch.setattr("bench.methods.installation.NOT_FOR_OTHERS", own)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "123")
    handle.begun(())
    assert os.environ["OMP_NUM_THREADS"] == "1"
    theirs = clean_environment(Path(sys.executable))
    assert "OMP_NUM_THREADS" not in theirs
    assert theirs["MALLOC_TRIM_THRESHOLD_"] == "123", "what was given is handed on"
