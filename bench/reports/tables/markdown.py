"""GitHub-flavoured Markdown, for a README or a job summary: the table, and other reports' pages."""

import math
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.text import printable
from bench.files.safe_csv import write_files
from bench.reports.tables.layout import DASH, make_table
from bench.results.results import Results
from bench.results.view import PLAIN, View

if TYPE_CHECKING:
    from jinja2 import Environment

_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")


def render(results: Results, out: Path, view: View = PLAIN) -> list[Path]:
    """Write ``table.md``."""
    return write_files(out, {"table.md": markdown(results, view)})


def markdown(results: Results, view: View = PLAIN) -> str:
    """The table with title, legend, footnotes and notes."""
    return filled("pages/table.md", table=make_table(results, view))


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is: one line, no markup, no new cell, and no link but
    one that says where it leads, as GitHub makes of a bare address."""
    as_text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", as_text).replace("@", "&#64;")


def filled(template: str, escape: Callable[[str], str] = escape, **values: object) -> str:
    """A template, see `environment`, with these values."""
    return environment(escape).get_template(template).render(values)


@cache
def environment(escape: Callable[[str], str], **syntax: Any) -> "Environment":
    """Templates below `bench/reports/`, in which every value is escaped that is no `Markup`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(str(value)))  # noqa: S704

    environment = Environment(
        loader=PackageLoader("bench.reports", ""),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **syntax,
    )
    environment.filters |= {"number": number, "p_value": p_value, "quoted": quoted}
    return environment


def number(value: float | None, digits: int, sign: str = "") -> str:
    """As printed in text: a dash for None and NaN, a sign for infinity."""
    if value is None or math.isnan(value):
        return DASH
    return f"{value:{sign}z.{digits}f}".replace("inf", "∞")


def quoted(text: str) -> str:
    """A word of a command as a shell reads it."""
    return shlex.quote(printable(text))


def p_value(value: float) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"
