"""Protocols: by which metrics and options a paper's numbers were made, one card each."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field

from bench.base.cards import Card, Count, FileName, Names, Title, read_folder
from bench.base.registry import Registry


class Source(Card):
    """A file of a repository at a commit, or a thread ("issues/30") without one."""

    repository: Title
    path: Title
    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None

    def __str__(self) -> str:
        return f"{self.repository}: {self.path}{f' at {self.commit[:7]}' if self.commit else ''}"


class Protocol(Card):
    """How the numbers of a paper, or of several, are made.

    Attributes:
        version: goes up when the metrics of a protocol change.
        metrics: as typed after `--metrics`, options included.
        paper: where it is described, if not in code.
        traps: what its authors' code does otherwise than is done here, or leaves unsaid.
    """

    name: FileName
    title: Title
    version: Count
    metrics: Names
    traps: list[Title]
    paper: str = ""
    sources: tuple[Source, ...] = ()

    def __str__(self) -> str:
        known = "; ".join(self.traps)
        return f"Protocol {self.title}, version {self.version}{f': {known}' if known else ''}."


@cache
def protocols() -> Registry[Protocol]:
    return Registry("protocol", read_folder("bench", "protocols", Protocol).values())
