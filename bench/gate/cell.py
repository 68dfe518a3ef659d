"""One cell: what the reference holds of it beside what was measured, and what is wrong with it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.base.text import printable
from bench.exchange.measured import KINDS, CellKey, Measured, MeasuredCell, MetricPrint, mean
from bench.gate.reference import Policy, Reference, Tolerance
from bench.results.bootstrap import MIN_IMAGES
from bench.results.paired import by_group, numbered, of_photographs

WRITE_ANEW = "write it anew with --update"
NO_SCORE = "the reference holds no score"
NAMED = 3


@dataclass(frozen=True)
class Cell:
    """The scores of one method on one dataset by one metric, before and now."""

    known: MeasuredCell
    found: MeasuredCell
    metric: MetricPrint
    policy: Policy
    photographs: Mapping[str, str]

    @property
    def key(self) -> CellKey:
        return self.known.key

    @property
    def name(self) -> str:
        return " / ".join(map(printable, self.key))

    @cached_property
    def tolerance(self) -> Tolerance:
        return self.policy.tolerance_of(*self.key)

    @cached_property
    def values(self) -> dict[str, tuple[float, float]]:
        """(before, after) of the images that both have; of a whole set, of its one value."""
        if not self.known.images and self.known.mean is not None and self.found.mean is not None:
            return {"": (self.known.mean, self.found.mean)}
        after = self.found.images
        return {i: (value, after[i]) for i, value in self.known.images.items() if i in after}

    @property
    def before(self) -> float | None:
        """The mean over `values`."""
        return mean({i: both[0] for i, both in self.values.items()})

    @property
    def after(self) -> float | None:
        return mean({i: both[1] for i, both in self.values.items()})

    @cached_property
    def scores(self) -> np.ndarray:
        """(n, 2) before and after of the photographs, else images; none where no test can judge."""
        return self.scores_of([*self.values])

    def scores_of(self, images: Sequence[str]) -> np.ndarray:
        """`scores` of some of the images alone."""
        values = np.array([self.values[i] for i in images], dtype=np.float64).reshape(-1, 2)
        finite = bool(np.isfinite(values).all())
        rows = by_group(values, numbered(images, self.photographs)) if finite else values
        return rows if finite and len(rows) >= MIN_IMAGES else rows[:0]

    @property
    def tested(self) -> bool:
        return self.tolerance.kind == "statistical" and len(self.scores) > 0

    @property
    def worse_by(self) -> float:
        """By how much the mean is worse; negative where better."""
        change = _change(self.before or 0.0, self.after or 0.0)
        return change if self.metric.better == "lower" else -change

    @property
    def amount(self) -> float:
        given = self.tolerance.amount
        return 10.0 ** -(self.metric.digits + 1) if given is None else given

    def unheld(self) -> str:
        """Scores that the reference should hold, since they are there now or it has their place."""
        absent = sorted(scored(self.found) - scored(self.known))
        if absent and absent != [""]:
            count = f"{len(absent)} of {len(self.found.images)} scores"
            return f"{self.name}: {count} are not in the reference ({_named(absent)}); {WRITE_ANEW}"
        if absent or not scored(self.known):
            return f"{self.name}: {NO_SCORE}; {WRITE_ANEW}"
        return ""

    def untestable(self) -> str:
        """Why it cannot be tested, where it shall be."""
        images = self.known.images
        if self.tolerance.kind != "statistical" or self._independent(images) >= MIN_IMAGES:
            return ""
        what = self._counted(images) if images else "one value for the whole set"
        mend = "give it kind 'same', 'absolute' or 'relative' under [[tolerances]]"
        return f"{self.name}: {what}, a paired test needs {MIN_IMAGES} images; {mend}"

    def reasons(self, p: float | None, tests: int) -> list[str]:
        """Why it fails; none where it passes. `p` is the corrected one, NaN or None where no test
        could decide, of so many tests."""
        reasons = self._missing()
        if self.values:
            kind = self.tolerance.kind
            if kind == "statistical":
                reasons += self._statistical(p, tests)
            else:
                reasons += self._same() if kind == "same" else self._worse(kind == "relative")
        return reasons + self._below_floors()

    def _missing(self) -> list[str]:
        known, found, allowed = self.known, self.found, self.policy.allowed_missing
        if not known.images:
            why = printable(next(iter(found.missing.values()), "none was measured"))
            return [] if found.mean is not None else [f"no value: {why}"]
        absent = [image for image in known.images if image not in found.images]
        if len(absent) <= allowed:
            return []
        why = printable(found.missing.get(absent[0], ""))
        count = f"{len(absent)} of {len(known.images)} images have no score, {allowed} allowed"
        return [f"{count}: {_named(absent)}" + (f" ({why})" if why else "")]

    def _same(self) -> list[str]:
        amount = self.amount
        moves = {i: abs(_change(*values)) for i, values in self.values.items()}
        moved = [image for image, by in moves.items() if not by <= amount]
        if not moved:
            return []
        what = f"moved by more than {amount:g}"
        if most := max(moved, key=lambda image: moves[image]):
            values = " -> ".join(map(self._number, self.values[most]))
            of = f"{len(moved)} of {len(moves)} images"
            what = f"{of} {what}, most: {printable(most)} {values}"
        by = self._number(abs(self.worse_by))
        if self.worse_by > 0:
            return [f"{what}; mean worse by {by}"]
        return [f"{what}; mean better by {by}: if that is meant, run with --update"]

    def _worse(self, relative: bool) -> list[str]:
        allowed = self.amount * (abs(self.before or 0.0) if relative else 1.0)
        if self.worse_by <= 0 or self.worse_by <= allowed < math.inf:
            return []
        return [f"mean worse by {self._number(self.worse_by)}, {allowed:.3g} allowed"]

    def _statistical(self, p: float | None, tests: int) -> list[str]:
        if not self.worse_by > self.amount:
            return []
        by = f"mean worse by {self._number(self.worse_by)} over {self._counted(self.values)}"
        if p is None:
            return [f"{by}; no test is possible, since scores are infinite or images are missing"]
        if not p < self.tolerance.alpha:
            return []
        return [f"{by} (paired test, Holm over {tests}: p = {p:.2g})"]

    def _below_floors(self) -> list[str]:
        now, higher = self.after, self.metric.better == "higher"
        reasons = []
        for floor in (floor for floor in self.policy.floors if floor.covers(*self.key)):
            if now is None:
                reasons.append(f"no mean to hold against the floor {floor.value:g}")
            elif (now < floor.value) if higher else (now > floor.value):
                side = "below the floor" if higher else "above the ceiling"
                reasons.append(f"mean {now:.{self.metric.digits}f} is {side} {floor.value:g}")
        return reasons

    def _number(self, value: float) -> str:
        return f"{value:.{self.metric.digits + 2}f}"

    def _counted(self, images: Collection[str]) -> str:
        """How many images, and of how many photographs, in words."""
        return f"{len(images)} images{of_photographs(len(images), self._independent(images))}"

    def _independent(self, images: Collection[str]) -> int:
        return len({(i in self.photographs, self.photographs.get(i, i)) for i in images})


def cells_of(reference: Reference, found: Measured) -> list[Cell]:
    """Everything that was asked for and the reference or the measurement has."""
    known = reference.measured
    held, here = known.cells(), found.cells()
    groups = {**known.groups, **found.groups}
    cells = []
    for key in dict.fromkeys([*held, *(key for key, cell in here.items() if scored(cell))]):
        if all(name in getattr(found, what) for what, name in zip(KINDS, key, strict=True)):
            dataset, method, metric = key
            empty = MeasuredCell(dataset=dataset, method=method, metric=metric)
            told = known.metrics.get(metric) or found.metrics[metric]
            both = (held.get(key, empty), here.get(key, empty))
            cells.append(Cell(*both, told, reference, groups.get(dataset, {})))
    return cells


def scored(cell: MeasuredCell) -> set[str]:
    """The images that have a score; of a whole set, which has one, ""."""
    return set(cell.images) or ({""} if cell.mean is not None else set())


def _change(before: float, after: float) -> float:
    return 0.0 if before == after else after - before


def _named(images: Sequence[str]) -> str:
    return ", ".join(map(printable, images[:NAMED])) + (", …" if len(images) > NAMED else "")
