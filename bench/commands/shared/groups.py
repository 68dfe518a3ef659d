"""How commands say what they take: options and arguments, alone or in groups."""

import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, wraps
from importlib.resources import files
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from bench.base.errors import BenchError
from bench.base.text import printable

METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
"""What help shows for a value, unless options.toml says more."""
NO_DEFAULT = (MISSING, Parameter.empty)
"""How fields and parameters tell that they have none."""


def _one_of(name: str, known: Sequence[str]) -> Callable[[str], str]:
    """A parser of an option that takes some words alone; refuses others in one line."""

    def parse(value: str) -> str:
        if value not in known:
            raise BenchError(f"{name}: expected {' or '.join(known)}, found '{printable(value)}'")
        return value

    return parse


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it: the fields of its dataclasses are options of their own.

    Help, bounds, names and whatever else `typer.Option` or `typer.Argument` is told stand in the
    options.toml of the package of the command or dataclass, under its name; what several share, in
    that of this package. Options are shown in the order of declaration. One that is False by
    default is a flag, one of a `Literal` takes its words alone.
    """
    hints = get_type_hints(command)
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
        group = hints[name]
        if is_dataclass(group):
            own = get_type_hints(group)
            for each in fields(group):
                yield _parameter(group, each.name, own[each.name], each.default)
        else:
            yield _parameter(command, name, group, parameter.default)


@cache
def _words(package: str) -> dict[str, Any]:
    return tomllib.loads(files(package).joinpath("options.toml").read_text("utf-8"))


def _parameter(owner: Any, name: str, hint: Any, default: Any) -> Parameter:
    """As Typer takes it; `owner` is the command or group that it is of."""
    flag = f"--{name.replace('_', '-')}"
    own = _words(owner.__module__.rpartition(".")[0]).get(owner.__name__, {})
    more = dict(ChainMap(own, _words(__package__))[flag[2:]])
    kind = typer.Argument if more.pop("argument", False) else typer.Option
    names = more.pop("names", [flag] if default is False else [])
    if kind is typer.Argument:
        more = {"metavar": name.upper(), **more}
    for each in (hint, *get_args(hint)):
        of_list = get_args(each)[0] if get_origin(each) is list else each
        if get_origin(of_list) is Literal:
            words = get_args(of_list)
            more = {"parser": _one_of(flag, words), "metavar": "|".join(words), **more}
            hint = hint if of_list is each else list[str] | None  # Typer's lists are plain
        elif of_list in METAVARS and kind is typer.Option:
            more = {"metavar": METAVARS[of_list], **more}
    declared = kind(... if default in NO_DEFAULT else default, *names, **more)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=declared, annotation=hint)
