"""Protocols: by which metrics and options a paper's numbers were made, one card each."""

from functools import cache, reduce
from operator import add
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bench.base.cards import Card, Count, FileName, Names, Title, read_folder
from bench.base.registry import Registry
from bench.base.types import MetricSpec

if TYPE_CHECKING:
    import pandas as pd


class Source(Card):
    """A file of a repository at a commit, or a thread ("issues/30") without one."""

    repository: Title
    path: Title
    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None

    def __str__(self) -> str:
        return f"{self.repository}: {self.path}{f' at {self.commit[:7]}' if self.commit else ''}"


class Term(Card):
    """offset + weight x metric; `cut`: 0 for a method whose images of a test set have
    a mean of this term that is not above 0."""

    metric: Title
    weight: float
    offset: float = 0
    cut: bool = False


class Composite(Card):
    """A score of a protocol's own: the sum of terms, of each image and so of their means."""

    name: FileName
    title: Title
    means: Title
    terms: tuple[Term, ...]

    @property
    def spec(self) -> MetricSpec:
        return MetricSpec(self.name, self.title, "higher", True, self.means, "", "")

    def added(self, scores: "pd.DataFrame") -> "pd.DataFrame":
        """Tidy scores (see `bench.results.results.Results`) with this one of every image; missing,
        with its reason, where one of its metrics is."""
        import pandas as pd

        keys = ["dataset", "method", "image"]
        names = [term.metric for term in self.terms]
        own = scores[scores["metric"].isin(names) & (scores["image"] != "")]
        table = own.pivot(index=keys, columns="metric", values="value").reindex(columns=names)
        parts = [term.offset + term.weight * table[term.metric] for term in self.terms]
        for i, term in enumerate(self.terms):
            if term.cut:
                parts[i] *= parts[i].groupby(keys[:2]).transform("mean") > 0
        lost = own[own["value"].isna()].drop_duplicates(keys).drop(columns="value")
        lost["reason"] = lost.pop("metric") + ": " + lost["reason"]
        made = reduce(add, parts).rename("value").reset_index()
        made = made.merge(lost, how="left", on=keys).assign(metric=self.name)
        made = made.fillna(dict.fromkeys(lost.columns, ""))
        both = pd.concat([scores, made[scores.columns]], ignore_index=True)
        order = both.groupby(keys, sort=False).ngroup().argsort(kind="stable")
        return both.iloc[order].reset_index(drop=True)


class Protocol(Card):
    """How the numbers of a paper, or of several, are made: by metrics as typed after `--metrics`,
    and what it ranks by, where that is none; `version` goes up when they change. `traps` is what
    its authors' code does otherwise than is done here, or leaves unsaid."""

    name: FileName
    title: Title
    version: Count
    metrics: Names
    traps: list[Title]
    paper: str = ""
    sources: tuple[Source, ...] = ()
    composite: Composite | None = None

    def __str__(self) -> str:
        known = "; ".join(self.traps)
        return f"Protocol {self.title}, version {self.version}{f': {known}' if known else ''}."


@cache
def protocols() -> Registry[Protocol]:
    return Registry("protocol", read_folder("bench", "protocols", Protocol).values())
