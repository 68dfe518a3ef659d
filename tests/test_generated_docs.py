"""Generated pages are those that the cards give, and the hand-written ones are true."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from bench.commands import listing
from bench.data.card import DatasetCard, Side
from bench.methods.card import MethodCard, Official, Outputs

DOCS = ROOT / "docs"


def generator():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", list(generator().PAGES))
def test_generated_pages_are_fresh(name: str) -> None:
    fresh = generator().PAGES[name]()
    assert (DOCS / name).read_text() == fresh, f"docs/{name} is stale; run: nox -s docs"


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_every_method_and_dataset_is_in_the_pages(kind: str, clean_home: Path) -> None:
    text = (DOCS / f"{kind}.md").read_text()
    for row in listing.rows(kind):
        assert f"`{row['name']}`" in text and row["licence"] in text, row["name"]


def toml_blocks(page: str) -> list[dict]:
    text = (DOCS / page).read_text()
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.S)]


def test_the_cards_of_the_pages_are_cards() -> None:
    network, repository = toml_blocks("add-a-method.md")
    MethodCard.model_validate(network)
    official = Official.model_validate(repository.pop("official"))
    assert official.outputs == Outputs(folder="sample00", name="{stem}.png", ignore=["txt/*"])
    assert repository.keys() <= MethodCard.model_fields.keys()
    archive, synthetic = toml_blocks("add-a-dataset.md")
    card = DatasetCard.model_validate(archive)
    assert card.lr == Side(files="**/LR/*", stem="(.+)_x4")
    base = {key: archive[key] for key in ("name", "title", "summary", "licence", "archive")}
    DatasetCard.model_validate({**base, **synthetic})


def test_a_method_of_ones_own_takes_less_than_ten_lines() -> None:
    text = (DOCS / "add-a-method.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)
    assert code is not None
    assert len([line for line in code[1].splitlines() if line.strip()]) < 10
