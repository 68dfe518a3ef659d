"""Metrics whose own program scores folders, run as official methods are. What it writes is data: a
score is taken of an image that it was given, and where it is a number within the bounds."""

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from baselines.official import OfficialRepository, run_all
from baselines.official_run import Job, OfficialRun, file_state
from bench.base.text import printable
from bench.base.types import SetImage

MOST_BYTES = 1 << 24
"""Of a file of scores that are read."""


class OfficialMetric(OfficialRepository):
    """A metric's own program; see `OfficialRepository`."""

    def score_set(
        self,
        pairs: Mapping[str, tuple[Path, Path | None]],
        work: Path,
        watch: Callable[[str], None],
    ) -> Iterator[SetImage]:
        """Score pairs of an SR and, with reference, an HR image, by id; the rest as of
        `SetMethod.upscale_set`, but each `SetImage` has a `value` in place of a file."""
        work = work.absolute()  # the program runs in its clone, where ours is no folder
        srs = {image_id: sr for image_id, (sr, _) in pairs.items()}
        hrs = {image_id: hr for image_id, (_, hr) in pairs.items() if hr}
        jobs, refused = self._prepare(srs, work / "input", 1)
        of_hr, no_hr = self._prepare(hrs, work / "reference", 1)
        unfit = {image.id: image for image in (*refused, *no_hr)}
        sizes = {job.id: job.lr for job in of_hr}
        for job in jobs:
            if (other := sizes.get(job.id, job.lr)) != job.lr:
                found = "is {}x{}, its HR image is {}x{}".format(*job.lr, *other)
                unfit[job.id] = SetImage(job.id, None, found)
        yield from unfit.values()
        numbers = count(1)

        def start(group: list[Job]) -> OfficialRun:
            name = f"run-{next(numbers)}"
            return ScoringRun(self.program, self.official.command, group, work, name, 0)

        yield from run_all([job for job in jobs if job.id not in unfit], start, watch)


class ScoringRun(OfficialRun):
    """One start of a metric's program over some images."""

    def _known_values(self, source: Path, seed: int, scale: int) -> dict[str, str]:
        assert self.official.scores is not None
        self.scores = self.official.scores
        listed = self.work / f"{self.name}-list" / "images.json"
        listed.parent.mkdir()
        entry = json.dumps(self.scores.entry)
        entries = [entry.replace("{name}", f"{stem}.png") for stem in self.jobs]
        listed.write_text(f"[{', '.join(entries)}]\n", encoding="utf-8")
        known = {"list": str(listed)}
        if self.scores.reference:
            known["reference"] = str(self._only_these("reference"))
        return {**super()._known_values(source, seed, scale), **known}

    def _rows(self, whole: bool) -> Iterator[tuple[str, float]]:
        """Name and score of each image that the file names so far."""
        for row in rows(self.root / self.scores.file, whole):
            yield PurePath(str(row.get(self.scores.image))).name, self.scores.score(row)

    def _finished(self, final: bool) -> Iterator[SetImage]:
        """The scores that were written since the file was read last."""
        file = self.root / self.scores.file
        if not file.is_file() or (not final and self._states.get(file) == file_state(file)):
            return
        self._states[file] = file_state(file)
        for name, value in self._rows(whole=final and not self.reason):
            job = self.jobs.get(name.removesuffix(".png"))
            if job is None or job.id in self.done:
                continue
            self._since = time.monotonic()
            if value == value:
                self._taken[job.id] = self._states[file]
                yield SetImage(job.id, None, value=value)
            else:
                low, high = self.scores.bounds
                self.refused[job.id] = f"the program gives no number from {low:g} to {high:g}"

    def missing(self, job: Job) -> str:
        """Why there is no score of an image."""
        passed_over = "the program ended without an error but wrote no score of it"
        return self.reason or f"{passed_over}; log: {printable(self.log)}"

    def _strangers(self) -> str:
        """What the file names that is no image, or twice; "" when there is nothing."""
        names = Counter(name for name, _ in self._rows(whole=True))
        wanted = {f"{stem}.png" for stem in self.jobs}
        found = [printable(name)[:80] for name, n in names.items() if n > 1 or name not in wanted]
        more = f" and {len(found) - 5} more" if found[5:] else ""
        told = "wrote scores of no image, or two of one, not used: "
        return f"{told}{', '.join(found[:5])}{more}" if found else ""


def rows(file: Path, whole: bool) -> Iterator[Mapping[str, Any]]:
    """What a program has written so far, line by line; of a file that is not `whole` none of its
    last line, which may be half a number. What cannot be read is passed over."""
    if not file.is_file():
        return
    with file.open("rb") as opened:
        text = opened.read(MOST_BYTES).decode("utf-8-sig", errors="replace")
    lines = (text if whole else text[: text.rfind("\n") + 1]).splitlines()
    if file.suffix == ".csv":
        with suppress(csv.Error):
            yield from csv.DictReader(lines)
        return
    for line in lines:
        with suppress(ValueError, RecursionError):
            if isinstance(row := json.loads(line), dict):
                yield row
