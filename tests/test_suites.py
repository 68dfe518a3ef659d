"""Every suite's names exist, and the paper's tables have the paper's rows and columns."""

import copy
import csv
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from pydantic import BaseModel, ValidationError

from bench import metrics
from bench.base.cards import read_card
from bench.base.errors import CardError
from bench.base.lazy import TRUST
from bench.base.remote_file import Weight
from bench.base.types import TRAINING_SEED
from bench.data.card import DatasetCard
from bench.data.find import dataset_cards
from bench.data.find import find as find_dataset
from bench.gate.reference import read_reference
from bench.methods.card import MethodCard
from bench.methods.find import all_methods
from bench.methods.find import find as find_method
from bench.remote import weights
from bench.suites.find import SuiteCard, suite_cards
from bench.suites.protocols import Composite
from cassr.photographs.sets import TrainingSet, training_sets

SUITES = suite_cards()
MINI_NOTE = all_methods()["cassr-mini"].note


@pytest.mark.parametrize("name", SUITES)
def test_everything_a_suite_names_exists(name: str) -> None:
    suite = SUITES[name]
    assert set(suite.methods) <= all_methods().keys()
    assert set(suite.datasets) <= dataset_cards().keys()
    assert set(suite.metrics) <= set(metrics.names())
    assert not suite.variants or suite.variants.keys() == set(suite.methods)


LEADING_OUT = ("../../pwn", "/tmp/x.pth", "a/b", "..", ".", "", "~", "a\\b", "a\nb", "a\0b", "é")
SUITE = SUITES["quick"].model_dump()
DATASET = dataset_cards()["realsr"].model_dump()
METHOD = all_methods()["dat-light"].model_dump()
SEESR = all_methods()["seesr"].model_dump()
TRAINING = training_sets()["free"].model_dump()


def one_changed(card: dict[str, Any], place: str, value: str) -> dict[str, Any]:
    """A copy of a card with another value at "key.0.key"."""
    changed = copy.deepcopy(card)
    *way, last = place.split(".")
    inner: Any = changed
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "card", "place"),
    [
        (SuiteCard, SUITE, "name"),
        (DatasetCard, DATASET, "name"),
        (DatasetCard, DATASET, "archive.name"),
        (MethodCard, METHOD, "name"),
        (MethodCard, METHOD, "weights.0.name"),
        (TrainingSet, TRAINING, "name"),
        (TrainingSet, TRAINING, "files.0.name"),
    ],
)
def test_a_card_names_no_file_outside_its_folder(
    kind: type[BaseModel], card: dict[str, Any], place: str
) -> None:
    kind.model_validate(one_changed(card, place, "Fine-1.0_(x).pth"))
    for name in LEADING_OUT:
        with pytest.raises(ValidationError):
            kind.model_validate(one_changed(card, place, name))


@pytest.mark.parametrize(
    ("card", "place"),
    [
        (METHOD, "weights.0.folder"),
        (METHOD, "weights.0.wheel"),
        (SEESR, "official.snapshots.0.into"),
        (SEESR, "official.outputs.folder"),
        (SEESR, "official.outputs.root"),
    ],
)
def test_a_path_on_a_card_stays_in_its_folder(card: dict[str, Any], place: str) -> None:
    for path in ("../x", "/tmp", "a/../../b", "~/x", "C:\\x"):
        with pytest.raises(ValidationError):
            MethodCard.model_validate(one_changed(card, place, path))


def test_a_path_made_of_a_name_stays_in_its_folder(clean_home: Path) -> None:
    for name in ("../x", "/etc/passwd", "a/b", "..", ""):
        with pytest.raises(CardError, match="expected a plain file name"):
            weights.home(Weight(name=name))


@pytest.mark.parametrize(("table", "name"), [("1", "table1"), ("2", "table2"), ("3", "table3")])
def test_a_table_of_the_paper_has_its_metrics_in_its_order(table: str, name: str) -> None:
    with (ROOT / "results" / "published" / "cassr.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == table]
    printed = list(dict.fromkeys(row["metric"] for row in rows))
    assert [metrics.find(metric).title for metric in SUITES[name].metrics] == printed
    variants = dict.fromkeys((row["method"], row["variant"]) for row in rows)
    assert len(SUITES[name].methods) == len(variants)


def test_table_3_is_told_apart_as_in_the_paper() -> None:
    suite = SUITES["table3"]
    told = ["".join(suite.variants[method].values()) for method in suite.methods]
    assert told == ["✓✓×", "×××", "×✓×", "✓✓✓"]
    assert list(suite.variants["cassr"]) == ["General description", "CFG", "Caption"]


MINIATURES = {"table2-mini": "table2", "table3-mini": "table3", "attention-mini": "attention"}


def configurations(name: str) -> list[dict[str, str]]:
    """The rows of a suite without their training seeds, each once."""
    suite = SUITES[name]
    rows = [
        {head: value for head, value in suite.variants[method].items() if head != TRAINING_SEED}
        for method in suite.methods
    ]
    return [row for i, row in enumerate(rows) if row not in rows[:i]]


@pytest.mark.parametrize(("name", "paper"), MINIATURES.items())
def test_a_miniature_has_the_rows_and_columns_of_the_paper_first(name: str, paper: str) -> None:
    suite = SUITES[name]
    columns = SUITES[paper].metrics
    assert suite.metrics[: len(columns)] == columns
    carried = [row for row in configurations(paper) if row.get("Caption") != "✓"]
    assert configurations(name)[: len(carried)] == carried
    assert suite.layout == "methods-as-rows"
    assert suite.datasets == ["quick-bicubic", "quick-realistic"]


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_says_what_it_is_and_has_every_row_three_times(name: str) -> None:
    suite = SUITES[name]
    assert "miniature" in suite.title and suite.note.startswith(f"CasSR miniature: {MINI_NOTE}")
    assert "Short trainings" in suite.note
    assert len(suite.methods) == 3 * len(configurations(name))
    for method in suite.methods:
        assert suite.variants[method][TRAINING_SEED] == method[-1]
        assert all_methods()[method].options["model"].endswith(f"-{method[-1]}")


def test_the_miniature_of_table_3_is_what_its_rows_say() -> None:
    suite = SUITES["table3-mini"]
    told = ["".join(row.values()) for row in configurations("table3-mini")]
    assert told == ["✓✓×", "×××", "×✓×", "✓××"]
    assert "captions is missing" in suite.note
    for method, variant in suite.variants.items():
        sampling = all_methods()[method].options.get("sampling", {})
        assert (sampling.get("prompt") == "") == (variant["General description"] == "×")
        assert (sampling.get("guidance_scale", 1) > 1) == (variant["CFG"] == "✓")


METHOD = b'name = "m"\ntitle = "M"\nfactory = "a:b"\nlicence = "none"\n'
SUITE = b'name = "s"\ntitle = "S"\nsummary = ""\nmethods = ["a"]\ndatasets = ["b"]\n'
BAD_CARDS = {
    "brackets": (MethodCard, b"x = " + b"[" * 100_000, "nested too deeply"),
    "deep options": (MethodCard, METHOD + b"options.a = " + b"[" * 300 + b"]" * 300, "options.a."),
    "a date": (MethodCard, METHOD + b"options = { day = 2020-01-01 }", "'options.day'"),
    "long number": (MethodCard, b"steps = " + b"9" * 5000, "is not valid TOML"),
    "not UTF-8": (MethodCard, b'name = "\xff"', "is not UTF-8"),
    "too large": (MethodCard, b"#" * 2**20 + b"#", "is larger than 1 MiB"),
    "no metrics": (SuiteCard, SUITE + b"metrics = []", "'metrics'"),
    "a key of many parts": (MethodCard, METHOD + b".".join([b"a"] * 100_000) + b" = 1", "too deep"),
    "no title": (MethodCard, METHOD.replace(b'"M"', b'""'), "'title'"),
    "a negative version": (MethodCard, METHOD + b"version = -1", "'version'"),
    "a bad requirement": (MethodCard, METHOD + b'packages = ["a b"]', "such as 'name>=1'"),
    "a negative seed": (SuiteCard, SUITE + b'metrics = ["c"]\nseed = -5', "'seed'"),
    "a size that is no number": (SuiteCard, SUITE + b'metrics = ["c"]\nfetch_mb = nan', "fetch_mb"),
    "an empty name": (SuiteCard, SUITE + b'metrics = [""]', "'metrics.0'"),
    "variants of nothing": (
        SuiteCard,
        SUITE + b'metrics = ["c"]\nvariants.X.Steps = "4"',
        "toml: variants: 'X' is none of the methods",
    ),
    "a bad expression": (
        DatasetCard,
        b'name = "d"\ntitle = "D"\nsummary = ""\nlicence = ""\nlr.files = "*"\nlr.stem = "("',
        "expected a regular expression",
    ),
    "more than a machine counts to": (
        SuiteCard,
        SUITE + b'metrics = ["c"]\nseed = 1' + b"0" * 400,
        "'seed': expected a number",
    ),
    "options beyond all numbers": (
        MethodCard,
        METHOD + b"options.deep = [{ strength = -1" + b"0" * 400 + b" }]",
        "'strength': expected a number of at most 9223372036854775807",
    ),
    "a NUL in a title": (
        SuiteCard,
        SUITE.replace(b'"S"', rb'"S\u0000"') + b'metrics = ["c"]',
        "'title': expected text without control characters",
    ),
    "an escape in a key": (
        MethodCard,
        METHOD + rb'options."\u001b[2J" = 1',
        "'\\x1b[2J': expected",
    ),
    "a title of two lines": (
        DatasetCard,
        rb'name = "d"' + b"\n" + rb'title = "D\ne"',
        "'title': expected printable text on one line",
    ),
    "a title that turns what follows it": (
        DatasetCard,
        rb'name = "d"' + b"\n" + rb'title = "D\u202e"',
        "'title': expected printable text on one line",
    ),
    "an infinite weight": (
        Composite,
        b'name = "c"\ntitle = "C"\nmeans = "sum"\nterms = [{ metric = "m", weight = inf }]',
        "'terms.0.weight': input should be a finite number",
    ),
    "no scales": (MethodCard, METHOD + b"scales = []", "'scales'"),
}


@pytest.mark.parametrize("name", list(BAD_CARDS))
def test_a_bad_card_is_one_short_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    kind, content, said = BAD_CARDS[name]
    path = tmp_path / "card.toml"
    path.write_bytes(content)
    with pytest.raises(CardError) as error:
        read_card(path, kind)
    text = str(error.value)
    assert str(path) in text and said in text
    assert "\n" not in text and len(text) < 600


def test_a_card_that_names_code_of_its_own_is_refused_unless_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRUST, raising=False)
    path = tmp_path / "card.toml"
    made = b'photos = "packaged"\ndegradation.function = "os:system"\n'
    known = b"baselines.resample:Resample"
    seesr = (ROOT / "baselines" / "cards" / "seesr.toml").read_bytes()
    path.write_bytes(seesr)
    assert find_method(str(path)).name
    cards = (
        (find_method, METHOD.replace(b"a:b", b"os:system")),
        (find_method, METHOD.replace(b"a:b", b"bench.base.records:write_atomic")),
        (find_method, METHOD.replace(b"a:b", known) + b'packages = ["x @ https://x.org/x.zip"]'),
        (find_method, seesr.replace(b'"test_seesr.py"', b'"-c", "import os"')),
        (find_method, seesr.replace(b"15c729c7", b"00000000")),
        (find_dataset, b'name = "d"\ntitle = "D"\nsummary = ""\nlicence = ""\n' + made),
    )
    for find, content in cards:
        path.write_bytes(content)
        with pytest.raises(CardError, match=r"card\.toml: names code .* then give --trust"):
            find(str(path))
        with monkeypatch.context() as trusting:
            trusting.setenv(TRUST, "1")
            assert find(str(path)).name


def test_a_card_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card.toml")
    with pytest.raises(CardError, match="found a pipe or device"):
        read_card(tmp_path / "card.toml", MethodCard)


def test_a_card_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b"\xef\xbb\xbf" + METHOD.replace(b"\n", b"\r\n"))
    assert read_card(tmp_path / "m.toml", MethodCard).title == "M"


def test_a_title_may_have_the_spaces_and_joiners_of_any_script(tmp_path: Path) -> None:
    title = "モデル\u3000x4\u00a0(\u202f\U0001f469\u200d\U0001f52c)"
    (tmp_path / "m.toml").write_text(METHOD.decode().replace('"M"', f'"{title}"'), "utf-8")
    assert read_card(tmp_path / "m.toml", MethodCard).title == title


def test_a_card_may_have_a_name_that_no_file_has() -> None:
    with pytest.raises(CardError, match=r"a\\x00\.toml: cannot be read"):
        read_card(Path("a\0.toml"), SuiteCard)


@pytest.mark.parametrize("content", [b"x = " + b"[" * 100_000, b'name = "\xff"'])
def test_a_bad_reference_is_one_line_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(CardError, match=r"r\.toml: is not (valid TOML|UTF-8)"):
        read_reference(tmp_path / "r.toml")
