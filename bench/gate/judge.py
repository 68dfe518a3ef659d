"""The gate: what was measured now against a reference, cell by cell; unlike things are refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bench.base.text import printable
from bench.exchange.measured import (
    KINDS,
    CellKey,
    Measured,
    MeasuredCell,
    MetricPrint,
    mean,
    unlike,
)
from bench.gate.reference import Policy, Reference, ScopedTolerance, Tolerance
from bench.results.bootstrap import MIN_IMAGES, corrected
from bench.results.paired import by_group, numbered, of_photographs, paired
from bench.results.power import POWER, least_difference, typical_spread

State = Literal["pass", "fail"]
WRITE_ANEW = "write it anew with --update"
NO_SCORE = "the reference holds no score"
NAMED = 3
SET_RELATIVE = 0.01
"""How much worse a metric of a whole set may be where images are tested statistically."""


@dataclass(frozen=True)
class Judged:
    """One cell of the reference and what became of it.

    Attributes:
        reference, found: means over the images that both have; None without any.
        images: how many these are (0 for a metric of a whole set).
        p: Holm-corrected p-value of "no difference", where a test could decide.
    """

    dataset: str
    method: str
    metric: str
    state: State
    reason: str
    reference: float | None
    found: float | None
    images: int
    p: float | None = None


@dataclass(frozen=True)
class GateVerdict:
    """Everything the gate has to say.

    Attributes:
        rows: the cells that were judged; none when `problems` says why not.
        problems: why nothing could be judged.
        notes: what else is different or was left out.
    """

    rows: tuple[Judged, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Judged, ...]:
        return tuple(row for row in self.rows if row.state == "fail")

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 2 could not judge."""
        return 2 if self.problems or not self.rows else int(bool(self.failed))

    def as_json(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "rows": [_finite(asdict(row)) for row in self.rows],
        }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: it becomes text."""
    return {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }


def default_policy(tolerance: Tolerance, measured: Measured) -> Policy:
    """One tolerance for all; metrics of a whole set get one that needs no test."""
    scoped = [
        ScopedTolerance(metric=name, kind="relative", amount=SET_RELATIVE)
        for name, metric in measured.metrics.items()
        if metric.kind == "set" and tolerance.kind == "statistical"
    ]
    return Policy(tolerance=tolerance, tolerances=scoped)


def judge(
    reference: Reference,
    found: Measured,
    unavailable: Mapping[str, str],
    part: Collection[str] = (),
) -> GateVerdict:
    """Judge what was measured.

    Args:
        unavailable: method or metric that was asked for and cannot run here -> why.
        part: of which of "datasets", "methods" and "metrics" only some were asked for, by name;
            of the others all that the reference holds must be there.
    """
    known = reference.measured
    problems = _incomparable(known, found, unavailable)
    problems += _unlike_names(known, found, unavailable, part)
    cells = _cells(reference, found)
    problems += filter(None, map(_unheld, cells))
    if not cells and not problems:
        problems = ["nothing that the reference holds was measured; name methods that it has"]
    problems += filter(None, map(_untestable, cells))
    if problems:
        return GateVerdict((), tuple(problems))
    p = _p_values(cells)
    rows = tuple(_judged(reference, cell, p) for cell in cells)
    return GateVerdict(rows, notes=(*_notes(known, found), *_power(cells, len(p))))


# -- a cell --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    """What the reference holds of one cell, beside what was measured."""

    known: MeasuredCell
    found: MeasuredCell
    metric: MetricPrint
    tolerance: Tolerance
    photographs: Mapping[str, str]

    @property
    def key(self) -> CellKey:
        return self.known.key

    @property
    def name(self) -> str:
        return " / ".join(map(printable, self.key))

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
        return mean({i: before for i, (before, _) in self.values.items()})

    @property
    def after(self) -> float | None:
        return mean({i: after for i, (_, after) in self.values.items()})

    @cached_property
    def changes(self) -> np.ndarray | None:
        """(n, 1) changes of the photographs, else images, where a test shall and can judge them."""
        values = np.array(list(self.values.values()), dtype=np.float64).reshape(-1, 2)
        if self.tolerance.kind != "statistical" or not np.isfinite(values).all():
            return None
        rows = by_group(values[:, 1:] - values[:, :1], numbered(self.values, self.photographs))
        return rows if len(rows) >= MIN_IMAGES else None

    @property
    def worse_by(self) -> float:
        """By how much the mean is worse; negative when it is better."""
        change = _change(self.before or 0.0, self.after or 0.0)
        return change if self.metric.better == "lower" else -change

    @property
    def amount(self) -> float:
        given = self.tolerance.amount
        return 10.0 ** -(self.metric.digits + 1) if given is None else given

    def number(self, value: float) -> str:
        return f"{value:.{self.metric.digits + 2}f}"

    def counted(self, images: Collection[str]) -> str:
        """How many images, and of how many photographs, in words."""
        return f"{len(images)} images{of_photographs(len(images), self.independent(images))}"

    def independent(self, images: Collection[str]) -> int:
        groups = numbered(images, self.photographs)
        return len(images) if groups is None else int(groups.max()) + 1


def _change(before: float, after: float) -> float:
    return 0.0 if before == after else after - before


def _cells(reference: Reference, found: Measured) -> list[_Cell]:
    """Everything that was asked for and the reference or the measurement has."""
    known = reference.measured
    held, here = known.cells(), found.cells()
    groups = {**known.groups, **found.groups}
    return [
        _Cell(
            held.get(key) or MeasuredCell(dataset=key[0], method=key[1], metric=key[2]),
            here.get(key) or MeasuredCell(dataset=key[0], method=key[1], metric=key[2]),
            known.metrics.get(key[2]) or found.metrics[key[2]],
            reference.tolerance_of(*key),
            groups.get(key[0], {}),
        )
        for key in dict.fromkeys([*held, *(k for k, cell in here.items() if _scored(cell))])
        if all(name in getattr(found, what) for what, name in zip(KINDS, key, strict=True))
    ]


# -- whether it can be judged --------------------------------------------------------------------


def _incomparable(known: Measured, found: Measured, unavailable: Mapping[str, str]) -> list[str]:
    problems = [
        f"{what}: {was} in the reference, {now} here"
        for what, was, now in (
            ("suite", known.suite or "a folder", found.suite or "a folder"),
            ("seed", known.seed, found.seed),
            ("scale", known.scale, found.scale),
        )
        if was != now
    ]
    problems += unlike(known, found, "in the reference", "here")
    problems += [f"{name}: {reason}" for name, reason in unavailable.items()]
    return [printable(problem) for problem in problems]


def _unlike_names(
    known: Measured, found: Measured, unavailable: Mapping[str, str], part: Collection[str]
) -> Iterator[str]:
    """Names that only one of the two has, though both should."""
    for what in KINDS:
        held, here = getattr(known, what), getattr(found, what)
        for name in sorted(here.keys() - held.keys() - unavailable.keys()):
            yield printable(f"{what}: {name} is not in the reference; {WRITE_ANEW}")
        for name in sorted(held.keys() - here.keys() - unavailable.keys()):
            if what not in part:
                yield printable(f"{what}: {name} is in the reference and was not measured here")


def _unheld(cell: _Cell) -> str:
    """Scores that the reference should hold, since they are there now or it has their place."""
    absent = sorted(_scored(cell.found) - _scored(cell.known))
    if absent and absent != [""]:
        count = f"{len(absent)} of {len(cell.found.images)} scores"
        return f"{cell.name}: {count} are not in the reference ({_named(absent)}); {WRITE_ANEW}"
    if absent or not _scored(cell.known):
        return f"{cell.name}: {NO_SCORE}; {WRITE_ANEW}"
    return ""


def _scored(cell: MeasuredCell) -> set[str]:
    """The images that have a score; of a whole set, which has one, ""."""
    return set(cell.images) or ({""} if cell.mean is not None else set())


def _named(images: Sequence[str]) -> str:
    return ", ".join(map(printable, images[:NAMED])) + (", …" if len(images) > NAMED else "")


def _untestable(cell: _Cell) -> str:
    """Why a cell that shall be tested cannot be."""
    images = cell.known.images
    if cell.tolerance.kind != "statistical" or cell.independent(images) >= MIN_IMAGES:
        return ""
    what = cell.counted(images) if images else "one value for the whole set"
    return (
        f"{cell.name}: {what}, a paired test needs {MIN_IMAGES} "
        "images; give it kind 'same', 'absolute' or 'relative' under [[tolerances]]"
    )


def _notes(known: Measured, found: Measured) -> list[str]:
    notes = []
    for name, method in known.methods.items():
        if name in found.methods and found.methods[name].sha256 != method.sha256:
            notes.append(
                f"method {name} is another than in the reference (code, settings or weights)"
            )
    for what in KINDS:
        absent = sorted(getattr(known, what).keys() - getattr(found, what).keys())
        if absent:
            notes.append(f"{what} of the reference not asked for: {', '.join(absent)}")
    return [printable(note) for note in notes]


def _power(cells: Sequence[_Cell], tests: int) -> Iterator[str]:
    """Which change of each dataset and metric the tests find; from how the scores changed now."""
    changes: dict[tuple[str, str], list[np.ndarray]] = {}
    for cell in cells:
        if cell.changes is not None:
            changes.setdefault((cell.key[0], cell.key[2]), []).append(cell.changes)
    for (dataset, metric), columns in changes.items():
        spreads = [spread for c in columns if not math.isnan(spread := typical_spread(c))]
        n = len(columns[0])
        if spreads:
            least = least_difference(float(np.median(spreads)), n, tests)
            said = f"a change of {least:.3g} is found in {POWER:.0%} of cases"
        else:
            said = "no score changed, so nothing tells which change would be found"
        yield printable(f"{dataset} / {metric}, n = {n}: {said}")


# -- judging -------------------------------------------------------------------------------------


def _p_values(cells: Sequence[_Cell]) -> dict[CellKey, float]:
    """Holm-corrected p-values of the cells that a test decides.

    All of them are one family, unlike in a table: one cell that fails by chance fails the gate.
    NaN where too few images differ for a test.
    """
    raw = {c.key: float(paired(c.changes).p()[0]) for c in cells if c.changes is not None}
    return dict(zip(raw, corrected(np.array(list(raw.values()))).tolist(), strict=True))


def _judged(reference: Reference, cell: _Cell, tests: Mapping[CellKey, float]) -> Judged:
    p = tests.get(cell.key)
    reasons = _missing(cell.known, cell.found, reference.allowed_missing)
    if cell.values:
        if cell.tolerance.kind == "statistical":
            reasons += _statistical(cell, p, len(tests))
        else:
            reasons += _same(cell) if cell.tolerance.kind == "same" else _worse(cell)
    reasons += _below_floors(reference, cell)
    return Judged(
        *cell.key,
        state="fail" if reasons else "pass",
        reason="; ".join(reasons),
        reference=cell.before,
        found=cell.after,
        images=0 if cell.metric.kind == "set" else len(cell.values),
        p=None if p is None or math.isnan(p) else p,
    )


def _missing(known: MeasuredCell, found: MeasuredCell, allowed: int) -> list[str]:
    if not known.images:
        why = next(iter(found.missing.values()), "none was measured")
        return [] if found.mean is not None else [f"no value: {printable(why)}"]
    absent = [image for image in known.images if image not in found.images]
    if len(absent) <= allowed:
        return []
    why = printable(found.missing.get(absent[0], ""))
    count = f"{len(absent)} of {len(known.images)} images have no score, {allowed} allowed"
    return [f"{count}: {_named(absent)}" + (f" ({why})" if why else "")]


def _same(cell: _Cell) -> list[str]:
    amount = cell.amount
    moves = {i: abs(_change(*values)) for i, values in cell.values.items()}
    moved = [image for image, by in moves.items() if not by <= amount]
    if not moved:
        return []
    most = max(moved, key=lambda image: moves[image])
    values = " -> ".join(map(cell.number, cell.values[most]))
    where = f"{len(moved)} of {len(moves)} images moved by more than {amount:g}, most: "
    what = f"{where}{printable(most)} {values}" if most else f"moved by more than {amount:g}"
    by = cell.worse_by
    if by > 0:
        return [f"{what}; mean worse by {cell.number(by)}"]
    better = f"mean better by {cell.number(-by)}"
    return [f"{what}; {better}: if that is meant, run with --update"]


def _worse(cell: _Cell) -> list[str]:
    relative = cell.tolerance.kind == "relative"
    allowed = cell.amount * (abs(cell.before or 0.0) if relative else 1.0)
    if cell.worse_by <= allowed:
        return []
    return [f"mean worse by {cell.number(cell.worse_by)}, {allowed:.3g} allowed"]


def _statistical(cell: _Cell, p: float | None, tests: int) -> list[str]:
    if not cell.worse_by > cell.amount:
        return []
    by = f"mean worse by {cell.number(cell.worse_by)} over {cell.counted(cell.values)}"
    if p is None:
        return [f"{by}; no test is possible, since scores are infinite or images are missing"]
    if not p < cell.tolerance.alpha:
        return []
    return [f"{by} (paired test, Holm over {tests}: p = {p:.2g})"]


def _below_floors(policy: Policy, cell: _Cell) -> list[str]:
    now, higher = cell.after, cell.metric.better == "higher"
    reasons = []
    for floor in (floor for floor in policy.floors if floor.covers(*cell.key)):
        if now is None:
            reasons.append(f"no mean to hold against the floor {floor.value:g}")
        elif (now < floor.value) if higher else (now > floor.value):
            side = "below the floor" if higher else "above the ceiling"
            reasons.append(f"mean {now:.{cell.metric.digits}f} is {side} {floor.value:g}")
    return reasons


def keep_scores(measured: Measured) -> Measured:
    """What a reference keeps: cells with scores, and what they belong to, without reasons."""
    scored = [cell for cell in measured.scores if cell.mean is not None]
    return measured.of_cells([cell.model_copy(update={"missing": {}}) for cell in scored])
