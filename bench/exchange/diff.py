"""What is different between two results: fingerprints, methods, and scores beyond tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.base.text import printable
from bench.exchange.measured import KINDS, Measured, MeasuredCell, MetricPrint, unlike


@dataclass(frozen=True)
class Change:
    """A cell whose scores differ.

    Attributes:
        before, after: means; None where there is none.
        moved: images whose score differs by more than the tolerance, or which only one side has.
        images: that either side has.
    """

    dataset: str
    method: str
    metric: str
    before: float | None
    after: float | None
    moved: int
    images: int
    digits: int

    def line(self) -> str:
        where = f"{self.dataset} / {self.method} / {self.metric}"
        counted = f" ({self.moved} of {self.images} images)" if self.images else ""
        return printable(f"{where}: {self._mean(self.before)} -> {self._mean(self.after)}{counted}")

    def _mean(self, value: float | None) -> str:
        return "none" if value is None else f"{value:.{self.digits + 2}f}"


@dataclass(frozen=True)
class Difference:
    """Everything that differs.

    Attributes:
        fingerprints: what the scores depend on, a line each.
        names: methods, datasets and metrics that only one side has, a line each.
        changes: cells that both have, beyond tolerance.
        equal: how many cells agree.
    """

    fingerprints: tuple[str, ...]
    names: tuple[str, ...]
    changes: tuple[Change, ...]
    equal: int

    def __bool__(self) -> bool:
        return bool(self.fingerprints or self.names or self.changes)

    def lines(self) -> list[str]:
        summary = f"{self.equal} cells equal, {len(self.changes)} changed"
        return [*self.fingerprints, *self.names, *(c.line() for c in self.changes), summary]

    def as_json(self) -> dict[str, Any]:
        return {
            "fingerprints": list(self.fingerprints),
            "names": list(self.names),
            "changes": [change.line() for change in self.changes],
            "equal": self.equal,
        }


def difference(a: Measured, b: Measured, tolerance: float | None = None) -> Difference:
    """Compare two results.

    Args:
        tolerance: how far an image's score may move; default: a tenth of the last digit in tables.
    """
    first, second = a.cells(), b.cells()
    shared = [key for key in first if key in second]
    metrics = {**b.metrics, **a.metrics}
    found = [_change(first[k], second[k], metrics.get(k[2]), tolerance) for k in shared]
    changes = tuple(change for change in found if change is not None)
    equal = len(shared) - len(changes)
    return Difference(tuple(_fingerprints(a, b)), tuple(_names(a, b)), changes, equal)


def _change(
    a: MeasuredCell, b: MeasuredCell, metric: MetricPrint | None, tolerance: float | None
) -> Change | None:
    digits = metric.digits if metric else 4
    amount = 10.0 ** -(digits + 1) if tolerance is None else tolerance
    ids = a.images.keys() | b.images.keys()
    moved = sum(_moved(a.images.get(i), b.images.get(i), amount) for i in ids)
    if not moved and (ids or not _moved(a.mean, b.mean, amount)):
        return None
    return Change(*a.key, a.mean, b.mean, moved, len(ids), digits)


def _moved(a: float | None, b: float | None, amount: float) -> bool:
    if a is None or b is None:
        return a is not b
    return a != b and not abs(a - b) <= amount


def _fingerprints(a: Measured, b: Measured) -> Iterator[str]:
    for what in ("suite", "seed", "scale"):
        before, after = getattr(a, what), getattr(b, what)
        if before != after:
            yield f"{what}: {printable(before)} -> {printable(after)}"
    yield from unlike(a, b, "before", "after")
    for name in a.methods.keys() & b.methods.keys():
        before, after = a.methods[name].sha256, b.methods[name].sha256
        if before != after:
            yield f"method {printable(name)}: fingerprint {before[:12]} -> {after[:12]}"


def _names(a: Measured, b: Measured) -> Iterator[str]:
    for what in KINDS:
        before, after = getattr(a, what).keys(), getattr(b, what).keys()
        for state, names in (("removed", before - after), ("added", after - before)):
            if names:
                yield f"{what} {state}: {', '.join(map(printable, sorted(names)))}"
