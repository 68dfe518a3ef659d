"""Numbers that a caller gives, of any library."""

import math
import operator
from numbers import Real
from typing import Any


def integer(value: Any, name: str) -> int:
    """An integer of any library; ValueError: something else, True and 3.0 among them."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name}={value!r}: expected an integer")


def at_least_one(value: Any, name: str) -> int:
    """An integer above 0. Raises ValueError: something else."""
    if (number := integer(value, name)) < 1:
        raise ValueError(f"{name}={value!r}: expected at least 1")
    return number


def finite(value: Any, name: str) -> float:
    """A finite number, no NaN; an int stays one. Raises ValueError: something else."""
    value = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r}: expected a finite number")
    return value if isinstance(value, int) else float(value)
