"""Things that are known by name: each once, with the nearest name where there is none."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from bench.base.errors import CardError, UnknownName
from bench.base.text import printable, suggestion

MOST_SHOWN = 24
"""Names that a message lists where none is near; more are left to `list`."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(dict[str, T]):
    """Things of one kind by name, in their order. What each needs to run is its own to import.

    `kind` is what one is called in messages; `listed`, whether `cassr-bench list` shows them. Two
    of the same name are a CardError.
    """

    def __init__(self, kind: str, things: Iterable[T], listed: bool = True) -> None:
        super().__init__()
        self.kind = kind
        self._hint = f" (`cassr-bench list {kind}s` shows all)" if listed else ""
        for thing in things:
            if self.setdefault(thing.name, thing) is not thing:
                raise CardError(f"{kind} '{thing.name}' is registered twice; rename one")

    def find(self, name: str) -> T:
        """The thing called `name`; UnknownName, with the nearest or all where they are few, where
        there is none."""
        if name in self:
            return self[name]
        near = suggestion(name, self)
        known = f"; known: {', '.join(self)}" if not near and len(self) <= MOST_SHOWN else ""
        raise UnknownName(f"unknown {self.kind} '{printable(name)}'{near}{known}{self._hint}")
