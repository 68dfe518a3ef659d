"""Options in groups: a command is given dataclasses, the command line their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: the fields of its dataclasses are options of their own.

    A field is declared as a parameter would be, by a type that `typer.Option` annotates and a
    default; options are shown in the order of declaration.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **given)

    parameters = list(_parameters(command, hints))
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parameters(command: Callable[..., None], hints: Mapping[str, Any]) -> Iterator[Parameter]:
    for name, parameter in signature(command).parameters.items():
        if not is_dataclass(hints[name]):
            yield _named(name, hints[name], parameter.default)
            continue
        own = get_type_hints(hints[name], include_extras=True)
        for field in fields(hints[name]):
            default = Parameter.empty if field.default is MISSING else field.default
            yield _named(field.name, own[field.name], default)


def _named(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
