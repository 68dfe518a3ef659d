"""Write the generated pages of docs/ again: `python docs/generate.py`, or `nox -s docs`.

A page is made from the cards alone, never from this machine, so that everybody's is the same.
"""

import inspect
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from types import FunctionType
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: E402

import bench  # noqa: E402
from bench.commands.listing import facts  # noqa: E402
from bench.data.find import dataset_cards  # noqa: E402
from bench.data.from_card import photo_collections  # noqa: E402
from bench.exchange.bundle import to_results  # noqa: E402
from bench.exchange.merge import exports  # noqa: E402
from bench.exchange.reading import read_bundle  # noqa: E402
from bench.methods.card import MethodCard  # noqa: E402
from bench.methods.find import method_cards  # noqa: E402
from bench.metrics import METRICS  # noqa: E402
from bench.reports.tables.markdown import markdown  # noqa: E402
from cassr.config import MINI  # noqa: E402
from cassr.photographs.sets import PAPER, training_sets  # noqa: E402
from noxfile import MINI_RUNS  # noqa: E402

GENERATED = "<!-- Written by docs/generate.py from the cards: change those, then `nox -s docs`. -->"


PAGE = Environment(  # noqa: S701 -- Markdown
    loader=FileSystemLoader(DOCS / "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    lstrip_blocks=True,
    trim_blocks=True,
)
"""The pages' own words, with places for what the cards say."""
FLOORS = tomllib.loads((DOCS / "rooms.toml").read_text(encoding="utf-8"))["floor"]


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def head(*cells: str) -> str:
    return f"{row(*cells)}\n{row(*['---'] * len(cells))}"


def page(name: str, **cards: Any) -> str:
    return PAGE.get_template(name).render(generated=GENERATED, row=row, head=head, **cards)


def methods_page() -> str:
    """With notes that several methods have, each with the letter that stands for it."""
    cards = method_cards().values()
    counts = Counter(note for card in cards for note in _notes(card))
    several = (note for note, count in counts.items() if count > 1)
    shared = dict(zip(several, ascii_lowercase, strict=False))
    return page("methods.md", cards=cards, facts=facts, notes=_notes, shared=shared, by=groupby)


def _notes(card: MethodCard) -> list[str]:
    return [*(card.official.quirks if card.official else []), *card.deviations]


def train_page() -> str:
    cards = training_sets()
    order = [*PAPER, *(name for name in cards if name not in PAPER)]
    runs = [(stage, MINI.training_for(stage, "image")) for stage in MINI_RUNS]
    return page("train.md", sets=[cards[name] for name in order], runs=runs)


def measured_page() -> str:
    bundles = [(path, read_bundle(path)) for path in exports()]
    return page("measured.md", bundles=bundles, table=lambda bundle: markdown(to_results(bundle)))


def python_page() -> str:
    things = {name: getattr(bench, name) for name in bench.__all__}
    return page("python.md", things=things, members=_members, call=_call, told=_docstring)


def _members(thing: Any) -> dict[str, Any]:
    if not inspect.isclass(thing) or issubclass(thing, Exception):
        return {}
    told = (FunctionType, property)
    return {k: v for k, v in vars(thing).items() if k[0] != "_" and isinstance(v, told)}


def _call(function: Any) -> str:
    """Names and defaults, without types; "" of what is not called."""
    if isinstance(function, property) or function is bench.BenchError:
        return ""
    signature = inspect.signature(function)
    named = [each for each in signature.parameters.values() if each.name != "self"]
    bare = [each.replace(annotation=each.empty) for each in named]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _docstring(thing: Any) -> str:
    """As Markdown: the sections of attributes and arguments as lists."""
    lines = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        item = re.match(r"    (\w[\w, ]*): (.*)", line)
        if line in ("Args:", "Attributes:"):
            continue
        lines.append(f"- `{item[1]}`: {item[2]}" if item else line.strip())
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "methods.md": methods_page,
    "metrics.md": lambda: page("metrics.md", metrics=METRICS),
    "datasets.md": lambda: page(
        "datasets.md", cards=dataset_cards().values(), photos=photo_collections()
    ),
    "measured.md": measured_page,
    "train.md": train_page,
    "architecture.md": lambda: page("architecture.md", floors=FLOORS),
    "figures/architecture.svg": lambda: page("architecture.svg", floors=FLOORS),
    "python.md": python_page,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")
