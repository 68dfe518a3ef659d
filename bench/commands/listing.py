"""What is registered, as plain rows: for `list`, for docs and for the tests of the docs."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bench.base.device import default_store
from bench.base.errors import UnknownName
from bench.base.text import printable, suggestion
from bench.base.types import MetricSpec
from bench.data.find import dataset_cards
from bench.data.find import find as find_data
from bench.data.from_card import problem
from bench.methods.card import MethodCard
from bench.methods.entry import Entry
from bench.methods.find import find as find_method
from bench.methods.find import method_cards
from bench.metrics import every, unavailable
from bench.metrics import find as find_metric
from bench.metrics.options import told
from bench.reports import REPORTS
from bench.suites.find import SuiteCard, suite_cards
from bench.suites.protocols import protocols as protocol_cards

Row = dict[str, Any]
SHOWN = ("name", "title", "summary", "licence")
PARTS = ("methods", "datasets", "metrics")
"""Of a suite."""
OF_PYIQA = "Any other metric of pyiqa: pyiqa:NAME. pyiqa's licence is PolyForm-Noncommercial."


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
    trained = "-*" if card.seeds else ""
    names = [f"{card.name}-{ending}{trained}" for ending in card.variants]
    return names or ([f"{card.name}{trained}"] if trained else [])


def _of(card: object, *fields: str, **more: Any) -> Row:
    return {field: getattr(card, field) for field in fields} | more


def methods() -> list[Row]:
    def absent(card: MethodCard) -> str:
        reasons = (Entry(each.name, each).unavailable() for each in card.methods())
        return next(filter(None, reasons), "")

    fields = (*SHOWN, "parameters", "steps", "needs", "ran", "scales", "paper", "repository")
    return [
        _of(card, *fields, facts=facts(card), variants=variants(card), unavailable=absent(card))
        for card in method_cards().values()
    ]


def datasets() -> list[Row]:
    root = default_store() / "datasets"
    fields = (*SHOWN, "source", "scale", "images")
    return [_of(c, *fields, unavailable=problem(c, root)) for c in dataset_cards().values()]


def metric(spec: MetricSpec) -> Row:
    """A metric, with what can be said of it in parentheses."""
    return _of(
        spec,
        *("name", "title", "better", "kind", "range", "unit", "licence", "source"),
        summary=spec.means,
        reference="full" if spec.reference else "none",
        options=[told(name, option) for name, option in spec.accepted.items()],
        unavailable=unavailable(spec, "cuda"),
    )


def suites() -> list[Row]:
    return [_suite(card) for card in suite_cards().values()]


def _suite(suite: SuiteCard) -> Row:
    """A suite runs where all its test sets are and any of its methods and metrics: `without`
    names the others."""
    root = default_store() / "datasets"
    reasons = {
        "methods": {name: find_method(name).unavailable() for name in suite.methods},
        "test sets": {name: find_data(name).problem(root) for name in suite.datasets},
        "metrics": {name: unavailable(find_metric(name), "cuda") for name in suite.metrics},
    }
    without = {what: [n for n, why in known.items() if why] for what, known in reasons.items()}
    lacking = {what: names for what, names in without.items() if names}
    told = ", ".join(f"{len(n)} of {len(reasons[what])} {what}" for what, n in lacking.items())
    stops = "test sets" in lacking or any(len(n) == len(reasons[w]) for w, n in lacking.items())
    return _of(
        suite,
        *("name", "title", "summary", *PARTS),
        without={} if stops else lacking,
        unavailable=f"{told}; run: cassr-bench fetch {suite.name}" if stops else "",
    )


def protocols() -> list[Row]:
    found = []
    for card in protocol_cards().values():
        names, sources = card.metrics, "; ".join(map(str, card.sources))
        traps = {f"trap {i}": trap for i, trap in enumerate(card.traps, start=1)}
        told = {"version": str(card.version), "source": sources or card.paper, **traps}
        absent = [name for name in names if unavailable(find_metric(name), "cuda")]
        lacking = f"{len(absent)} of {len(names)} metrics: {', '.join(absent)}" if absent else ""
        summary = f"{card.title}: {', '.join(names)}"
        found.append(_of(card, "name", "title", summary=summary, facts=told, unavailable=lacking))
    return found


KINDS: dict[str, Callable[[], list[Row]]] = {
    "methods": methods,
    "datasets": datasets,
    "metrics": lambda: [metric(spec) for spec in every()],
    "suites": suites,
    "protocols": protocols,
    "reports": lambda: [_of(r, "name", summary=r.means, unavailable="") for r in REPORTS],
}


def rows(what: str, name: str = "") -> list[Row]:
    """Everything registered of one kind, or one of it by its name; UnknownName where there is no
    such kind, or none of that name."""
    if what not in KINDS:
        hint = suggestion(what, KINDS)
        known = ", ".join(KINDS)
        raise UnknownName(f"list: expected one of {known}, found '{printable(what)}'{hint}")
    if name and what == "metrics":
        return [metric(find_metric(name))]
    found = {row["name"]: row for row in KINDS[what]()}
    if name and name not in found:
        hint = suggestion(name, found)
        raise UnknownName(f"list {what}: none is called '{printable(name)}'{hint}")
    return [found[name]] if name else list(found.values())


def chosen(found: list[Row], ready: bool, search: str) -> list[Row]:
    """Those that can be used here, if asked for, and that hold a text anywhere."""
    usable = [row for row in found if not (ready and row["unavailable"])]
    return [row for row in usable if search.casefold() in str([*row.values()]).casefold()]


def show(what: str, found: list[Row], long: bool = False) -> None:
    """Print rows, a line each or, if `long` or alone, as blocks that say all."""
    console, alone = Console(highlight=False), len(found) == 1
    names = max((len(row["name"]) for row in found), default=0)
    for row in found:
        if long or alone:
            _show_block(row, console, alone)
        else:
            line = Text(f"{' ' if row['unavailable'] else '●'} ")
            without = row.get("without", {}).items()
            left = ", ".join(
                f"{len(n)} {kind if len(n) > 1 else kind.removesuffix('s')}" for kind, n in without
            )
            line.append(row["name"].ljust(names), style="bold")
            line.append(f"  {f'(without {left}) ' if left else ''}{row['summary']}")
            console.print(line, no_wrap=True, overflow="ellipsis")
    if alone:
        return
    ready = sum(not row["unavailable"] for row in found)
    console.print(f"\n{len(found)} {what}, {ready} ready on this machine")
    if what == "metrics":
        console.print(OF_PYIQA)
    if found and not long:
        console.print("● ready here; --long says what each is and needs")


def _show_block(row: Row, console: Console, alone: bool) -> None:
    head = Text(row["name"], style="bold")
    if row.get("title"):
        head.append(f"  {row['title']}", style="not bold")
    console.print(head)
    options = [f"option {line}" for line in row.get("options", ()) if alone]
    for line in (row["summary"], *_details(row), *options):
        console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))


def _details(row: Row) -> list[str]:
    lines = []
    if row.get("better"):
        arrow = "↑ higher" if row["better"] == "higher" else "↓ lower"
        needs = "needs HR" if row["reference"] == "full" else "no reference"
        lines.append(f"{arrow} is better, {needs}, range {row['range'] or 'unbounded'}")
    lines += [f"{part}: {', '.join(row[part])}" for part in PARTS if part in row]
    last = {"variants": ", ".join(row.get("variants", ())), "licence": row.get("licence")}
    for what, names in row.get("without", {}).items():
        last[f"{what} not here"] = f"{', '.join(names)}; run: cassr-bench fetch {row['name']}"
    last["not here"] = row["unavailable"]
    told = {**row.get("facts", {}), **{name: text for name, text in last.items() if text}}
    return lines + [f"{name}: {text}" for name, text in told.items()]
