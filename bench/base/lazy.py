"""Names of code that is imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.base.errors import CardError


def resolve(name: str) -> Any:
    """The object called "module:attr".

    Raises:
        CardError: there is no such module or attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CardError(f"'{name}' cannot be loaded ({error}); expected 'module:attr'") from error
