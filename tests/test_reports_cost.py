"""Costs: what is measured, recorded and shown, and that no other report holds it."""

import csv
import dataclasses
import mmap
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from conftest import Cli
from matplotlib.figure import Figure

from bench.base.metering import GpuMemory, machine_name, metered
from bench.reports import REPORTS, get_report, render_all
from bench.reports.cost import render, summarize_costs
from bench.reports.figures.plots import score_against
from bench.results.results import Cost, Item, Results

from . import results_example as ex

MEBI = 2**20


def with_costs() -> Results:
    methods = (
        Item("near", "Nearest"),
        Item("cubic", "Bicubic"),
        Item("net", "Net", parameters=12_400_000, steps=50),
    )
    seconds = {"a": 1.0, "b": 3.0, "c": 20.0}
    costs = [
        Cost("clean", "net", image, s, 500_000, 900 * MEBI + int(s), "cuda", "GPU | 9000", 4)
        for image, s in seconds.items()
    ]
    costs += [Cost("clean", "cubic", "a", 0.25, 1_000_000, None, "cpu", "CPU", 2)]
    costs += [Cost("real", "cubic", "a", 0.5)]
    return ex.example(methods=methods, costs=tuple(costs))


def test_medians_per_image_and_megapixel_by_machine() -> None:
    rows = summarize_costs(with_costs()).set_index(["dataset", "method"])
    net = rows.loc["clean", "net"]
    assert (net["seconds"], net["seconds_per_megapixel"], net["images"]) == (3.0, 6.0, 3)
    assert net["peak_bytes"] == 900 * MEBI + 20
    assert (net["parameters"], net["steps"]) == (12_400_000, 50)
    assert np.isnan(rows.loc["real", "cubic"]["seconds_per_megapixel"])
    assert len(rows) == 3


def test_the_page_names_machine_and_says_that_timings_vary(tmp_path: Path) -> None:
    written = render(with_costs(), tmp_path)
    page = (tmp_path / "cost.md").read_text()
    row = "| Quick (bicubic) | Net | 12.4 M | 50 | 3 | 6 | – | 0.88 GiB | 3 | cuda, GPU \\| 9000 |"
    assert row in page
    assert "| Quick (realistic) | Bicubic | – | – | 0.5 | – | – | – | 1 | – |" in page
    assert "cpu, CPU, 2 threads" in page and "Timings vary" in page
    names = [path.name for path in written]
    assert names == ["cost.csv", "cost_images.csv", "cost.md"], "of two machines nothing is drawn"
    with (tmp_path / "cost_images.csv").open() as file:
        assert [row["seconds"] for row in csv.DictReader(file)] == [
            "1.0",
            "3.0",
            "20.0",
            "0.25",
            "0.5",
        ]


def test_seconds_are_drawn_of_the_machine_where_most_methods_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[tuple[str, str], float]] = []

    def note(results: Results, seconds: dict[tuple[str, str], float], label: str) -> Figure | None:
        drawn.append(seconds)
        return score_against(results, seconds, label)

    monkeypatch.setattr("bench.reports.cost.score_against", note)
    on_gpu = [Cost("clean", m, "a", 2.0, device="cuda", machine="GPU") for m in ("cubic", "near")]
    first_alone = Cost("clean", "net", "a", first=61.5, device="cuda", machine="GPU")
    elsewhere = Cost("clean", "cubic", "b", 9.0, device="cpu", machine="CPU")
    costs = (*on_gpu, first_alone, elsewhere)
    written = render(ex.example(costs=costs), tmp_path)
    assert drawn == [{("clean", "cubic"): 2.0, ("clean", "near"): 2.0}]
    assert written[-1].name == "cost_seconds.pdf"


def test_start_up_is_told_apart_from_an_image_that_is_one_of_many() -> None:
    costs = (
        Cost("clean", "net", "a", first=61.5, device="cuda", machine="GPU"),
        *(Cost("clean", "net", image, 0.2, device="cuda", machine="GPU") for image in "bc"),
    )
    (row,) = summarize_costs(ex.example(costs=costs)).to_dict("records")
    assert (row["seconds"], row["start_up"], row["images"]) == (0.2, 61.3, 3)


def test_memory_of_another_program_is_asked_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GpuMemory("cpu").record() == {"device": "cpu", "machine": machine_name("cpu")}
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bench.base.metering.LOOK_SECONDS", 0)
    assert GpuMemory("cuda").record() == {"device": "cuda", "machine": ""}
    program, held = tmp_path / "nvidia-smi", tmp_path / "held"
    program.write_text(f'#!/bin/sh\nread held < {held}\necho "GPU 9000, $held"\n')
    program.chmod(0o755)
    held.write_text("500\n")
    memory = GpuMemory("cuda")
    for now in ("9000\n", "700\n"):
        held.write_text(now)
        memory.look()
    peak = {"peak_bytes": 8500 * MEBI}
    assert memory.record() == {"device": "cuda", "machine": "GPU 9000", **peak}


def test_without_costs_the_page_says_so(tmp_path: Path) -> None:
    written = render(ex.example(), tmp_path)
    assert "No method that ran here" in (tmp_path / "cost.md").read_text()
    assert len(written) == 3


class Unread(tuple):
    def __iter__(self) -> NoReturn:
        raise AssertionError("costs were read")

    __len__ = __getitem__ = __iter__  # type: ignore[assignment]


def test_other_reports_do_not_depend_on_costs_and_cost_is_made_when_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "cache"))
    unread = dataclasses.replace(with_costs(), costs=Unread())
    with pytest.raises(AssertionError, match="costs were read"):
        get_report("cost").load()(unread, tmp_path / "read")
    for report in REPORTS:
        if report.repeats:
            get_report(report.name).load()(unread, tmp_path / "one")
    assert not (tmp_path / "one" / "cost.md").exists()
    render_all(with_costs(), tmp_path / "named", ["cost"])
    assert (tmp_path / "named" / "cost.md").exists()


def test_a_page_made_before_the_costs_is_made_again_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "cache"))
    results, page = with_costs(), tmp_path / "out" / "html" / "index.html"
    render_all(results, tmp_path / "out", ["html"])
    assert "12.4 M" not in page.read_text()
    render_all(results, tmp_path / "out", ["cost"])
    render_all(results, tmp_path / "out", ["html"])
    assert "12.4 M" in page.read_text()
    made = page.stat().st_mtime_ns
    render_all(results, tmp_path / "out", ["html"])
    assert page.stat().st_mtime_ns == made, "nothing has changed since"
    render_all(results, tmp_path / "at once", ["html", "cost"])
    assert "12.4 M" in (tmp_path / "at once" / "html" / "index.html").read_text()


def test_a_meter_tells_seconds_and_the_peak_of_its_own_body() -> None:
    with metered("cpu"):
        pass
    with metered("cpu") as large, mmap.mmap(-1, 80 * MEBI) as fresh_pages:
        fresh_pages.write(bytes(80 * MEBI))
        time.sleep(0.05)
    with metered("cpu") as small:
        pass
    assert large["seconds"] >= 0.05 > small["seconds"]
    assert large["machine"] == machine_name("cpu") != ""
    assert large["threads"] >= 1
    if "peak_bytes" not in large:
        pytest.skip("this system does not tell the peak of a process")
    assert large["peak_bytes"] - small["peak_bytes"] > 60 * MEBI


def test_a_meter_waits_for_mps_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: told.append("waited"))
    with metered("mps"):
        told.append("worked")
    assert told == ["waited", "worked", "waited"]


def test_a_meter_lets_errors_pass() -> None:
    with pytest.raises(ValueError, match="inside"), metered("cpu") as cost:
        raise ValueError("inside")
    assert cost == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_meter_on_cuda_waits_and_counts_tensors() -> None:
    x = torch.ones(4096, 4096, device="cuda")
    with metered("cuda") as meter:
        for _ in range(20):
            y = x @ x
    del y
    started = time.perf_counter()
    torch.cuda.synchronize()
    assert time.perf_counter() - started < meter["seconds"]
    assert meter["peak_bytes"] >= 2 * 4 * 4096**2
    assert meter["machine"] == torch.cuda.get_device_name("cuda")


@pytest.mark.usefixtures("quick_sets")
def test_options_choose_reports_regions_and_originals(cli: Cli, tmp_path: Path) -> None:
    words = ("quick", "--methods", "nearest,bicubic", "--metrics", "psnr_y", "--limit", 2)
    assert cli("run", *words, "--workers", 1, "--reports", "markdown", "--out", "a").returncode == 0
    out = tmp_path / "cwd"
    assert {path.name for path in (out / "a").glob("[!.]*")} == {"table.md", "provenance.json"}
    region = ("--region", "quick-bicubic:astronaut:40,60,64")
    chosen = ("--reports", "cost,panels,html", "--no-originals", *region, "--out", "b")
    done = cli("report", *words, *chosen)
    assert done.returncode == 0, done.stderr
    panels = sorted(path.name for path in (out / "b" / "panels" / "quick-bicubic").iterdir())
    assert panels[-1] == "astronaut-40-60-64.png"
    assert not (out / "b" / "html" / "pictures").exists()
    with (out / "b" / "cost_images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and all(float(row["seconds"]) > 0 for row in rows)
    assert all(int(row["pixels"]) > 0 and row["machine"] for row in rows)
    wrong = cli("run", *words, "--region", "quick-bicubic:nobody:1,2,3")
    assert wrong.returncode == 2 and "no image 'nobody'" in wrong.stderr
    unknown = cli("run", *words, "--reports", "costs")
    assert unknown.returncode == 2 and "did you mean 'cost'" in unknown.stderr
