"""When two scores of whole sets may be compared, and the features that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.base.errors import DataError
from bench.base.types import MetricSpec

if TYPE_CHECKING:
    from bench.metrics.frechet import Features


@dataclass(frozen=True)
class SetSize:
    """What each of the two sets held: images, and feature vectors, one per image or patch."""

    images: int
    rows: int


def incomparable(spec: MetricSpec, here: int | None, there: int | None) -> str:
    """Why two scores of whole sets of so many images, or patches, may not be compared; "" when
    they may; None where a number is not stated."""
    if spec.kind != "set" or spec.unbiased or (here is not None and here == there):
        return ""
    if here is None or there is None:
        known = f" (n = {here or there} {'there' if here is None else 'here'})"
        unknown = "here" if here is None else "there"
        return f"{spec.title} depends on n, which is not stated {unknown}{known}"
    return f"{spec.title} depends on n: {here} here, {there} there"


def stacked(sets: Sequence[Sequence[Features]]) -> tuple[list[Features], SetSize]:
    """(rows, d) of features for each of two sets, from its images' (d,) or (k, d), and their size;
    DataError where they have different numbers of rows."""
    import numpy as np

    arrays = [np.concatenate([np.atleast_2d(rows) for rows in features]) for features in sets]
    sizes = {SetSize(len(features), len(a)) for features, a in zip(sets, arrays, strict=True)}
    if len(sizes) != 1:
        counts = " and ".join(str(len(array)) for array in arrays)
        raise DataError(f"the SR and the HR set have different numbers of features: {counts}")
    return arrays, sizes.pop()
