"""What is said of a metric in parentheses: `NAME(option=value, ...)`, read and checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.base.errors import UnknownName
from bench.base.text import printable
from bench.base.types import MetricOption, MetricSpec, OptionValue

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHOWN = 60
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")


def parse(name: str) -> tuple[str, dict[str, str]]:
    """What is before and in the parentheses: ("psnr_y", {"crop_border": "4"}); UnknownName: these
    hold no list of options, or one option twice."""
    if name.count("(") > name.count(")"):
        raise _malformed(name, name)
    if not name.endswith(")"):
        return name, {}
    own, _, inside = name[:-1].rpartition("(")
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in inside.split(","))):
        option, _, value = (text.strip() for text in part.partition("="))
        if not option or not value or option in given:
            raise _malformed(name, part)
        given[option] = value
    return own.strip(), given


def _malformed(name: str, part: str) -> UnknownName:
    form = "NAME(option=value, ...) with each option once"
    return UnknownName(f"metric '{printable(name)}': expected {form}, found '{printable(part)}'")


def with_options(spec: MetricSpec, given: Mapping[str, str]) -> MetricSpec:
    """The metric with options, which its name and title show; those that say the default are none.
    UnknownName: it has no such option, or the value is not of its kind."""
    values = {option: _value(spec, option, text) for option, text in sorted(given.items())}
    chosen = {key: value for key, value in values.items() if value != spec.accepted[key].default}
    if not chosen:
        return spec
    shown = [f"{option}={_text(value)}" for option, value in chosen.items()]
    # Code of others may read other files then.
    is_open = bool(spec.packages and chosen.keys() & spec.accepts.keys())
    return replace(
        spec,
        weights=() if is_open else spec.weights,
        files_known=spec.files_known and not is_open,
        name=f"{spec.name}({','.join(shown)})",
        title=f"{spec.title} ({', '.join(shown)})",
        means=f"{spec.name} with {', '.join(shown)}",
        options={**spec.options, **chosen},
    )


def told(name: str, option: MetricOption) -> str:
    """An option in one line."""
    about = f"; {option.means}" if option.means else ""
    return f"{name}: {_kind(option)[0]}, default {_text(option.default)}{about}"


def _value(spec: MetricSpec, option: str, text: str) -> OptionValue:
    accepted, metric = spec.accepted, f"metric '{printable(spec.name)}'"
    if option not in accepted:
        known = "; ".join(told(name, each) for name, each in accepted.items())
        expected = f"expected {known}" if known else "it has none"
        raise UnknownName(f"{metric}: unknown option '{printable(option)}'; {expected}")
    expected, read = _kind(accepted[option])
    value = read(text)
    if value is None:
        found = printable(text[:_SHOWN])
        raise UnknownName(f"{metric}: option {option}: expected {expected}, found '{found}'")
    return value


def _kind(option: MetricOption) -> tuple[str, Callable[[str], OptionValue | None]]:
    """How its values are called, and read: None where a text stands for none."""
    if option.choices:
        return " or ".join(option.choices), lambda text: text if text in option.choices else None
    if type(option.default) is int:
        told = f"a whole number from {option.least}"
        return told, lambda x: int(x) if _WHOLE.fullmatch(x) and int(x) >= option.least else None
    return _KINDS[type(option.default)]


_KINDS: dict[type, tuple[str, Callable[[str], OptionValue | None]]] = {
    bool: ("true or false", lambda text: {"true": True, "false": False}.get(text.lower())),
    float: ("a number", lambda text: float(text) if _DECIMAL.fullmatch(text) else None),
    str: ("a word", lambda text: text if _WORD.fullmatch(text) else None),
}


def _text(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
