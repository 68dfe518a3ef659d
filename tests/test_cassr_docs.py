"""docs/cassr.md names what there is, and what it names exists."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from test_cassr_sd15 import PART_TFLOP, TFLOP

from cassr.config import MINI, SD15, SamplingOptions

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "cassr.md").read_text(encoding="utf-8")


def test_help_tells_every_option_and_the_docs_the_papers_defaults():
    told = SamplingOptions.__doc__ or ""
    assert [f.name for f in fields(SamplingOptions) if not re.search(rf"\b{f.name}\b", told)] == []
    paper, mini = SD15.sampling, MINI.sampling
    assert f"{paper.num_inference_steps} steps a stage" in TEXT
    assert f"a guidance scale of {paper.guidance_scale}" in TEXT
    assert (mini.num_inference_steps, mini.guidance_scale) == (1, 1.0)


def test_the_flops_in_the_tables_are_those_counted():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines()]
    told = re.compile(r" \(frozen\)|, for both images")
    by_name = {told.sub("", row[0]): row[1:] for row in rows if row}
    for part, numbers in PART_TFLOP.items():
        found = re.findall(r"\d+\.\d+", by_name[part][1])
        assert found == [f"{n:.2f}" for n in numbers], part
    for part, second in TFLOP["guidance"].items():
        first = TFLOP["activation"].get(part)
        assert by_name[part] == [f"{first:.2f}" if first else "", f"{second:.2f}"], part


def test_every_name_of_the_code_in_the_docs_exists():
    names = set(re.findall(r"`(cassr(?:\.\w+)+)", TEXT)) - {"cassr.json"}
    assert len(names) > 10
    for name in names:
        target = import_module("cassr")
        for part in name.split(".")[1:]:
            if not hasattr(target, part):
                target = import_module(f"{target.__name__}.{part}")
            else:
                target = getattr(target, part)


def test_every_picture_exists_and_is_small():
    pictures = re.findall(r"\]\((figures/[\w.]+)\)", TEXT)
    assert len(pictures) >= 3
    for picture in pictures:
        assert (DOCS / picture).stat().st_size < 400_000
