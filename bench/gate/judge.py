"""The gate: what was measured now against a reference, cell by cell; unlike things are refused."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bench.base.text import printable
from bench.exchange.measured import KINDS, CellKey, Measured, unlike
from bench.gate.cell import WRITE_ANEW, Cell, cells_of
from bench.gate.reference import Policy, Reference, ScopedTolerance, Tolerance
from bench.results.bootstrap import MIN_IMAGES, corrected
from bench.results.paired import paired
from bench.results.power import POWER, known_spread, least_difference, typical_spread

State = Literal["pass", "fail"]
SET_RELATIVE = 0.01
"""How much worse a metric of a whole set may be where images are tested statistically."""
ROUNDING = 1e-6
"""Scores of equal images may differ by so much between machines."""


@dataclass(frozen=True)
class Judged:
    """One cell of the reference and what became of it: means over the `images` that both have (0
    for a metric of a whole set), the reference's own where none is left, and the Holm-corrected
    p-value where a test could decide."""

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
    """The cells that were judged, or the problems for which none could be; and what else is
    different or was left out."""

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
            "rows": [asdict(row, dict_factory=_finite) for row in self.rows],
        }


def _finite(row: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """JSON has no infinity: it becomes text."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row}


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
    """Judge what was measured: `unavailable` is why a method or metric cannot run here; of what
    `part` names (of `KINDS`) only some were asked for, all others in the reference must be here."""
    known = reference.measured
    problems = _incomparable(known, found, unavailable)
    problems += _unlike_names(known, found, unavailable, part)
    cells = cells_of(reference, found)
    problems += filter(None, (cell.unheld() for cell in cells))
    if not cells and not problems:
        problems = ["nothing that the reference holds was measured; name methods that it has"]
    problems += filter(None, (cell.untestable() for cell in cells))
    if problems:
        return GateVerdict((), tuple(problems))
    p = _p_values(cells)
    rows = tuple(_judged(cell, p) for cell in cells)
    return GateVerdict(rows, notes=(*_notes(known, found), *power(cells, len(p))))


def _incomparable(known: Measured, found: Measured, unavailable: Mapping[str, str]) -> list[str]:
    settings = {what: (getattr(known, what), getattr(found, what)) for what in ("seed", "scale")}
    settings = {"suite": (known.suite or "a folder", found.suite or "a folder"), **settings}
    problems = [
        f"{what}: {was} in the reference, {now} here"
        for what, (was, now) in settings.items()
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


def _notes(known: Measured, found: Measured) -> Iterator[str]:
    for name, method in known.methods.items():
        if name in found.methods and found.methods[name].sha256 != method.sha256:
            how = "is another than in the reference (code, settings or weights)"
            yield printable(f"method {name} {how}")
    for what in KINDS:
        absent = sorted(getattr(known, what).keys() - getattr(found, what).keys())
        if absent:
            yield printable(f"{what} of the reference not asked for: {', '.join(absent)}")


def power(cells: Sequence[Cell], tests: int = 0) -> Iterator[str]:
    """Which difference of each dataset and metric a paired test finds: by how scores changed, of so
    many cells tested; else by how those of two methods differ."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in (cell for cell in cells if cell.metric.kind == "image"):
        rows.setdefault((cell.key[0], cell.key[2]), []).append(cell)
    for (dataset, metric), alike in rows.items():
        shared = [i for i in alike[0].values if all(i in cell.values for cell in alike)]
        scores = [found for cell in alike if len(found := cell.scores_of(shared))]
        said = f"unknown, {MIN_IMAGES} independent images with scores are needed"
        if scores:
            said = _found(dataset, metric, np.stack(scores, axis=1), tests)
        n = len(scores[0]) if scores else len(shared)
        yield printable(f"{dataset} / {metric}, n = {n}: {said}")


def _found(dataset: str, metric: str, scores: np.ndarray, tests: int) -> str:
    """Of scores (n, methods, 2) before and after."""
    n, methods, _ = scores.shape
    what, source = "change", "from how scores changed"
    least = least_difference(typical_spread(scores[..., 1] - scores[..., 0]), n, tests)
    if not least > ROUNDING:
        a, b = np.triu_indices(methods, 1)
        what, source = "difference", f"from those of {methods} methods"
        spread, source = known_spread(dataset, metric, scores[:, a, 1] - scores[:, b, 1], source)
        least = least_difference(spread, n, len(a))
    if math.isnan(least):
        others = "no two methods differ" if methods > 1 else "there is one method alone"
        return f"unknown, no score changed and {others}"
    return f"a paired test finds a {what} of {least:.3g} in {POWER:.0%} of cases ({source})"


def _p_values(cells: Sequence[Cell]) -> dict[CellKey, float]:
    """Holm-corrected p-values of the cells that a test decides, NaN where too few images differ;
    one family, unlike in a table: one cell that fails by chance fails the gate."""
    raw = {c.key: float(paired(np.diff(c.scores)).p()[0]) for c in cells if c.tested}
    return dict(zip(raw, corrected(np.array(list(raw.values()))).tolist(), strict=True))


def _judged(cell: Cell, tests: Mapping[CellKey, float]) -> Judged:
    p = tests.get(cell.key)
    reasons = cell.reasons(p, len(tests))
    return Judged(
        *cell.key,
        state="fail" if reasons else "pass",
        reason="; ".join(reasons),
        reference=cell.before if cell.values else cell.known.mean,
        found=cell.after,
        images=0 if cell.metric.kind == "set" else len(cell.values),
        p=None if p is None or math.isnan(p) else p,
    )


def keep_scores(measured: Measured) -> Measured:
    """What a reference keeps: cells with scores, and what they belong to, without reasons."""
    scored = [cell for cell in measured.scores if cell.mean is not None]
    return measured.of_cells([cell.model_copy(update={"missing": {}}) for cell in scored])
