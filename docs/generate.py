"""Write the generated pages of docs/ again: `python docs/generate.py`, or `nox -s docs`.

A page is made from the cards alone, never from this machine, so that everybody's is the same.
"""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from types import FunctionType
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: E402

import bench  # noqa: E402
from bench.base.remote_file import Weight  # noqa: E402
from bench.commands.listing import facts  # noqa: E402
from bench.data.find import dataset_cards  # noqa: E402
from bench.data.from_photos import photo_collections  # noqa: E402
from bench.exchange.bundle import Bundle, to_results  # noqa: E402
from bench.exchange.kept import exports  # noqa: E402
from bench.exchange.reading import read_bundle  # noqa: E402
from bench.methods.card import MethodCard, Official, Variant  # noqa: E402
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


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def head(*cells: str) -> str:
    return f"{row(*cells)}\n{row(*['---'] * len(cells))}"


def page(name: str, **cards: Any) -> str:
    return PAGE.get_template(f"{name}.md").render(generated=GENERATED, row=row, head=head, **cards)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([head(*heads), *(row(*cells) for cells in rows)])


# -- methods -------------------------------------------------------------------------------------

HEAD = ("name", "licence", "parameters", "steps", "needs", "ran")
SHORTER = {
    "a CUDA GPU with about ": "GPU, ",
    "not counted": "?",
    "one pass": "-",
    "not with trained weights": "",
    "nothing": "",
}
"""What the page's legend explains."""


def methods_page() -> str:
    cards = method_cards()
    shared = _shared_notes(cards.values())
    return page(
        "methods",
        table=table(HEAD, (_method_row(card) for card in cards.values())),
        shared="\n".join(f"- **{letter}**: {text}" for text, letter in shared.items()),
        details="\n\n".join(_method_details(card, shared) for card in cards.values()),
    )


def _method_row(card: MethodCard) -> list[str]:
    told = facts(card)
    for long, short in SHORTER.items():
        told = {name: text.replace(long, short) for name, text in told.items()}
    return [
        f"[`{card.name}`](#{_anchor(card.name)})",
        card.licence,
        *(told[name] for name in HEAD[2:]),
    ]


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _notes(card: MethodCard) -> list[str]:
    return [*(card.official.quirks if card.official else []), *card.deviations]


def _shared_notes(cards: Iterable[MethodCard]) -> dict[str, str]:
    """Notes that several methods have, each with the letter that stands for it."""
    counts = Counter(note for card in cards for note in _notes(card))
    return dict(zip((note for note, n in counts.items() if n > 1), ascii_lowercase, strict=False))


def _method_details(card: MethodCard, shared: Mapping[str, str]) -> str:
    said = [f"**{card.title}.** {card.summary}."]
    said += [f"{card.paper}."] if card.paper else []
    said += [f"<{card.repository}>"] if card.repository else []
    points = [f"- {point}" for point in _points(card, shared)]
    return "\n\n".join([f"### {card.name}", " ".join(said), *filter(None, ["\n".join(points)])])


def _points(card: MethodCard, shared: Mapping[str, str]) -> Iterator[str]:
    for source, weights in groupby(card.weights, _by_hand):
        yield f"weights{source}: {'; '.join(map(_weight, weights))}"
    if card.seeds:
        yield f"training seeds: {', '.join(map(str, card.seeds))}, at the end of the name"
    for ending, variant in card.variants.items():
        yield f"`{card.name}-{ending}`: {_as_said(variant)}"
    if card.packages:
        yield f"packages: `pip install {' '.join(card.packages)}`"
    if card.official:
        yield from _official_points(card.official)
    letters = ", ".join(sorted(shared[note] for note in _notes(card) if note in shared))
    own = [note for note in _notes(card) if note not in shared]
    if letters or own:
        yield f"notes: {'; '.join([*filter(None, [letters]), *own])}"


def _as_said(variant: Variant) -> str:
    return variant.summary.partition("; short training, seed {seed}")[0]


def _weight(weight: Weight) -> str:
    size = f"{weight.size / 1e6:.0f} MB, " if weight.size else ""
    known = weight.sha256 or weight.sha256_prefix
    checked = f"{known[:8]}…" if known else "seen"
    others = [
        f", or `{other.name}` ({other.size / 1e6:.0f} MB) out of the package {other.wheel}: "
        f"{other.differs}"
        for other in weight.others
    ]
    return f"`{weight.name}` ({size}{checked}){''.join(others)}"


def _by_hand(weight: Weight) -> str:
    return "" if weight.url or weight.wheel else f", by hand from <{weight.page}>"


def _official_points(official: Official) -> Iterator[str]:
    script = official.started.removeprefix("built as locked; the script ") or "not built"
    kernels = f", `{','.join(official.kernels)}`" if official.kernels else ""
    yield f"commit `{official.commit}`, Python {official.python}; script: {script}{kernels}"
    models = [
        f"`{snapshot.repository}`{f' at `{snapshot.revision[:12]}`' if snapshot.revision else ''} "
        f"as `{snapshot.into}`"
        for snapshot in official.snapshots
    ]
    if models:
        yield f"hub: {', '.join(models)}"
    yield f"settings: {official.settings}; seed: {official.seeding}"


# -- metrics -------------------------------------------------------------------------------------


def metrics_page() -> str:
    return page("metrics", metrics=METRICS)


# -- the others ------------------------------------------------------------------------------------


def datasets_page() -> str:
    return page("datasets", cards=dataset_cards().values(), photos=photo_collections())


def train_page() -> str:
    cards = training_sets()
    order = [*PAPER, *(name for name in cards if name not in PAPER)]
    runs = [(stage, MINI.training_for(stage, "image")) for stage in MINI_RUNS]
    return page("train", sets=[cards[name] for name in order], runs=runs)


def measured_page() -> str:
    bundles = [(path, read_bundle(path)) for path in exports()]
    return page(
        "measured",
        bundles=bundles,
        table=lambda bundle: markdown(to_results(bundle)),
        versions=_versions,
        certified=_certified,
    )


def _versions(bundle: Bundle) -> str:
    return ", ".join(f"{name} {version}" for name, version in bundle.made_with["versions"].items())


def _certified(bundle: Bundle) -> str:
    certificates = bundle.made_with.get("certificate", {})
    held = certificates.get("osediff") if isinstance(certificates, dict) else None
    return f"; certified on {held['date']}: {', '.join(held['holds'])}" if held else ""


def architecture_page() -> str:
    return page(
        "architecture",
        floors=tomllib.loads((DOCS / "rooms.toml").read_text(encoding="utf-8"))["floor"],
    )


# -- the Python interface ------------------------------------------------------------------------


def python_page() -> str:
    told = [_described(f"bench.{name}", getattr(bench, name)) for name in bench.__all__]
    return page("python", details="\n\n".join(told))


def _described(name: str, thing: Any) -> str:
    """Heading, call and docstring; of a class also what it can be asked for."""
    called = f"{name}{_call(thing)}" if _is_called(thing) else name
    lines = [f"### {name}", "", "```text", called, "```", "", _docstring(thing)]
    found = []
    members = vars(thing).items() if inspect.isclass(thing) and _is_called(thing) else ()
    for key, member in members:
        if not key.startswith("_") and isinstance(member, (FunctionType, property)):
            call = "" if isinstance(member, property) else _call(member)
            found.append(f"- `.{key}{call}`: {' '.join(_docstring(member).split())}")
    return "\n".join([*lines, *([""] if found else []), *found])


def _is_called(thing: Any) -> bool:
    return not (inspect.isclass(thing) and issubclass(thing, Exception))


def _call(function: Any) -> str:
    """Names and defaults, without types."""
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    bare = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return str(bare)


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
    "metrics.md": metrics_page,
    "datasets.md": datasets_page,
    "measured.md": measured_page,
    "train.md": train_page,
    "architecture.md": architecture_page,
    "python.md": python_page,
}


def main(names: Sequence[str]) -> None:
    for name in names or PAGES:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
