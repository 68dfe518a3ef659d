"""Every suite's names exist, and the paper's tables have the paper's rows and columns."""

from __future__ import annotations

import csv

import pytest
from conftest import ROOT

from bench import metrics
from bench.data import dataset_cards
from bench.methods import method_cards
from bench.run import suite_cards

SUITES = suite_cards()


@pytest.mark.parametrize("name", SUITES)
def test_everything_a_suite_names_exists(name: str) -> None:
    suite = SUITES[name]
    assert set(suite.methods) <= method_cards().keys()
    assert set(suite.datasets) <= dataset_cards().keys()
    assert set(suite.metrics) <= set(metrics.names())
    assert not suite.variants or suite.variants.keys() == set(suite.methods)


@pytest.mark.parametrize(("table", "name"), [("1", "table1"), ("2", "table2"), ("3", "table3")])
def test_a_table_of_the_paper_has_its_metrics_in_its_order(table: str, name: str) -> None:
    with (ROOT / "results" / "published" / "cassr.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == table]
    printed = list(dict.fromkeys(row["metric"] for row in rows))
    assert [metrics.get(metric).title for metric in SUITES[name].metrics] == printed
    variants = dict.fromkeys((row["method"], row["variant"]) for row in rows)
    assert len(SUITES[name].methods) == len(variants)


def test_table_3_is_told_apart_as_in_the_paper() -> None:
    suite = SUITES["table3"]
    told = ["".join(suite.variants[method].values()) for method in suite.methods]
    assert told == ["✓✓×", "×××", "×✓×", "✓✓✓"]
    assert list(suite.variants["cassr"]) == ["General description", "CFG", "Caption"]
