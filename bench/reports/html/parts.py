"""Other reports as parts of the page: their pictures, and their Markdown as HTML.

What they have just written of the same results is taken as it is. All of it is copied, so that the
page's folder travels alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from bench.base import leftovers
from bench.base.records import copy_atomic
from bench.reports import get_report
from bench.reports.reuse import Rendered
from bench.results.results import Results
from bench.results.view import View

NAMES = ("plots", "panels", "statistics", "published", "cost", "reproduce")


@dataclass(frozen=True)
class Part:
    """A section of the page: a report's Markdown, the address of each of its PNGs in the page's
    folder with width and height, and all files that were placed there."""

    name: str
    html: Markup
    pictures: tuple[tuple[Path, int, int], ...]
    files: tuple[Path, ...]


def place_parts(results: Results, out: Path, folder: Path, view: View) -> Iterator[Part]:
    """The parts, placed in `folder`, from reports of the same results, which may be in `out`
    already; one that is made only when it is named is not made for the page."""
    rendered = Rendered(results, view, out)
    for name in NAMES:
        report, files = get_report(name), rendered.files(name)
        with leftovers.scratch() as scratch:
            root = out if files is not None else Path(scratch)
            if files is None:
                files = report.load()(results, root, view) if report.repeats else []
            yield _part(name, root, files, folder)


def _part(name: str, root: Path, files: Sequence[Path], folder: Path) -> Part:
    page = next((file.read_text("utf-8") for file in files if file.suffix == ".md"), "")
    # Raw HTML stays text; the page allows no style in it.
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    html = html.replace(' style="text-align:right"', ' class="number"')
    placed = [file.relative_to(root) for file in files if file.suffix in (".png", ".pdf")]
    pictures = []
    for file in placed:
        copy_atomic(root / file, folder / file)
        if file.suffix == ".png":
            with Image.open(root / file) as image:
                pictures.append((file, *image.size))
    return Part(name, Markup(html), tuple(pictures), tuple(placed))  # noqa: S704
