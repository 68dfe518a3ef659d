"""What is registered, as plain rows: for `list`, for docs and for the tests of the docs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.base.errors import UnknownName
from bench.base.text import printable, suggestion

if TYPE_CHECKING:
    from bench.base.types import MetricSpec
    from bench.methods.card import MethodCard
    from bench.suites.card import SuiteCard

Row = dict[str, Any]


def facts(card: MethodCard) -> dict[str, str]:
    """What is said of every method, in words, also where a card is silent."""
    network = bool(card.weights or card.lookup or card.official)
    unknown = "not counted" if network else "none"
    return {
        "parameters": f"{card.parameters / 1e6:.1f} M" if card.parameters else unknown,
        "steps": str(card.steps) if card.steps else "one pass",
        "needs": card.needs or ("weights" if network else "nothing"),
        "ran": card.ran or "not with trained weights",
    }


def variants(card: MethodCard) -> list[str]:
    """Names under which the card is typed, where it is not its own alone; trainings as `*`."""
    endings = [f"-{ending}" for ending in card.variants] or [""]
    return [
        f"{card.name}{ending}{'-*' if card.seeds else ''}"
        for ending in endings
        if ending or card.seeds
    ]


SHOWN = ("name", "title", "summary", "licence")


def _of(card: object, *fields: str) -> Row:
    return {field: getattr(card, field) for field in fields}


def methods() -> list[Row]:
    from bench.methods.find import Entry, method_cards

    def unavailable(card: MethodCard) -> str:
        reasons = (Entry(each.name, each).unavailable() for each in card.methods())
        return next(filter(None, reasons), "")

    fields = ("parameters", "steps", "needs", "ran", "scales", "paper", "repository")
    return [
        {
            **_of(card, *SHOWN, *fields),
            "facts": facts(card),
            "variants": variants(card),
            "unavailable": unavailable(card),
        }
        for card in method_cards().values()
    ]


def datasets() -> list[Row]:
    from bench.base.device import default_store
    from bench.data.find import dataset_cards, problem

    root = default_store() / "datasets"
    return [
        {**_of(card, *SHOWN, "source", "scale", "images"), "unavailable": problem(card, root)}
        for card in dataset_cards().values()
    ]


def metrics() -> list[Row]:
    from bench.metrics import METRICS

    return [metric(spec) for spec in METRICS]


def metric(spec: MetricSpec) -> Row:
    """A metric, with what can be said of it in parentheses."""
    from bench.metrics import unavailable
    from bench.metrics.options import told

    return {
        **_of(spec, "name", "title", "better", "kind", "range", "unit", "licence", "source"),
        "summary": spec.means,
        "reference": "full" if spec.reference else "none",
        "options": [told(name, option) for name, option in spec.accepted.items()],
        "unavailable": unavailable(spec),
    }


def suites() -> list[Row]:
    from bench.suites.find import suite_cards

    parts = ("methods", "datasets", "metrics")
    return [
        {**_of(card, "name", "title", "summary", *parts), "unavailable": _lacking(card)}
        for card in suite_cards().values()
    ]


def _lacking(suite: SuiteCard) -> str:
    """How many of its parts are not here, "" when none."""
    from bench.base.device import default_store
    from bench.data import find as data
    from bench.methods.find import find as find_method
    from bench.metrics import get, unavailable

    root = default_store() / "datasets"
    reasons = {
        "methods": [find_method(name).unavailable() for name in suite.methods],
        "test sets": [data.find(name).problem(root) for name in suite.datasets],
        "metrics": [unavailable(get(name)) for name in suite.metrics],
    }
    counts = {what: sum(map(bool, why)) for what, why in reasons.items()}
    told = [f"{n} of {len(reasons[what])} {what}" for what, n in counts.items() if n]
    return f"{', '.join(told)}; run: cassr-bench fetch {suite.name}" if told else ""


def protocols() -> list[Row]:
    from bench.metrics import get, unavailable
    from bench.suites.protocols import protocols as cards

    def lacking(names: list[str]) -> str:
        missing = [name for name in names if unavailable(get(name))]
        return f"{len(missing)} of {len(names)} metrics: {', '.join(missing)}" if missing else ""

    return [
        {
            **_of(card, "name", "title"),
            "summary": f"{card.title}: {', '.join(card.metrics)}",
            "facts": {
                "version": str(card.version),
                "source": "; ".join(map(str, card.sources)) or card.paper,
                **{f"trap {i}": trap for i, trap in enumerate(card.traps, start=1)},
            },
            "unavailable": lacking(card.metrics),
        }
        for card in cards().values()
    ]


def reports() -> list[Row]:
    from bench.reports import REPORTS

    return [{"name": r.name, "summary": r.means, "unavailable": ""} for r in REPORTS]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "methods": methods,
    "datasets": datasets,
    "metrics": metrics,
    "suites": suites,
    "protocols": protocols,
    "reports": reports,
}


def rows(what: str, name: str = "") -> list[Row]:
    """Everything registered of one kind, or one of it by its name.

    Raises:
        UnknownName: no such kind, or none of that name.
    """
    if what not in KINDS:
        known = ", ".join(KINDS)
        raise UnknownName(
            f"list: expected one of {known}, found '{printable(what)}'{suggestion(what, KINDS)}"
        )
    if name and what == "metrics":
        from bench.metrics import get

        return [metric(get(name))]
    found = {row["name"]: row for row in KINDS[what]()}
    if name and name not in found:
        raise UnknownName(
            f"list {what}: none is called '{printable(name)}'{suggestion(name, found)}"
        )
    return [found[name]] if name else list(found.values())


def chosen(found: list[Row], ready: bool, search: str) -> list[Row]:
    """Those that can be used here, if asked for, and that hold a text anywhere."""
    return [
        row
        for row in found
        if not (ready and row["unavailable"]) and search.casefold() in str(row).casefold()
    ]


def show(what: str, found: list[Row], long: bool = False) -> None:
    """Print rows, a line each or, if `long`, as blocks that say all."""
    from rich.console import Console

    console, alone = Console(highlight=False), len(found) == 1
    if long or alone:
        _show_blocks(found, console, alone)
    else:
        _show_lines(found, console)
    if not alone:
        _footer(what, found, console)
    if not long and not alone and found:
        console.print("● ready here; --long says what each is and needs")


def _show_lines(found: list[Row], console: Any) -> None:
    from rich.text import Text

    names = max((len(row["name"]) for row in found), default=0)
    for row in found:
        line = Text(f"{' ' if row['unavailable'] else '●'} ")
        line.append(row["name"].ljust(names), style="bold")
        line.append(f"  {row['summary']}")
        console.print(line, no_wrap=True, overflow="ellipsis")


def _show_blocks(found: list[Row], console: Any, alone: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for row in found:
        head = Text(row["name"], style="bold")
        if row.get("title"):
            head.append(f"  {row['title']}", style="not bold")
        console.print(head)
        options = [f"option {line}" for line in row.get("options", ()) if alone]
        details = [row["summary"], *_details(row), *options]
        for line in details:
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))


def _details(row: Row) -> list[str]:
    lines = []
    if row.get("better"):
        arrow = "↑ higher" if row["better"] == "higher" else "↓ lower"
        needs = "needs HR" if row["reference"] == "full" else "no reference"
        lines.append(f"{arrow} is better, {needs}, range {row['range'] or 'unbounded'}")
    if row.get("methods"):
        lines += [f"{key}: {', '.join(row[key])}" for key in ("methods", "datasets", "metrics")]
    lines += [f"{name}: {text}" for name, text in row.get("facts", {}).items()]
    if row.get("variants"):
        lines.append(f"variants: {', '.join(row['variants'])}")
    if row.get("licence"):
        lines.append(f"licence: {row['licence']}")
    if row["unavailable"]:
        lines.append(f"not here: {row['unavailable']}")
    return lines


def _footer(what: str, found: list[Row], console: Any) -> None:
    ready = sum(not row["unavailable"] for row in found)
    console.print(f"\n{len(found)} {what}, {ready} ready on this machine")
    if what == "metrics":
        console.print(
            "Any other metric of pyiqa: pyiqa:NAME. pyiqa's licence is PolyForm-Noncommercial."
        )
