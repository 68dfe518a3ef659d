"""The table of what is compared; the measuring itself is nobody's test."""

import importlib
import math
import re
from pathlib import Path

import pytest
from conftest import ROOT

from bench.methods.find import find


def test_a_ratio_that_fell_by_a_quarter_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table = importlib.import_module("table").table
    rows = [("score", "pyiqa", 10.0, 1.0), ("FID", "clean-fid", 10.0, 2.0), ("new", "x", 3.0, 1.0)]
    found = table(rows, {"score, pyiqa": 12.0, "FID, clean-fid": 7.0})
    assert found["ratio"].tolist() == [10, 5, 3]
    assert found["limit"].tolist()[:2] == [9, 5.25] and math.isnan(found["limit"][2])
    assert found["fell"].tolist() == [False, True, False]


def test_what_a_gpu_does_is_a_row_for_each_metric_and_method(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(gpu.metrics, "names", lambda: ["psnr_y", "lpips"])
    monkeypatch.setattr(gpu, "all_methods", lambda: {"bicubic": find("bicubic").card})
    gpu.main("cpu", side=64, seconds=0)
    shown = capsys.readouterr()
    number = r" +[\d.,]+"
    assert re.search(rf"psnr_y{number * 3}$", shown.out, re.M), shown.out
    assert re.search(rf"bicubic{number * 2} +-$", shown.out, re.M), shown.out
    assert "not here, see cassr-bench list: lpips\n" in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines()) and not shown.err
