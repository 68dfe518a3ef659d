"""One start of a foreign program over a folder of images: watched, its outputs judged."""

from __future__ import annotations

import fnmatch
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from baselines.process import Process, last_line
from bench.base.errors import ImageError
from bench.base.metering import GpuMemory
from bench.base.records import copy_atomic, write_atomic
from bench.base.text import printable
from bench.base.types import SetImage
from bench.files import images
from bench.methods.card import Official
from bench.methods.installation import Installation

POLL_SECONDS = 0.25
State = tuple[int, int]
"""Of a file: when it was last written, in ns, and its size."""


class Program(Protocol):
    """What a run asks of the method that it is a run of."""

    where: Installation
    official: Official
    device: str

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
        self._states: dict[Path, State] = {}
        self._taken: dict[str, State] = {}
        self._gpu = GpuMemory(method.device)
        self._last = time.time_ns()
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
        """Start the program; yield each image as soon as its file is whole, and again when the
        program has written it anew."""
        environment = self.method.environment(self.known)
        process = Process(self.command, self.log, self.method.where.repo, environment)
        try:
            while process.runs():
                yield from self._finished(final=False)
                self.watch(last_line(self.log))
                self._gpu.look()
                if self._overdue():
                    break
                time.sleep(POLL_SECONDS)
        finally:
            code = process.end()
        self._judge_end(code)
        yield from self._finished(final=True)
        self.strangers = self._strangers()
        if not self.root.is_relative_to(self.log.parent):
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def done(self) -> set[str]:
        """Images that are made or refused."""
        return self._taken.keys() | self.attempt.refused.keys()

    @property
    def made(self) -> bool:
        return bool(self._taken)

    # -- outputs ---------------------------------------------------------------------------------

    def _path(self, job: Job) -> Path:
        outputs = self.official.outputs
        return self.root / outputs.folder / outputs.name.replace("{stem}", job.stem)

    def _finished(self, final: bool) -> Iterator[SetImage]:
        """Images whose file is there, no longer grows and decodes; at the end those too that were
        written again after they had been taken."""
        ready = []
        for job in self.jobs.values():
            path = self._path(job)
            if job.id in self.attempt.refused or not path.is_file():
                continue
            state = _state(path)
            if final or (self._states.get(path) == state and job.id not in self._taken):
                ready.append((state, job, path))
            self._states[path] = state
        for state, job, path in sorted(ready, key=lambda each: each[0]):
            if self._taken.get(job.id) != state:
                yield from self._take(job, path, state, final)

    def _take(self, job: Job, path: Path, state: State, final: bool) -> Iterator[SetImage]:
        again = self._taken.pop(job.id, None) is not None
        try:
            rgb = images.read_rgb(path)
        except ImageError as error:
            if final and not self.attempt.reason:  # else it was being written: done again
                self.attempt.refused[job.id] = f"{printable(path.name)}: {error.reason}"
            return
        height, width = rgb.shape[:2]
        if (width, height) != job.size:
            if not final:  # it may yet be written as it is to be
                return
            found = f"is {width}x{height}, expected {job.size[0]}x{job.size[1]}"
            self.attempt.refused[job.id] = f"{printable(path.name)}: {found}"
            return
        record = {**self._record, **self._cost(state, again), "lossy": images.losses(path)}
        self._taken[job.id] = state
        self._since = time.monotonic()
        yield SetImage(job.id, self._cropped(job, path, rgb), record=record)

    def _cost(self, state: State, again: bool) -> dict[str, Any]:
        """Seconds from the file before to this one, by the times that the files bear; what the
        first took is start-up as well. Nothing of a file that was written twice."""
        position = len(self._taken)
        seconds = round((state[0] - self._last) / 1e9, 4)
        self._last = max(self._last, state[0])
        told = {} if again or seconds <= 0 else {"seconds" if position else "first": seconds}
        return {**self._gpu.record(), **told, "position": position}

    def _cropped(self, job: Job, path: Path, rgb: np.ndarray) -> Path:
        """The file without what was mirrored onto its input."""
        if job.lr == job.seen:
            return path
        target = self.log.parent / f"{self.name}-cropped" / f"{job.stem}.png"
        images.write_png(target, images.crop(rgb, 0, 0, *(side * job.scale for side in job.lr)))
        return target

    # -- ends ------------------------------------------------------------------------------------

    def _overdue(self) -> bool:
        first = not self._taken
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

    def missing(self, job: Job) -> str:
        """Why there is no image of an input."""
        wanted = printable(self._path(job).relative_to(self.root))
        passed_over = f"the program ended without an error but wrote no {wanted}; log: {self.log}"
        return self.attempt.reason or passed_over

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


def _state(path: Path) -> State:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
