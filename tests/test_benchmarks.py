"""The table of what is compared; the measuring itself is nobody's test."""

from __future__ import annotations

import importlib
import math

import pytest
from conftest import ROOT


def test_a_ratio_that_fell_by_a_quarter_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table = importlib.import_module("table").table
    rows = [("score", "pyiqa", 10.0, 1.0), ("FID", "clean-fid", 10.0, 2.0), ("new", "x", 3.0, 1.0)]
    found = table(rows, {"score, pyiqa": 12.0, "FID, clean-fid": 7.0})
    assert found["ratio"].tolist() == [10, 5, 3]
    assert found["limit"].tolist()[:2] == [9, 5.25] and math.isnan(found["limit"][2])
    assert found["fell"].tolist() == [False, True, False]
