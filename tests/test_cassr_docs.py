"""docs/cassr.md names what there is, and what it names exists."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

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
