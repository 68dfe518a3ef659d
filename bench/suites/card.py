"""The card of a suite: methods, datasets and metrics that make one table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.base.cards import Card, Names
from bench.base.types import FileName


class SuiteCard(Card):
    """Methods x datasets x metrics, and how they are laid out.

    Attributes:
        methods: as typed; `*` in a name stands for all endings, such as training seeds.
        fetch_mb: a run fetches missing weights up to this size each; None fetches all.
        variants: for an ablation, what tells its methods apart: method -> heading -> value; those
            that differ in the heading "Training seed" alone are one configuration, trained again.
            That heading is added to methods that are one of several trainings.
    """

    name: FileName
    title: str
    summary: str
    methods: Names
    datasets: Names
    metrics: Names
    seed: int = 0
    fetch_mb: float | None = None
    layout: Literal["methods-as-columns", "methods-as-rows"] = "methods-as-columns"
    variants: dict[str, dict[str, str]] = Field(default_factory=dict)
    note: str = ""
