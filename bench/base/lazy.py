"""Names of code that is imported only when it is used."""

import os
import sys
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from bench.base.errors import CardError
from bench.base.text import printable

TRUST = "CASSR_BENCH_TRUST"
"""The variable that lets cards of the user's name any code."""


def require_known(card: Path, named: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a card of the user's that names other code than the packaged cards do; CardError,
    which says that such a card is a program."""
    strange = sorted(set(named) - {"", *known})
    if strange and not os.environ.get(TRUST):
        raise CardError(
            f"{printable(card)}: names code that no packaged card names: '{printable(strange[0])}';"
            " such a card is a program: read it and that code first, then give --trust"
        )


def resolve(name: str) -> Any:
    """The object called "module:attr"; CardError where there is no such module or attribute."""
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CardError(f"'{name}' cannot be loaded ({error}); expected 'module:attr'") from error


def is_a(module: str, kind: str, value: Any) -> bool:
    """isinstance, importing nothing: what is not imported yet has no instances."""
    return module in sys.modules and isinstance(value, attrgetter(kind)(sys.modules[module]))
