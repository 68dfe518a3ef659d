"""One start of a foreign program over a folder of images: watched, its outputs judged."""

import fnmatch
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.process import Process, last_line
from bench.base.device import name_for_others
from bench.base.errors import CardError, ImageError
from bench.base.metering import GpuMemory
from bench.base.records import copy_atomic, write_atomic
from bench.base.text import printable
from bench.base.types import SetImage
from bench.files import images
from bench.methods.installation import Installation, clean_environment
from bench.remote import weights

POLL_SECONDS = 0.25
State = tuple[int, int]
"""Of a file: when it was last written, in ns, and its size."""
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([^{}]+))?\}")


@dataclass(frozen=True)
class Program:
    """An installed repository, to be run on a device."""

    where: Installation
    device: str

    def fill(self, text: str, known: Mapping[str, str]) -> str:
        """`text` with its placeholders filled in; CardError where one does not exist."""

        def value(match: re.Match[str]) -> str:
            name, argument = match.groups()
            if name == "weight" and argument:
                return str(self.where.weight(argument).absolute())
            if name in known and not argument:
                return known[name]
            raise CardError(f"card {self.where.card.name}: unknown placeholder {match[0]}")

        return _PLACEHOLDER.sub(value, text)

    def environment(self, known: Mapping[str, str]) -> dict[str, str]:
        told = self.where.official.environment
        extra = {name: self.fill(text, known) for name, text in told.items()}
        if self.device.startswith("cuda:"):
            extra["CUDA_VISIBLE_DEVICES"] = name_for_others(self.device)
        elif self.device == "cpu":
            extra["CUDA_VISIBLE_DEVICES"] = ""
        return clean_environment(self.where.python, extra)

    def record(self) -> dict[str, Any]:
        """What the pixels depend on, beside the card."""
        files = (weight.name for weight in self.where.card.weights)
        return {
            "device": self.device,
            "commit": self.where.official.commit,
            "revisions": self.where.record().get("revisions", {}),
            "weights": {name: weights.sha256(self.where.weight(name)) for name in files},
        }


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


class OfficialRun:
    """One start of the program over some inputs.

    Args:
        work: folder of everything that is written; the inputs are in `input`.
        name: of the run, for its files.

    Attributes:
        refused: image -> why its output is not taken.
        reason: why the program ended early; "" when it ended by itself with exit code 0.
        strangers: what it wrote that belongs to no input; "" when there is nothing.
    """

    def __init__(
        self,
        program: Program,
        command: list[str],
        jobs: list[Job],
        work: Path,
        name: str,
        seed: int,
    ) -> None:
        self.program = program
        self.official = program.where.official
        self.jobs = {job.stem: job for job in jobs}
        self.refused: dict[str, str] = {}
        self.reason = self.strangers = ""
        self.work, self.name = work, name
        self.log, self.output = work / f"{name}.log", work / f"{name}-output"
        self.output.mkdir(parents=True)
        source = self._only_these("input")
        self.known = self._known_values(source, seed, jobs[0].scale)
        self.root = Path(program.fill(self.official.outputs.root, self.known))
        arguments = [program.fill(part, self.known) for part in command]
        self.command = [str(program.where.python), *arguments]
        self._record = {**program.record(), "run": f"{work.name}/{name}"}
        self._describe(source)
        self._states: dict[Path, State] = {}
        self._taken: dict[str, State] = {}
        self._gpu = GpuMemory(program.device)
        self._last = time.time_ns()
        self._since = time.monotonic()

    def _only_these(self, pool: str) -> Path:
        """A folder with copies of just these inputs: a program may change what it is given."""
        folder = self.work / f"{self.name}-{pool}"
        for stem in self.jobs:
            copy_atomic(self.work / pool / f"{stem}.png", folder / f"{stem}.png")
        return folder

    def _known_values(self, source: Path, seed: int, scale: int) -> dict[str, str]:
        """What the card's placeholders stand for in this run."""
        config = self.work / f"{self.name}.config.yml"
        known = {
            "input": str(source),
            "output": str(self.output),
            "scale": str(scale),
            "seed": str(seed),
            "repo": str(self.program.where.repo),
            "run": f"cassr-bench-{self.work.name}-{self.name}",
            "config": str(config),
        }
        if self.official.config:
            config.write_text(self.program.fill(self.official.config, known), encoding="utf-8")
        return known

    def _describe(self, source: Path) -> None:
        """Keep what this run was: noise may depend on which images were in it, in which order."""
        description = {
            **self._record,
            "command": self.command,
            "inputs": sorted(file.name for file in source.iterdir()),
            "packages": self.program.where.record().get("packages", []),
        }
        text = json.dumps(description, indent=1, sort_keys=True) + "\n"
        write_atomic(self.work / f"{self.name}.json", text)

    def images(self, watch: Callable[[str], None]) -> Iterator[SetImage]:
        """Start the program; yield each image as soon as its file is whole, and again when the
        program has written it anew. `watch` is called with the last line that it wrote."""
        environment = self.program.environment(self.known)
        process = Process(self.command, self.log, self.program.where.repo, environment)
        try:
            while process.runs(POLL_SECONDS):
                yield from self._finished(final=False)
                watch(last_line(self.log))
                self._gpu.look()
                limit = self.official.image_seconds if self._taken else self.official.start_seconds
                if time.monotonic() - self._since > limit:
                    self._fail(f"no image came for {limit:.0f} s, so the program was stopped")
                    break
        finally:
            code = process.end()
        if code and not self.reason:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._fail(f"the program {how}")
        yield from self._finished(final=True)
        self.strangers = self._strangers()
        if not self.root.is_relative_to(self.work):
            shutil.rmtree(self.root, ignore_errors=True)

    def _fail(self, how: str) -> None:
        line = last_line(self.log)
        self.reason = f"{how}; its last line: {line}; log: {printable(self.log)}"

    @property
    def done(self) -> set[str]:
        """Images that are made or refused."""
        return self._taken.keys() | self.refused.keys()

    @property
    def made(self) -> bool:
        return bool(self._taken)

    def _path(self, job: Job) -> Path:
        outputs = self.official.outputs
        return self.root / outputs.folder / outputs.name.replace("{stem}", job.stem)

    def _finished(self, final: bool) -> Iterator[SetImage]:
        """Images whose file is there, no longer grows and decodes; at the end those too that were
        written again after they had been taken."""
        ready = []
        for job in self.jobs.values():
            path = self._path(job)
            if job.id in self.refused or not path.is_file():
                continue
            if path not in self._states:  # progress too where it will be refused
                self._since = time.monotonic()
            state = file_state(path)
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
            if final and not self.reason:  # else it was being written: done again
                self.refused[job.id] = f"{printable(path.name)}: {error.reason}"
            return
        height, width = rgb.shape[:2]
        if (width, height) != job.size:
            if final:  # till then it may yet be written as it is to be
                found = f"is {width}x{height}, expected {job.size[0]}x{job.size[1]}"
                self.refused[job.id] = f"{printable(path.name)}: {found}"
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
        target = self.work / f"{self.name}-cropped" / f"{job.stem}.png"
        images.write_png(target, images.crop(rgb, 0, 0, *(side * job.scale for side in job.lr)))
        return target

    def missing(self, job: Job) -> str:
        """Why there is no image of an input."""
        wanted = printable(self._path(job).relative_to(self.root))
        ended = f"the program ended without an error but wrote no {wanted}"
        return self.reason or f"{ended}; log: {printable(self.log)}"

    def _others(self) -> list[str]:
        """Files that belong to no input, by name."""
        wanted = {self._path(job) for job in self.jobs.values()}
        others = (path for path in self.root.rglob("*") if path.is_file() and path not in wanted)
        paths = sorted(str(path.relative_to(self.root)) for path in others)
        known = self.official.outputs.ignore
        return [path for path in paths if not any(fnmatch.fnmatch(path, each) for each in known)]

    def _strangers(self) -> str:
        found = self._others()
        names = ", ".join(printable(name) for name in found[:5])
        more = f" and {len(found) - 5} more" if found[5:] else ""
        return f"wrote what belongs to no input, not used: {names}{more}" if found else ""


def file_state(path: Path) -> State:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
