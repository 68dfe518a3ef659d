"""The card of a suite: methods, datasets and metrics that make one table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bench.base.cards import Amount, Card, FileName, Names, Natural, Title


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
    def _tells_its_own_apart(self) -> SuiteCard:
        strange = sorted(self.variants.keys() - set(self.methods))
        if strange:
            raise ValueError(f"variants: '{strange[0]}' is none of the methods")
        return self
