"""Official repositories, run as foreign programs over whole folders.

Every such script finds its inputs, names its outputs and fails in its own way. The runner gives
each a folder of plainly named RGB PNGs, takes an output only when it is the one of an input,
decodes and has the right size, and names everything else.
"""

from __future__ import annotations

import ctypes
import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import images, weights
from bench.cards import MethodCard, Official
from bench.errors import CardError, ImageError, Unavailable
from bench.installation import Installation, clean_environment
from bench.records import write_atomic
from bench.text import printable
from bench.types import WHOLE_SET, SetImage

POLL_SECONDS = 0.25
CRASHES = 3
"""Runs that die without having made an image, before the rest is given up."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([^{}]+))?\}")


@dataclass
class Job:
    """One input on its way.

    Attributes:
        id: the image's id.
        stem: the name that the program sees.
        size: (width, height) expected of the output.
    """

    id: str
    stem: str
    size: tuple[int, int]


@dataclass
class Attempt:
    """What one run of the program came to."""

    made: list[SetImage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why it ended early; "" when it ended by itself with exit code 0."""


class OfficialRepository:
    """A method whose own program upscales folders; see `SetMethod`.

    Args:
        card: of the method, with `official`.
        device: "cpu", "cuda" or "cuda:1".

    Raises:
        Unavailable: it is not installed, or needs a GPU.
    """

    def __init__(self, card: MethodCard, device: str = "cpu") -> None:
        self.where = Installation(card)
        self.official: Official = self.where.official
        self.device = device
        problem = self.where.problem()
        if problem:
            raise Unavailable(f"method '{card.name}': {problem}")
        if self.official.gpu and not device.startswith("cuda"):
            raise Unavailable(f"method '{card.name}' needs a GPU; give --device cuda")

    def upscale_set(
        self,
        inputs: Mapping[str, Path],
        work: Path,
        *,
        scale: int,
        seed: int,
        watch: Callable[[str], None],
    ) -> Iterator[SetImage]:
        """Upscale images; see `SetMethod.upscale_set`.

        When the program dies or hangs, what it has made is kept and it is started again with the
        rest; when it then dies without having made anything, the first of the rest is put aside.
        """
        jobs, too_small = self._prepare(inputs, work / "input", scale)
        yield from too_small
        crashes, number = 0, 0
        while jobs:
            number += 1
            run = Run(self, work, jobs, number, scale, seed, watch)
            yield from run.images()
            done = {image.id for image in run.attempt.made} | run.attempt.refused.keys()
            jobs = [job for job in jobs if job.id not in done]
            for image_id, reason in run.attempt.refused.items():
                yield SetImage(image_id, None, reason)
            strangers = run.strangers()
            if strangers:
                yield SetImage(WHOLE_SET, None, strangers)
            if not run.attempt.reason:
                yield from (SetImage(job.id, None, run.skipped(job)) for job in jobs)
                return
            crashes = 0 if done else crashes + 1
            if jobs and not done:
                # The image it stumbles over is the first of the rest, since inputs are sorted.
                culprit, jobs = jobs[0], jobs[1:]
                yield SetImage(culprit.id, None, run.attempt.reason)
            if crashes >= CRASHES:
                given_up = f"given up after {CRASHES} runs without an image: {run.attempt.reason}"
                yield from (SetImage(job.id, None, given_up) for job in jobs)
                return

    def _prepare(
        self, inputs: Mapping[str, Path], folder: Path, scale: int
    ) -> tuple[list[Job], list[SetImage]]:
        """Write the inputs as RGB PNGs under plain names; those too small are refused."""
        jobs, refused, taken = [], [], set()
        for index, (image_id, path) in enumerate(sorted(inputs.items())):
            rgb = images.read_rgb(path)
            height, width = rgb.shape[:2]
            if min(height, width) < self.official.min_size:
                least = self.official.min_size
                reason = f"is {width}x{height}; {self.where.card.title} needs {least} or more"
                refused.append(SetImage(image_id, None, reason))
                continue
            stem = image_id if _PLAIN.fullmatch(image_id) else f"image-{index:05d}"
            if stem.lower() in taken:
                stem = f"image-{index:05d}"
            taken.add(stem.lower())
            images.write_png(folder / f"{stem}.png", rgb)
            jobs.append(Job(image_id, stem, (width * scale, height * scale)))
        return sorted(jobs, key=lambda job: job.stem), refused

    def command(self, source: Path, target: Path, scale: int, seed: int) -> list[str]:
        """The program and its arguments.

        Raises:
            CardError: a placeholder that does not exist.
        """
        known = {
            "input": str(source),
            "output": str(target),
            "scale": str(scale),
            "seed": str(seed),
            "repo": str(self.where.repo),
        }

        def fill(match: re.Match[str]) -> str:
            name, argument = match.groups()
            if name == "weight" and argument:
                return str(self.where.weight(argument))
            if name in known and not argument:
                return known[name]
            raise CardError(f"card {self.where.card.name}: unknown placeholder {match[0]}")

        filled = [_PLACEHOLDER.sub(fill, part) for part in self.official.command]
        return [str(self.where.python), *filled]

    def environment(self) -> dict[str, str]:
        extra = dict(self.official.environment)
        if self.device.startswith("cuda:"):
            extra["CUDA_VISIBLE_DEVICES"] = self.device.partition(":")[2]
        elif self.device == "cpu":
            extra["CUDA_VISIBLE_DEVICES"] = ""
        return clean_environment(self.where.python, extra)

    def record(self) -> dict[str, Any]:
        """What the pixels depend on, beside the card."""
        return {
            "device": self.device,
            "commit": self.official.commit,
            "revisions": self.where.record().get("revisions", {}),
            "weights": {
                weight.name: weights.sha256(self.where.weight(weight.name))
                for weight in self.where.card.weights
            },
        }


class Run:
    """One start of the program over some inputs."""

    def __init__(
        self,
        method: OfficialRepository,
        work: Path,
        jobs: list[Job],
        number: int,
        scale: int,
        seed: int,
        watch: Callable[[str], None],
    ) -> None:
        self.method = method
        self.official = method.official
        self.jobs = {job.stem: job for job in jobs}
        self.watch = watch
        self.attempt = Attempt()
        self.log = work / f"run-{number}.log"
        self.output = work / f"output-{number}"
        self.output.mkdir(parents=True)
        source = _only(work / "input", jobs, work / f"input-{number}")
        self.command = method.command(source, self.output, scale, seed)
        self._record = {**method.record(), "run": f"{work.name}/run-{number}"}
        self._describe(work / f"run-{number}.json", source)
        self._sizes: dict[Path, int] = {}
        self._since = time.monotonic()

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
                env=self.method.environment(),
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

    # -- outputs ---------------------------------------------------------------------------------

    def _path(self, job: Job) -> Path:
        outputs = self.official.outputs
        return self.output / outputs.folder / outputs.name.replace("{stem}", job.stem)

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
            height, width = images.read_rgb(path).shape[:2]
        except ImageError as error:
            if final and not self.attempt.reason:  # else it was being written: done again
                self.attempt.refused[job.id] = f"{printable(path.name)}: {error.reason}"
            return
        if (width, height) != job.size:
            expected = f"{job.size[0]}x{job.size[1]}"
            self.attempt.refused[job.id] = (
                f"{printable(path.name)}: is {width}x{height}, expected {expected}"
            )
            return
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        record = {"seconds": round(seconds, 3), "position": len(self.attempt.made)}
        image = SetImage(job.id, path, record={**self._record, **record})
        self.attempt.made.append(image)
        yield image

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
        wanted = printable(self._path(job).relative_to(self.output))
        return f"the program ended without an error but wrote no {wanted}; log: {self.log}"

    def strangers(self) -> str:
        """Files that belong to no input, by name; "" when there are none."""
        wanted = {self._path(job) for job in self.jobs.values()}
        found = sorted(
            str(path.relative_to(self.output))
            for path in self.output.rglob("*")
            if path.is_file() and path not in wanted and not self._known(path)
        )
        names = ", ".join(printable(name) for name in found[:5])
        more = f" and {len(found) - 5} more" if found[5:] else ""
        return f"wrote what belongs to no input, not used: {names}{more}" if found else ""

    def _known(self, path: Path) -> bool:
        name = str(path.relative_to(self.output))
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.official.outputs.ignore)


def _only(pool: Path, jobs: list[Job], folder: Path) -> Path:
    """A folder with just these inputs, so that a second run does not repeat the first."""
    folder.mkdir(parents=True)
    for job in jobs:
        os.link(pool / f"{job.stem}.png", folder / f"{job.stem}.png")
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
