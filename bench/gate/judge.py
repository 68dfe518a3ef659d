"""The gate: what was measured now against a reference, cell by cell; unlike things are refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bench.base.text import printable
from bench.exchange.measured import CellKey, Measured, MeasuredCell, MetricPrint, mean, unlike
from bench.gate.reference import Policy, Reference, ScopedTolerance, Tolerance
from bench.results.bootstrap import MIN_IMAGES, corrected
from bench.results.paired import by_group, compare, numbered, of_photographs
from bench.results.power import POWER, least_difference, typical_spread

State = Literal["pass", "fail"]
KINDS = ("datasets", "methods", "metrics")
"""What makes a cell, in the order of its key."""
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
    pairs = _pairs(known, found)
    problems += _unheld(pairs)
    if not pairs and not problems:
        problems = ["nothing that the reference holds was measured; name methods that it has"]
    groups = {**known.groups, **found.groups}
    problems += _untestable(reference, pairs, groups)
    if problems:
        return GateVerdict((), tuple(problems))
    p = _p_values(reference, pairs, groups)
    rows = tuple(_judged(reference, key, *pair, p, groups) for key, pair in pairs.items())
    notes = [*_notes(known, found), *_power(reference, pairs, groups, len(p))]
    return GateVerdict(rows, notes=tuple(notes))


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


Pairs = Mapping[CellKey, tuple[MeasuredCell, MeasuredCell]]
Groups = Mapping[str, Mapping[str, str]]
"""Dataset -> image -> photograph."""


def _pairs(known: Measured, found: Measured) -> dict[CellKey, tuple[MeasuredCell, MeasuredCell]]:
    """(in the reference, measured) of everything that was asked for and either has."""
    held, here = known.cells(), found.cells()
    return {
        key: (held.get(key) or _empty(key), here.get(key) or _empty(key))
        for key in dict.fromkeys([*held, *(k for k, cell in here.items() if _scored(cell))])
        if all(name in getattr(found, what) for what, name in zip(KINDS, key, strict=True))
    }


def _empty(key: CellKey) -> MeasuredCell:
    return MeasuredCell(dataset=key[0], method=key[1], metric=key[2])


def _unheld(pairs: Pairs) -> Iterator[str]:
    """Scores that the reference should hold, since they are there now or it has their place."""
    for key, (known, found) in pairs.items():
        absent = sorted(_scored(found) - _scored(known))
        where = " / ".join(map(printable, key))
        if absent and absent != [""]:
            count = f"{len(absent)} of {len(found.images)} scores"
            yield f"{where}: {count} are not in the reference ({_named(absent)}); {WRITE_ANEW}"
        elif absent or not _scored(known):
            yield f"{where}: {NO_SCORE}; {WRITE_ANEW}"


def _scored(cell: MeasuredCell) -> set[str]:
    """The images that have a score; of a whole set, which has one, ""."""
    return set(cell.images) or ({""} if cell.mean is not None else set())


def _named(images: Sequence[str]) -> str:
    return ", ".join(map(printable, images[:NAMED])) + (", …" if len(images) > NAMED else "")


def _untestable(reference: Reference, pairs: Pairs, groups: Groups) -> list[str]:
    """Cells that shall be tested and have too little to test."""
    problems = []
    for key, (cell, _) in pairs.items():
        count = _count(cell.images, numbered(cell.images, groups.get(key[0], {})))
        if reference.tolerance_of(*key).kind == "statistical" and count < MIN_IMAGES:
            images = len(cell.images)
            shown = f"{images} images{of_photographs(images, count)}"
            what = shown if images else "one value for the whole set"
            problems.append(
                f"{' / '.join(map(printable, key))}: {what}, a paired test needs {MIN_IMAGES} "
                "images; give it kind 'same', 'absolute' or 'relative' under [[tolerances]]"
            )
    return problems


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


def _power(reference: Reference, pairs: Pairs, groups: Groups, tests: int) -> Iterator[str]:
    """Which change of each dataset and metric the tests find; from how the scores changed now."""
    changes: dict[tuple[str, str], list[np.ndarray]] = {}
    for key, pair in pairs.items():
        if reference.tolerance_of(*key).kind == "statistical":
            common = _common(*pair)
            before, after = map(_array, common)
            own = numbered(common[0], groups.get(key[0], {}))
            if np.isfinite(after - before).all() and _count(before, own) >= MIN_IMAGES:
                change = by_group((after - before)[:, None], own)
                changes.setdefault((key[0], key[2]), []).append(change)
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


def _common(known: MeasuredCell, found: MeasuredCell) -> tuple[dict[str, float], dict[str, float]]:
    """The values of the images that both have; of a whole set, its one value."""
    if not known.images and known.mean is not None and found.mean is not None:
        return {"": known.mean}, {"": found.mean}
    ids = [image for image in known.images if image in found.images]
    return {i: known.images[i] for i in ids}, {i: found.images[i] for i in ids}


def _change(before: float, after: float) -> float:
    return 0.0 if before == after else after - before


def _p_values(reference: Reference, pairs: Pairs, groups: Groups) -> dict[CellKey, float]:
    """Holm-corrected p-values of the cells that a test decides.

    All of them are one family, unlike in a table: one cell that fails by chance fails the gate.
    NaN where too few images differ for a test.
    """
    raw = {}
    for key, pair in pairs.items():
        common = _common(*pair)
        before, after = map(_array, common)
        finite = bool(np.isfinite(before).all() and np.isfinite(after).all())
        if reference.tolerance_of(*key).kind != "statistical" or not finite:
            continue
        own = numbered(common[0], groups.get(key[0], {}))
        if _count(before, own) >= MIN_IMAGES:
            raw[key] = compare(after, before, own).p
    return dict(zip(raw, corrected(np.array(list(raw.values()))).tolist(), strict=True))


def _count(values: Sized, groups: np.ndarray | None) -> int:
    """How many are independent: photographs, else images."""
    return len(values) if groups is None else int(groups.max()) + 1


def _array(values: Mapping[str, float]) -> np.ndarray:
    return np.array(list(values.values()), dtype=np.float64)


def _judged(
    reference: Reference,
    key: CellKey,
    known: MeasuredCell,
    found: MeasuredCell,
    tests: Mapping[CellKey, float],
    groups: Groups,
) -> Judged:
    metric = reference.measured.metrics[key[2]]
    before, after = _common(known, found)
    p = tests.get(key)
    reasons = _missing(known, found, reference.allowed_missing)
    if before:
        tolerance = reference.tolerance_of(*key)
        count = _count(before, numbered(before, groups.get(key[0], {})))
        change = _Change(
            before,
            after,
            metric,
            p,
            len(tests),
            f"{len(before)} images{of_photographs(len(before), count)}",
        )
        reasons += JUDGES[tolerance.kind](change, tolerance)
    reasons += _below_floors(reference, key, after, metric)
    return Judged(
        *key,
        state="fail" if reasons else "pass",
        reason="; ".join(reasons),
        reference=mean(before),
        found=mean(after),
        images=0 if metric.kind == "set" else len(before),
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


@dataclass(frozen=True)
class _Change:
    """How the scores of one cell changed, image by image; `p` is one of so many `tests`.

    `images` says in words how many there are.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    metric: MetricPrint
    p: float | None
    tests: int
    images: str

    @property
    def worse_by(self) -> float:
        """By how much the mean is worse; negative when it is better."""
        change = _change(mean(self.before) or 0.0, mean(self.after) or 0.0)
        return change if self.metric.better == "lower" else -change

    def amount(self, tolerance: Tolerance) -> float:
        given = tolerance.amount
        return 10.0 ** -(self.metric.digits + 1) if given is None else given

    def number(self, value: float) -> str:
        return f"{value:.{self.metric.digits + 2}f}"


def _same(change: _Change, tolerance: Tolerance) -> list[str]:
    amount = change.amount(tolerance)
    moves = {i: abs(_change(change.before[i], change.after[i])) for i in change.before}
    moved = [image for image, by in moves.items() if not by <= amount]
    if not moved:
        return []
    most = max(moved, key=lambda image: moves[image])
    values = f"{change.number(change.before[most])} -> {change.number(change.after[most])}"
    where = f"{len(moved)} of {len(moves)} images moved by more than {amount:g}, most: "
    what = f"{where}{printable(most)} {values}" if most else f"moved by more than {amount:g}"
    by = change.worse_by
    hint = (
        f"; mean worse by {change.number(by)}"
        if by > 0
        else (f"; mean better by {change.number(-by)}: if that is meant, run with --update")
    )
    return [what + hint]


def _absolute(change: _Change, tolerance: Tolerance) -> list[str]:
    return _worse(change, change.amount(tolerance))


def _relative(change: _Change, tolerance: Tolerance) -> list[str]:
    return _worse(change, change.amount(tolerance) * abs(mean(change.before) or 0.0))


def _worse(change: _Change, allowed: float) -> list[str]:
    if change.worse_by <= allowed:
        return []
    return [f"mean worse by {change.number(change.worse_by)}, {allowed:.3g} allowed"]


def _statistical(change: _Change, tolerance: Tolerance) -> list[str]:
    if not change.worse_by > change.amount(tolerance):
        return []
    by = f"mean worse by {change.number(change.worse_by)} over {change.images}"
    if change.p is None:
        return [f"{by}; no test is possible, since scores are infinite or images are missing"]
    if not change.p < tolerance.alpha:
        return []
    return [f"{by} (paired test, Holm over {change.tests}: p = {change.p:.2g})"]


JUDGES = {
    "same": _same,
    "absolute": _absolute,
    "relative": _relative,
    "statistical": _statistical,
}


def _below_floors(
    policy: Policy, key: CellKey, after: Mapping[str, float], metric: MetricPrint
) -> list[str]:
    now = mean(after)
    reasons = []
    for floor in (floor for floor in policy.floors if floor.covers(*key)):
        if now is None:
            reasons.append(f"no mean to hold against the floor {floor.value:g}")
        elif (now < floor.value) if metric.better == "higher" else (now > floor.value):
            side = "below the floor" if metric.better == "higher" else "above the ceiling"
            reasons.append(f"mean {now:.{metric.digits}f} is {side} {floor.value:g}")
    return reasons


def keep_scores(measured: Measured) -> Measured:
    """What a reference keeps: cells with scores, and what they belong to, without reasons."""
    cells: Sequence[MeasuredCell] = [
        cell.model_copy(update={"missing": {}}) for cell in measured.scores if cell.mean is not None
    ]
    used = {what: {getattr(c, what) for c in cells} for what in ("dataset", "method", "metric")}
    return measured.model_copy(
        update={
            "datasets": {k: v for k, v in measured.datasets.items() if k in used["dataset"]},
            "methods": {k: v for k, v in measured.methods.items() if k in used["method"]},
            "metrics": {k: v for k, v in measured.metrics.items() if k in used["metric"]},
            "scores": list(cells),
        }
    )
