"""Suites: their cards, by name, and with other methods, datasets or metrics."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import Field, model_validator

from bench.base.cards import Amount, Card, FileName, Names, Natural, Title, read_card, read_folder
from bench.base.registry import Registry
from bench.base.types import TRAINING_SEED
from bench.methods.find import all_methods, matching
from bench.remote.fetch import card_file


class SuiteCard(Card):
    """Methods x datasets x metrics, and how they are laid out.

    Attributes:
        methods: as typed; `*` in a name stands for all endings, such as training seeds.
        fetch_mb: a run fetches missing weights up to this size each; None fetches all.
        variants: for an ablation, what tells its methods apart: method -> heading -> value; those
            that differ in the heading "Training seed" alone are one configuration, trained again.
            That heading is added to methods that are one of several trainings.
        protocol: that its metrics are of.
    """

    name: FileName
    title: Title
    summary: str
    methods: Names
    datasets: Names
    metrics: Names
    seed: Natural = 0
    fetch_mb: Amount | None = None
    layout: Literal["methods-as-columns", "methods-as-rows"] = "methods-as-columns"
    variants: dict[str, dict[str, str]] = Field(default_factory=dict)
    note: str = ""
    protocol: str = ""

    @model_validator(mode="after")
    def _tells_its_own_apart(self) -> "SuiteCard":
        strange = sorted(self.variants.keys() - set(self.methods))
        if strange:
            raise ValueError(f"variants: '{strange[0]}' is none of the methods")
        return self


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
