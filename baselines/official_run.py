"""One start of a foreign program over a folder of images: watched, its outputs judged."""

from __future__ import annotations

import ctypes
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.base.errors import ImageError
from bench.base.records import copy_atomic, write_atomic
from bench.base.text import printable
from bench.base.types import SetImage
from bench.files import images
from bench.methods.card import Official
from bench.methods.installation import Installation

POLL_SECONDS = 0.25


class Program(Protocol):
    """What a run asks of the method that it is a run of."""

    where: Installation
    official: Official

    def fill(self, text: str, known: Mapping[str, str]) -> str: ...

    def environment(self, known: Mapping[str, str]) -> dict[str, str]: ...

    def record(self) -> dict[str, Any]: ...


@dataclass
class Job:
    """One input on its way.

    Attributes:
        id: the image's id.
        stem: the name that the program sees.
        lr: (width, height) of the input as given.
        seen: (width, height) of the input that the program sees.
        scale: factor.
    """

    id: str
    stem: str
    lr: tuple[int, int]
    seen: tuple[int, int]
    scale: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) expected of the program's output."""
        return self.seen[0] * self.scale, self.seen[1] * self.scale


@dataclass
class Attempt:
    """What one run of the program came to."""

    made: list[SetImage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why it ended early; "" when it ended by itself with exit code 0."""


@dataclass
class Watch:
    """What all runs over a set share.

    Attributes:
        work: folder of everything that is written.
        seed: of the set.
        line: called with the last line that the program wrote.
    """

    work: Path
    seed: int
    line: Callable[[str], None]
    started: int = 0

    def next_name(self) -> str:
        self.started += 1
        return f"run-{self.started}"


class OfficialRun:
    """One start of the program over some inputs."""

    def __init__(self, method: Program, command: list[str], jobs: list[Job], seen: Watch) -> None:
        self.method = method
        self.official = method.official
        self.jobs = {job.stem: job for job in jobs}
        self.watch = seen.line
        self.attempt = Attempt()
        self.strangers = ""
        self.name = seen.next_name()
        work = seen.work
        self.log, self.output = work / f"{self.name}.log", work / f"{self.name}-output"
        self.output.mkdir(parents=True)
        source = _only(work / "input", jobs, work / f"{self.name}-input")
        self.known = self._known_values(source, seen, jobs[0].scale)
        self.root = Path(method.fill(self.official.outputs.root, self.known))
        self.command = [str(method.where.python), *(method.fill(p, self.known) for p in command)]
        self._record = {**method.record(), "run": f"{work.name}/{self.name}"}
        self._describe(work / f"{self.name}.json", source)
        self._sizes: dict[Path, int] = {}
        self._since = time.monotonic()

    def _known_values(self, source: Path, seen: Watch, scale: int) -> dict[str, str]:
        """What the card's placeholders stand for in this run."""
        config = seen.work / f"{self.name}.config.yml"
        known = {
            "input": str(source),
            "output": str(self.output),
            "scale": str(scale),
            "seed": str(seen.seed),
            "repo": str(self.method.where.repo),
            "run": f"cassr-bench-{seen.work.name}-{self.name}",
            "config": str(config),
        }
        if self.official.config:
            config.write_text(self.method.fill(self.official.config, known))
        return known

    def _describe(self, path: Path, source: Path) -> None:
        """Keep what this run was: noise may depend on which images were in it, in which order."""
        setup = self.method.where.record()
        description = {
            **self._record,
            "command": self.command,
            "inputs": sorted(file.name for file in source.iterdir()),
            "packages": setup.get("packages", []),
        }
        write_atomic(path, json.dumps(description, indent=1, sort_keys=True) + "\n")

    def images(self) -> Iterator[SetImage]:
        """Start the program and yield each image as soon as its file is whole."""
        with self.log.open("wb") as log:
            child = subprocess.Popen(  # noqa: S603 - no shell; arguments come from a card
                self.command,
                cwd=self.method.where.repo,
                env=self.method.environment(self.known),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            try:
                while child.poll() is None:
                    yield from self._finished(final=False)
                    self.watch(last_line(self.log))
                    if self._overdue():
                        break
                    time.sleep(POLL_SECONDS)
            finally:
                _kill(child)
        self._judge_end(child.returncode)
        yield from self._finished(final=True)
        self.strangers = self._strangers()
        if not self.root.is_relative_to(self.log.parent):
            shutil.rmtree(self.root, ignore_errors=True)

    # -- outputs ---------------------------------------------------------------------------------

    def _path(self, job: Job) -> Path:
        outputs = self.official.outputs
        return self.root / outputs.folder / outputs.name.replace("{stem}", job.stem)

    def _finished(self, final: bool) -> Iterator[SetImage]:
        """Images whose file is there, no longer grows and decodes."""
        done = {image.id for image in self.attempt.made} | self.attempt.refused.keys()
        for job in self.jobs.values():
            path = self._path(job)
            if job.id in done or not path.is_file():
                continue
            size = path.stat().st_size
            settled = self._sizes.get(path) == size
            self._sizes[path] = size
            if final or settled:
                yield from self._take(job, path, final)

    def _take(self, job: Job, path: Path, final: bool) -> Iterator[SetImage]:
        try:
            rgb = images.read_rgb(path)
        except ImageError as error:
            if final and not self.attempt.reason:  # else it was being written: done again
                self.attempt.refused[job.id] = f"{printable(path.name)}: {error.reason}"
            return
        height, width = rgb.shape[:2]
        if (width, height) != job.size:
            expected = f"{job.size[0]}x{job.size[1]}"
            self.attempt.refused[job.id] = (
                f"{printable(path.name)}: is {width}x{height}, expected {expected}"
            )
            return
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        record = {"seconds": round(seconds, 3), "position": len(self.attempt.made)}
        image = SetImage(job.id, self._cropped(job, path, rgb), record={**self._record, **record})
        self.attempt.made.append(image)
        yield image

    def _cropped(self, job: Job, path: Path, rgb: np.ndarray) -> Path:
        """The file without what was mirrored onto its input."""
        if job.lr == job.seen:
            return path
        target = self.log.parent / f"{self.name}-cropped" / f"{job.stem}.png"
        images.write_png(target, images.crop(rgb, 0, 0, *(side * job.scale for side in job.lr)))
        return target

    # -- ends ------------------------------------------------------------------------------------

    def _overdue(self) -> bool:
        first = not self.attempt.made
        limit = self.official.start_seconds if first else self.official.image_seconds
        if time.monotonic() - self._since <= limit:
            return False
        self.attempt.reason = (
            f"no image came for {limit:.0f} s, so the program was stopped; "
            f"its last line: {last_line(self.log)}; log: {printable(self.log)}"
        )
        return True

    def _judge_end(self, code: int) -> None:
        if code != 0 and not self.attempt.reason:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self.attempt.reason = (
                f"the program {how}; its last line: {last_line(self.log)}; "
                f"log: {printable(self.log)}"
            )

    def skipped(self, job: Job) -> str:
        wanted = printable(self._path(job).relative_to(self.root))
        return f"the program ended without an error but wrote no {wanted}; log: {self.log}"

    def _strangers(self) -> str:
        """Files that belong to no input, by name; "" when there are none."""
        wanted = {self._path(job) for job in self.jobs.values()}
        found = sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and path not in wanted and not self._known(path)
        )
        names = ", ".join(printable(name) for name in found[:5])
        more = f" and {len(found) - 5} more" if found[5:] else ""
        return f"wrote what belongs to no input, not used: {names}{more}" if found else ""

    def _known(self, path: Path) -> bool:
        name = str(path.relative_to(self.root))
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.official.outputs.ignore)


def _only(pool: Path, jobs: list[Job], folder: Path) -> Path:
    """A folder with just these inputs, so that a second run does not repeat the first.

    They are copies: a program that changes its inputs spoils no later run.
    """
    folder.mkdir(parents=True)
    for job in jobs:
        copy_atomic(pool / f"{job.stem}.png", folder / f"{job.stem}.png")
    return folder


def last_line(log: Path) -> str:
    """The last line of a log, as a terminal would show it (a progress bar's last state)."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        text = file.read().decode(errors="replace")
    lines = [part.strip() for part in re.split(r"[\r\n]", text) if part.strip()]
    return printable(lines[-1])[:200] if lines else "(nothing)"


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the program and everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _die_with_parent() -> None:
    """In the child, before it runs: be killed when the runner is (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
