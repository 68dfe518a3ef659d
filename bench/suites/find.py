"""Suites by name, and suites with other methods, datasets or metrics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from bench.base.cards import read_card, read_folder
from bench.base.registry import Registry
from bench.base.types import TRAINING_SEED
from bench.methods.find import all_methods, matching
from bench.remote.fetch import card_file
from bench.suites.card import SuiteCard


@cache
def suite_cards() -> Registry[SuiteCard]:
    return Registry("suite", map(_spelled_out, read_folder("bench", "suites", SuiteCard).values()))


def find_suite(name: str) -> SuiteCard:
    """The suite called `name`, or the card in the file or at the address `name` (.toml)."""
    if name.endswith(".toml"):
        return _spelled_out(read_card(card_file(name), SuiteCard))
    return suite_cards().find(name)


def _spelled_out(suite: SuiteCard) -> SuiteCard:
    """The suite with each method by its own name."""
    methods = [(asked, name) for asked in suite.methods for name in matching(asked)]
    variants = {name: headings for name, headings in suite.variants.items() if "*" not in name}
    for asked, name in methods:
        if asked in suite.variants:
            card = all_methods().get(name)
            seed = card.training_seed if card else None
            own = {} if seed is None else {TRAINING_SEED: str(seed)}
            variants[name] = {**suite.variants[asked], **own}
    return suite.model_copy(update={"methods": [m for _, m in methods], "variants": variants})


def chosen(
    suite: SuiteCard,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> SuiteCard:
    """The suite with other methods, datasets or metrics where some are given."""
    given = {"methods": methods, "datasets": datasets, "metrics": metrics}
    update: dict[str, Any] = {key: list(names) for key, names in given.items() if names}
    if not set(datasets) <= set(suite.datasets):
        update |= {"title": "", "note": ""}  # they speak of the suite's own test sets
    return _spelled_out(suite.model_copy(update=update))
