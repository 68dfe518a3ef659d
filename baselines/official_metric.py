"""Metrics whose own program scores folders, run as official methods are. What it writes is data: a
score is taken of an image that it was given, and where it is a number within the bounds."""

import csv
import json
import time
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
        self.scores, self._values = self.official.scores, dict[str, float]()
        listed = self.work / f"{self.name}-list" / "images.json"
        listed.parent.mkdir()
        entry = json.dumps(self.scores.entry)
        entries = [entry.replace("{name}", f"{stem}.png") for stem in self.jobs]
        listed.write_text(f"[{', '.join(entries)}]\n", encoding="utf-8")
        known = {"list": str(listed)}
        if self.scores.reference:
            known["reference"] = str(self._only_these("reference"))
        return {**super()._known_values(source, seed, scale), **known}

    def _rows(self, final: bool) -> dict[str, set[float]]:
        """The scores that the file gives so far, by the name of an image's file without .png."""
        found: dict[str, set[float]] = {}
        for row in rows(self.root / self.scores.file, whole=final and not self.reason):
            name = PurePath(str(row.get(self.scores.image))).name.removesuffix(".png")
            found.setdefault(name, set()).add(self.scores.score(row))
        return found

    def _finished(self, final: bool) -> Iterator[SetImage]:
        """New or changed scores: what the file says in the end counts, two of an image are none."""
        file = self.root / self.scores.file
        if not file.is_file() or (not final and self._states.get(file) == file_state(file)):
            return
        self._states[file], self._since = file_state(file), time.monotonic()
        found = self._rows(final)
        if final:
            self._taken.clear()
        for job in (job for stem, job in self.jobs.items() if stem in found):
            value, *others = found[job.stem]
            if value == value and not others:
                self._taken[job.id] = self._states[file]
                if self._values.get(job.id) != value:
                    self._values[job.id] = value
                    yield SetImage(job.id, None, value=value)
            elif final:  # till then it may yet be written as it is to be
                told = "the program gives no number from {:g} to {:g}".format(*self.scores.bounds)
                self.refused[job.id] = "the program gives scores that differ" if others else told

    def missing(self, job: Job) -> str:
        """Why there is no score of an image."""
        passed_over = "the program ended without an error but wrote no score of it"
        return self.reason or f"{passed_over}; log: {printable(self.log)}"

    def _others(self) -> list[str]:
        """What the file names that is no image."""
        return [name[:80] for name in self._rows(final=True) if name not in self.jobs]


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
