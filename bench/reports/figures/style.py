"""How plots look: a column of a paper is `WIDTH` inches wide, text has 8 pt, PDFs have no date."""

import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib as mpl
from fontTools import subset
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import LogLocator, NullFormatter

from bench.base.text import printable
from bench.files.safe_csv import write_files

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#4D3300", "#000099", "#004D4D", "#66664D"),
)
MARKERS = "osD^vP*X<>hp"
STYLE = Path(__file__).with_name("paper.mplstyle")
DATED = ("CreationDate", "Producer", "Creator")
WIDTH, HEIGHT = 3.4, 2.6
LONGEST_NAME = 32
LEGEND_LENGTH = 52
"""Characters of 8 pt in a column, markers and gaps (6 each) included."""


def new_figure(title: str) -> tuple[Figure, Axes]:
    """An empty plot under its title."""
    with mpl.rc_context(fname=STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
    return figure, axes


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and PDF without dates; `path` has no suffix.

    By the canvases themselves, which draw once where `savefig` draws twice.
    """
    png = io.BytesIO()
    with mpl.rc_context(fname=STYLE):
        figure.set_dpi(mpl.rcParams["savefig.dpi"])
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        figure.set_layout_engine("none")  # laid out once, for both
        files = {f"{path.name}.png": png.getvalue(), f"{path.name}.pdf": pdf(figure)}
    return write_files(path.parent, files)


def pdf(figure: Figure) -> bytes:
    """A figure as PDF without dates."""
    file = io.BytesIO()
    with patch.object(subset, "load_font", partial(_without_layout, subset.load_font)):
        FigureCanvasPdf(figure).print_pdf(file, metadata=dict.fromkeys(DATED))
    return file.getvalue()


def _without_layout(load: Callable[..., Any], file: Any, options: subset.Options) -> Any:
    """A font to embed: text is laid out already, and these tables take longest to read."""
    font = load(file, options)
    for table in {"GSUB", "GPOS", "GDEF", "kern"} & {*font.keys()}:
        del font[table]
    return font


def plain_numbers(axis: Axis) -> None:
    """Numbers of a logarithmic axis as such, since mathematics is off for the sake of names."""
    low, high = sorted(axis.get_view_interval())
    if high / low < 50:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def add_legend(figure: Figure, axes: Axes) -> None:
    """Names below the plot, in as many columns as their lengths allow."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), max(1, LEGEND_LENGTH // (max(map(len, labels)) + 6)))
    rows = -(-len(labels) // columns)
    figure.set_figheight(HEIGHT + 0.16 * rows)
    with mpl.rc_context(fname=STYLE):
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                      columnspacing=1.0, handletextpad=0.3)  # fmt: skip


def short(name: str) -> str:
    """A name as plots show it; a leading underscore would hide it from the legend."""
    shown = in_font(printable(name))
    shown = shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
    return f"\u200b{shown}" if shown.startswith("_") else shown


def in_font(name: str) -> str:
    """`name` with the numbers of characters in place of those that the font does not have."""
    known = _characters()
    return "".join(char if ord(char) in known else f"U+{ord(char):04X}" for char in name)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(str(font_file())).get_charmap())


def font_file() -> Path:
    """DejaVu Sans."""
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
