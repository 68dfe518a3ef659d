"""What is different between two results: fingerprints, methods, and scores beyond tolerance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.base.text import printable
from bench.exchange.measured import KINDS, CellKey, Measured, MeasuredCell, MetricPrint, unlike


@dataclass(frozen=True)
class Difference:
    """Everything that differs, a line each: `fingerprints`, what the scores depend on; `names`,
    methods, datasets and metrics that only one side has; `changes`, cells that both have, beyond
    tolerance. `equal` is how many cells agree."""

    fingerprints: tuple[str, ...]
    names: tuple[str, ...]
    changes: Mapping[CellKey, str]
    equal: int

    def __bool__(self) -> bool:
        return bool(self.fingerprints or self.names or self.changes)

    def lines(self) -> list[str]:
        summary = f"{self.equal} cells equal, {len(self.changes)} changed"
        return [*self.fingerprints, *self.names, *self.changes.values(), summary]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "changes": list(self.changes.values())}


def difference(a: Measured, b: Measured, tolerance: float | None = None) -> Difference:
    """Compare two results; an image's score may move by `tolerance`, by default a tenth of the last
    digit in tables."""
    first, second = a.cells(), b.cells()
    metrics = {**b.metrics, **a.metrics}
    lines = {
        key: _change(cell, second[key], metrics.get(key[2]), tolerance)
        for key, cell in first.items()
        if key in second
    }
    changes = {key: line for key, line in lines.items() if line}
    equal = len(lines) - len(changes)
    return Difference(tuple(_fingerprints(a, b)), tuple(_names(a, b)), changes, equal)


def _change(
    a: MeasuredCell, b: MeasuredCell, metric: MetricPrint | None, tolerance: float | None
) -> str:
    """What moved: both means, and of how many images that either side has; "" for nothing."""
    digits = metric.digits if metric else 4
    amount = 10.0 ** -(digits + 1) if tolerance is None else tolerance
    ids = a.images.keys() | b.images.keys()
    moved = sum(_moved(a.images.get(i), b.images.get(i), amount) for i in ids)
    if not moved and (ids or not _moved(a.mean, b.mean, amount)):
        return ""
    before, after = (
        "none" if cell.mean is None else f"{cell.mean:.{digits + 2}f}" for cell in (a, b)
    )
    counted = f" ({moved} of {len(ids)} images)" if ids else ""
    return printable(f"{' / '.join(a.key)}: {before} -> {after}{counted}")


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
    for name in filter(b.methods.__contains__, a.methods):
        before, after = a.methods[name].sha256, b.methods[name].sha256
        if before != after:
            yield f"method {printable(name)}: fingerprint {before[:12]} -> {after[:12]}"


def _names(a: Measured, b: Measured) -> Iterator[str]:
    for what in KINDS:
        before, after = getattr(a, what).keys(), getattr(b, what).keys()
        for state, names in (("removed", before - after), ("added", after - before)):
            if names:
                yield f"{what} {state}: {', '.join(map(printable, sorted(names)))}"
