"""The gate's reference on disk: what may change (a policy, kept by hand; in TOML it stands first
and stays byte for byte) and what was measured, written anew below the marker."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, model_validator

from bench.base.cards import Natural, checked, parse_toml, read_text
from bench.base.errors import BenchError, CardError
from bench.base.records import write_atomic
from bench.base.text import printable
from bench.exchange.measured import ExchangeCard, Measured

MARKER = "# ---- measured: written by `cassr-bench gate --update`; do not edit below ----"
MAX_BYTES = 256 * 2**20
DIGITS = 12
"""Significant digits kept of a score; far more than two machines agree on."""

Kind = Literal["same", "absolute", "relative", "statistical"]


class Tolerance(ExchangeCard):
    """How much a score may change.

    Attributes:
        kind: "same": no image's score moves by more than `amount`, neither way (a rerun);
            "absolute": the mean is worse by at most `amount`;
            "relative": the mean is worse by at most `amount` times the reference's;
            "statistical": fails only when a paired test over the images says worse, at level
            `alpha` after Holm's correction, and the mean is worse by more than `amount`.
        amount: default for "same" and "statistical": a tenth of the last digit in tables.
    """

    kind: Kind = "same"
    amount: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    alpha: float = Field(default=0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _has_amount(self) -> "Tolerance":
        if self.kind in ("absolute", "relative") and self.amount is None:
            raise ValueError(f"kind '{self.kind}' needs an amount")
        return self


class Scope(ExchangeCard):
    """The cells something is meant for; "" means any."""

    dataset: str = ""
    method: str = ""
    metric: str = ""

    def covers(self, dataset: str, method: str, metric: str) -> bool:
        own = (self.dataset, self.method, self.metric)
        return all(a in ("", b) for a, b in zip(own, (dataset, method, metric), strict=True))


class ScopedTolerance(Scope, Tolerance):
    """A tolerance for some cells."""


class Floor(Scope):
    """A mean that must be reached whatever the reference says; a ceiling where lower is better."""

    metric: str = Field(min_length=1)
    value: float = Field(allow_inf_nan=False)


class Policy(ExchangeCard):
    """What may change: `allowed_missing` images of a cell may have lost their scores; of
    `tolerances` the first that covers a cell counts, else `tolerance`, of `floors` all do."""

    allowed_missing: Natural = 0
    tolerance: Tolerance = Field(default_factory=Tolerance)
    tolerances: list[ScopedTolerance] = Field(default_factory=list)
    floors: list[Floor] = Field(default_factory=list)

    def tolerance_of(self, dataset: str, method: str, metric: str) -> Tolerance:
        named = (t for t in self.tolerances if t.covers(dataset, method, metric))
        return next(named, self.tolerance)


class Reference(Policy):
    """A policy and what it is applied to."""

    measured: Measured


def read_reference(path: Path) -> Reference:
    """Read a reference, TOML or JSON by the file's suffix; CardError: unreadable, too large, a
    field or scope that is unknown or wrong."""
    reference = checked(path, _parse(path, _read_text(path)), Reference)
    cells = reference.measured.cells()
    for scope in (*reference.tolerances, *reference.floors):
        if not any(scope.covers(*key) for key in cells):  # it would loosen nothing or everything
            named = printable(", ".join(filter(None, (scope.dataset, scope.method, scope.metric))))
            why = f"nothing in the reference is called '{named}'; mend the name or remove the entry"
            raise CardError(f"{printable(path)}: tolerances, floors: {why}")
    return reference


def _require_suffix(path: Path) -> None:
    if path.suffix not in (".toml", ".json"):
        raise CardError(f"{printable(path)}: a reference is a file .toml or .json")


def _read_text(path: Path) -> str:
    _require_suffix(path)
    try:
        return read_text(path, MAX_BYTES)
    except CardError as error:
        if path.exists():
            raise
        raise CardError(f"{error}; `cassr-bench gate ... --update` writes one") from error


def _parse(path: Path, text: str) -> Any:
    if path.suffix == ".toml":
        return parse_toml(path, text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(f"{printable(path)}: is not valid JSON ({printable(error)})") from error


def require_writable(path: Path) -> None:
    """Raise BenchError, before any work, for a file that `write_reference` would not write."""
    _require_suffix(path)
    if path.suffix == ".toml" and path.exists():
        _kept_policy(path)


def write_reference(path: Path, measured: Measured, policy: Policy) -> None:
    """Write a reference; the policy of a TOML file that is there stays as it was written.
    CardError: another suffix."""
    _require_suffix(path)
    body = {"measured": _plain(measured.model_dump(mode="json", exclude_defaults=True))}
    if path.suffix == ".json":
        whole = {**policy.model_dump(mode="json", exclude_defaults=True), **body}
        text = json.dumps(whole, indent=1, ensure_ascii=True) + "\n"
    else:
        text = f"{_head(path, policy)}{MARKER}\n\n{tomli_w.dumps(body)}"
    write_atomic(path, text)


def _head(path: Path, policy: Policy) -> str:
    """The policy as it stands in the file, else as new TOML."""
    if path.exists():
        return _kept_policy(path)
    values = {"allowed_missing": policy.allowed_missing, **policy.model_dump(exclude_defaults=True)}
    values["tolerance"] = policy.tolerance.model_dump(exclude_none=True, exclude={"alpha"})
    intro = "# What may change: yours to edit (docs/gate.md); `gate --update` keeps it.\n"
    return f"{intro}{tomli_w.dumps(_plain(values))}\n"


def _kept_policy(path: Path) -> str:
    _read_text(path)  # it is a text, and not too large
    head, marker, _ = path.read_bytes().decode("utf-8").partition(MARKER)
    if not marker:
        expected = f"expected the line '{MARKER}' before what was measured, found none"
        raise BenchError(f"{printable(path)}: {expected}; put it back or give another file")
    return head


def _plain(value: Any) -> Any:
    """Numbers in `DIGITS`; no nulls, which TOML has not: what is left out reads as its default."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return value
