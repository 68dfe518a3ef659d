"""The gate from the command line, and as the workflows of its page."""

import json
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from conftest import ROOT, Cli, plant_quick_sets
from PIL import Image

from bench.gate.reference import MARKER

# -- the command ---------------------------------------------------------------------------------

SEEDED = """
import torch

def upscale(lr, *, scale, seeds):
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + 0.1 * noise, scale_factor=scale)
"""


@pytest.mark.usefixtures("quick_sets")
def test_order_shards_and_workers_pass_and_a_seed_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cwd" / "seeded.py").write_text(SEEDED)
    names = ("--metrics", "psnr_y,ssim_y", "--datasets", "quick-bicubic", "--limit", 3)
    made = cli(
        *("gate", "quick", "--reference", "r.toml", "--update", "--workers", 1),
        *("--methods", "bicubic,seeded.py", *names),
    )
    assert made.returncode == 0, made.stderr
    assert "4 cells, all new" in made.stdout
    one = ("--methods", "bicubic", "--metrics", "psnr_y", *names[2:])
    alone = cli("gate", "quick", "--reference", "one.toml", "--update", *one)
    assert alone.returncode == 0, alone.stderr
    assert "1 cell, all new" in alone.stdout
    plant_quick_sets(tmp_path / "cwd" / "shards")
    for part in ("3/3", "1/3", "2/3"):
        shard = ("--methods", "seeded.py,bicubic", "--shard", part, "--reports", "csv")
        done = cli("run", "quick", *shard, *names, "--store", "shards", "--out", "part")
        assert done.returncode == 0, done.stderr
    judged = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--json")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    verdict = json.loads(judged.stdout)
    assert [row["state"] for row in verdict["rows"]] == ["pass"] * 4
    assert judged.stderr == "", "the shards had everything"
    refused = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--seed", 1)
    assert refused.returncode == 2
    assert "seed: 0 in the reference, 1 here" in refused.stdout
    again = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--update", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["difference"]["equal"] == 4
    policy = '[[tolerances]]\nmethod = "seeded"\nkind = "same"\n\n'
    file = tmp_path / "cwd" / "r.toml"
    file.write_text(file.read_text("utf-8").replace(MARKER, policy + MARKER, 1), "utf-8")
    less = (*("gate", "quick", "--reference", "r.toml", "--store", "shards"), "--update")
    left = cli(*less, "--methods", "bicubic", *names)
    assert left.returncode == 0 and "methods removed: seeded" in left.stdout, left.stderr


@pytest.mark.usefixtures("quick_sets")
@pytest.mark.parametrize(
    ("top", "inside", "expected"),
    [
        ("sys.exit(0)", "return lr", "method 'mine.py': SystemExit: 0 (mine.py:2)"),
        ("", "os._exit(0)", "exit code 0 (mine.py:5)"),
    ],
)
def test_a_method_that_ends_the_process_fails_the_gate(
    cli: Cli, tmp_path: Path, top: str, inside: str, expected: str
) -> None:
    method = tmp_path / "cwd" / "mine.py"
    method.write_text(SEEDED)
    gate = ("gate", "quick", "--reference", "r.toml", "--workers", 1)
    names = ("--methods", "nearest,mine.py", "--metrics", "psnr_y", "--limit", 1)
    assert cli(*gate, *names, "--datasets", "quick-bicubic", "--update").returncode == 0
    method.write_text(f"import os, sys\n{top}\n\ndef upscale(lr, *, scale, seeds):\n    {inside}\n")
    done = cli(*gate, "--junit", "j.xml")
    assert done.returncode == 1 and expected in done.stderr
    assert "Gate failed: 1 of 2 scores beyond tolerance" in done.stdout
    assert re.search(r"^fail .* mine +psnr_y +\d+\.\d+ +none$", done.stdout, re.MULTILINE)
    suite = ElementTree.parse(tmp_path / "cwd" / "j.xml").find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_folders_are_gated_from_reference_to_regression(
    cli: Cli, image_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sr, hr = image_folders
    folders = ("gate", "--sr", sr, "--hr", hr, "--reference", "r.json")
    absent = cli(*folders)
    assert absent.returncode == 2 and "--update` writes one" in absent.stderr
    made = cli(*folders, "--metrics", "psnr_y", "--update")
    assert made.returncode == 0, made.stderr
    outputs = ("--markdown", "m.md", "--junit", "j.xml")
    good = (sr / "img1.png").read_bytes()
    Image.open(sr / "img1.png").point(lambda v: max(v - 2, 0)).save(sr / "img1.png")
    failed = cli(*folders, *outputs)
    assert failed.returncode == 1
    assert "1 of 3 images moved by more than 0.001, most: img1 " in failed.stdout
    assert max(map(len, failed.stdout.splitlines())) <= 100
    assert "❌" in (tmp_path / "cwd" / "m.md").read_text()
    assert ElementTree.parse(tmp_path / "cwd" / "j.xml").find(".//failure") is not None
    updated = cli(*folders, "--update")
    assert re.search(r"hr / sr / psnr_y: .* -> .* \(1 of 3 images\)", updated.stdout)
    (sr / "img1.png").write_bytes(good)
    Image.open(hr / "img0.png").point(lambda v: min(v + 1, 255)).save(hr / "img0.png")
    refused = cli(*folders)
    assert refused.returncode == 2 and "dataset hr: sha256: " in refused.stdout
    (hr / "img0.png").write_bytes(good[:-100])
    unreadable = cli(*folders)
    assert unreadable.returncode == 2
    assert re.search(r"problem: .*hr/img0.png: cannot be decoded", unreadable.stdout)
    without = cli(*folders, "--update")
    assert without.returncode == 0 and "hr/img0.png: cannot be decoded" in without.stdout
    assert cli(*folders).returncode == 2, "not even by a reference without it"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("gate", "--reference", "r.toml"), "give either a suite or --sr DIR"),
        (("gate", "quick", "--reference", "r.txt"), "a reference is a file .toml or .json"),
        (
            ("gate", "quick", "--reference", "r.toml", "--markdown", "a.md", "--junit", "./a.md"),
            "--junit a.md: expected a place for output",
        ),
        (
            ("gate", "quick", "--reference", "r.toml", "--update", "--tolerance", "absolute"),
            "--tolerance: expected same, absolute=X",
        ),
        (
            ("gate", "quick", "--reference", "r.toml", "--update", "--tolerance", "same=x"),
            "--tolerance: expected same, absolute=X",
        ),
    ],
)
def test_wrong_use_is_one_line(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2 and expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# -- the workflows of the docs -------------------------------------------------------------------


def workflow(heading: str) -> dict[str, object]:
    text = (ROOT / "docs" / "gate.md").read_text().partition(f"## {heading}\n")[2]
    found = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert found
    return yaml.safe_load(found[1])


def run_steps(cli: Cli, steps: list[str], folder: Path, environment: dict[str, str]) -> Path:
    """Run shell steps in a checkout, as a runner does; pip is replaced by a note of its words."""
    programs = folder / "bin"
    programs.mkdir()
    scripts = {
        "pip": f'echo "$@" >> {folder}/pip.txt',
        "cassr-bench": f'exec {cli.program} "$@"',
    }
    for name, body in scripts.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    for name in ("bench", "baselines", "cassr", "results"):
        (folder / name).symlink_to(ROOT / name)
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    for step in steps:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step],
            cwd=folder,
            env={**os.environ, **path, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.usefixtures("quick_sets")
def test_github_workflow_passes_on_the_committed_reference(cli: Cli, tmp_path: Path) -> None:
    steps = [s["run"] for s in workflow("GitHub Actions")["jobs"]["gate"]["steps"] if "run" in s]  # type: ignore[index]
    folder = run_steps(cli, steps, tmp_path, {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")})
    assert (folder / "pip.txt").read_text() == "install -c constraints.txt -e .\n"
    assert "Gate passed: 18 of 18 scores" in (folder / "summary.md").read_text()
    suite = ElementTree.parse(folder / "gate.xml").find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("18", "0")
