"""How commands say what they take: options and arguments, alone or in groups."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from bench.base.errors import BenchError
from bench.base.text import printable

METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
"""What help shows for a value, unless an option says more."""


def option(help: str, *names: str, default: Any = None, **more: Any) -> Any:
    """An option of a command or group; names, bounds and the rest are as `typer.Option` takes them.

    One that is False by default is a flag, one of a `Literal` takes its words alone; where `...` is
    the default it must be given.
    """
    told = {"help": help, **more}
    return field(default=default, metadata={"kind": typer.Option, "names": names, "more": told})


def argument(help: str, *, default: Any = ..., **more: Any) -> Any:
    """An argument of a command; see `option`."""
    told = {"help": help, **more}
    return field(default=default, metadata={"kind": typer.Argument, "names": (), "more": told})


def _one_of(name: str, known: Sequence[str]) -> Callable[[str], str]:
    """A parser of an option that takes some words alone; refuses others in one line."""

    def parse(value: str) -> str:
        if value not in known:
            raise BenchError(f"{name}: expected {' or '.join(known)}, found '{printable(value)}'")
        return value

    return parse


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: the fields of its dataclasses are options of their own.

    Fields and parameters are declared by `option` or `argument`, or by a type that `typer.Option`
    annotates and a default; options are shown in the order of declaration.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in fields(group)})
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
            yield _parameter(name, hints[name], parameter.default)
            continue
        own = get_type_hints(hints[name], include_extras=True)
        for each in fields(hints[name]):
            yield _parameter(each.name, own[each.name], each if each.metadata else each.default)


def _parameter(name: str, hint: Any, declared: Any) -> Parameter:
    """As Typer takes it; `declared` is what `option` gave, or a default."""
    default = Parameter.empty if declared is MISSING else declared
    if isinstance(declared, Field):
        flag = f"--{name.replace('_', '-')}"
        names = declared.metadata["names"] or ([flag] if declared.default is False else [])
        more = declared.metadata["more"]
        if declared.metadata["kind"] is typer.Argument:
            more = {"metavar": name.upper(), **more}
        for kind in (hint, *get_args(hint)):
            of_list = get_args(kind)[0] if get_origin(kind) is list else kind
            if get_origin(of_list) is Literal:
                words = get_args(of_list)
                more = {"parser": _one_of(flag, words), "metavar": "|".join(words), **more}
                hint = hint if of_list is kind else list[str] | None  # Typer's lists are plain
            elif of_list in METAVARS and declared.metadata["kind"] is typer.Option:
                more = {"metavar": METAVARS[of_list], **more}
        default = declared.metadata["kind"](declared.default, *names, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
