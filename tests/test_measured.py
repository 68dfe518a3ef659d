"""The kept leaderboards: of the test sets and metrics that the cards describe, and usable."""

import dataclasses
from pathlib import Path

import pytest
from conftest import Cli

from bench import metrics
from bench.data.find import dataset_cards
from bench.exchange.bundle import to_results
from bench.exchange.merge import beside, exports
from bench.exchange.reading import read_bundle
from bench.methods.find import all_methods

KEPT = exports()


def test_some_are_kept() -> None:
    assert KEPT


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_what_is_kept_is_of_todays_sets_and_metrics(path: Path) -> None:
    bundle = read_bundle(path)
    measured = bundle.measured
    for name, dataset in measured.datasets.items():
        assert dataset.images == dataset_cards()[name].images
        assert dataset.sha256
    for name, metric in measured.metrics.items():
        spec = metrics.find(name)
        assert metric.fingerprint["version"] == spec.version
        assert metric.fingerprint["options"] == dict(spec.options)
        assert "substituted" not in metric.fingerprint
    assert " and ".join(str(d.images) for d in measured.datasets.values()) in bundle.title
    assert measured.methods.keys() - all_methods().keys() <= {"OSEDiff"}
    assert bundle.made_with["certificate"]["osediff"]["holds"]
    assert to_results(bundle).scores["value"].notna().any()
    assert "/" not in "".join(method.typed for method in measured.methods.values())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_the_pages_commands_run(path: Path, cli: Cli) -> None:
    report = cli("report", path, "--out", "measured", "--reports", "markdown,statistics")
    assert report.returncode == 0, report.stderr
    assert cli("diff", path, path).returncode == 0


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_images_are_known_under_any_name(path: Path) -> None:
    results = to_results(read_bundle(path))
    first, *_ = results.datasets
    mine = dataclasses.replace(first, name="folder:mine")
    scores = results.scores[results.scores["dataset"] == first.name].assign(dataset="folder:mine")
    scores = scores[scores["method"] == "bicubic"].reset_index(drop=True)
    methods = tuple(item for item in results.methods if item.name == "bicubic")
    told = results.provenance
    for name, expected in (
        (told["datasets"][first.name], True),
        ({"manifest_sha256": "0" * 64}, False),
    ):
        own = dataclasses.replace(
            results,
            datasets=(mine,),
            methods=methods,
            scores=scores,
            provenance={
                **told,
                "datasets": {"folder:mine": {**told["datasets"][first.name], **name}},
            },
        )
        found = beside(own)
        assert (len(found.methods) > 1) == expected
        assert (f"it has {first.name}" in " ".join(found.notes)) != expected
