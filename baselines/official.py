"""Official repositories, run as foreign programs over whole folders of plainly named RGB PNGs.

An output is taken only when it is the one of an input, decodes and has the right size.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path

from baselines.official_run import Job, OfficialRun, Program
from bench.base.errors import ImageError, Unavailable
from bench.base.types import WHOLE_SET, SetImage
from bench.files import images
from bench.methods.card import MethodCard
from bench.methods.installation import Installation

FRUITLESS = 5
"""Runs in a row without an image, before the rest is given up: all inputs, two halves and two
quarters of them. With one or two bad inputs, one of these has none."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")


class OfficialRepository:
    """A method whose own program upscales folders; see `SetMethod`.

    Args:
        card: of the method, with `official`.
        device: "cpu", "cuda" or "cuda:1".

    Raises:
        Unavailable: it is not installed, or needs a GPU.
    """

    def __init__(self, card: MethodCard, device: str = "cpu") -> None:
        where = Installation(card)
        self.title, self.official = card.title, where.official
        self.program = Program(where, device)
        if problem := where.problem() or self.official.refusal(device):
            raise Unavailable(f"method '{card.name}': {problem}")

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
        rest, until those that it dies of are found (see `_again`). An image that it writes anew
        after it was taken comes once more.
        """
        work = work.absolute()  # the program runs in its clone, where ours is no folder
        jobs, too_small = self._prepare(inputs, work / "input", scale)
        yield from too_small
        names = (f"run-{number}" for number in count(1))

        def start(command: list[str], group: list[Job]) -> OfficialRun:
            return OfficialRun(self.program, command, group, work, next(names), seed)

        side, command = self.official.only_size, self.official.command
        fitting = [job for job in jobs if not side or job.seen == (side, side)]
        yield from run_all(fitting, partial(start, command), watch)
        others = [job for job in jobs if side and job.seen != (side, side)]
        yield from run_all(others, partial(start, self.official.command_else), watch)

    def _prepare(
        self, inputs: Mapping[str, Path], folder: Path, scale: int
    ) -> tuple[list[Job], list[SetImage]]:
        """Write the inputs as RGB PNGs under plain names; those too small are refused."""
        jobs, refused, taken = [], [], set()
        known = {image_id.lower() for image_id in inputs}
        others = (name for name in map("image-{:05d}".format, count()) if name not in known)
        for image_id, path in sorted(inputs.items()):
            try:
                rgb = images.read_rgb(path)
            except ImageError as error:
                refused.append(SetImage(image_id, None, error.reason))
                continue
            height, width = rgb.shape[:2]
            if min(height, width) < self.official.min_size:
                least = self.official.min_size
                reason = f"is {width}x{height}; {self.title} needs {least} or more"
                refused.append(SetImage(image_id, None, reason))
                continue
            plain = _PLAIN.fullmatch(image_id) and image_id.lower() not in taken
            stem = image_id if plain else next(others)
            taken.add(stem.lower())
            padded = images.mirror_to_multiple(rgb, self.official.multiple)
            images.write_png(folder / f"{stem}.png", padded)
            seen = (padded.shape[1], padded.shape[0])
            jobs.append(Job(image_id, stem, (width, height), seen, scale))
        return sorted(jobs, key=lambda job: job.stem), refused


def run_all(
    jobs: list[Job], start: Callable[[list[Job]], OfficialRun], watch: Callable[[str], None]
) -> Iterator[SetImage]:
    """Run one command until every input is done or given up."""
    waiting, fruitless = deque([jobs] if jobs else []), 0
    while waiting:
        group = waiting.popleft()
        run = start(group)
        yield from run.images(watch)
        yield from (SetImage(name, None, why) for name, why in run.refused.items())
        if run.strangers:
            yield SetImage(WHOLE_SET, None, run.strangers)
        rest = [job for job in group if job.id not in run.done]
        again = _again(rest, group, run)
        waiting.extend(again)
        if not again:
            yield from (SetImage(job.id, None, run.missing(job)) for job in rest)
        fruitless = 0 if run.made else fruitless + 1
        if fruitless >= FRUITLESS:
            why = f"given up after {FRUITLESS} runs without an image: "
            left = [job for group in waiting for job in group]
            yield from (SetImage(job.id, None, why + run.missing(job)) for job in left)
            return


def _again(rest: list[Job], group: list[Job], run: OfficialRun) -> list[list[Job]]:
    """How to go on with what a run left over: [] to give it up.

    In which order a program takes its inputs, nobody knows. When it dies before the first image,
    the one that it dies of is looked for by halves; what it has passed over is tried once more,
    each by itself.
    """
    if len(group) == 1 or not rest:
        return []
    if not run.reason:
        return [[job] for job in rest] if run.made else []
    if run.made:
        return [rest]
    middle = len(rest) // 2
    return [half for half in (rest[:middle], rest[middle:]) if half]
