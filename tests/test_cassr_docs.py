"""docs/cassr.md names what there is, and what it names exists."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from test_cassr_sd15 import PART_TFLOP, TFLOP

from cassr.config import MINI, SD15, SamplingOptions

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "cassr.md").read_text(encoding="utf-8")


def test_every_option_is_in_the_docs():
    missing = [f.name for f in fields(SamplingOptions) if f"`{f.name}`" not in TEXT]
    assert missing == []


def test_the_defaults_in_the_table_are_those_of_the_presets():
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in TEXT.splitlines()]
    checked = 0
    for names, *cells in (row for row in rows if len(row) == 3 and row[0].startswith("`")):
        for name in re.findall(r"`(\w+)`", names):
            if not hasattr(SamplingOptions, name):
                continue
            values = [str(getattr(preset.sampling, name)) for preset in (SD15, MINI)]
            large, small = cells[0], cells[0] if cells[1] == "same" else cells[1]
            assert values[0] in large
            assert values[1] in small
            checked += 1
    assert checked == len(fields(SamplingOptions))


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
