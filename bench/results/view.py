"""How results are shown: what every report gets beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Layout = Literal["methods-as-columns", "methods-as-rows"]
"""How tables are laid out: the paper's Table 1, or its Tables 2 and 3."""


@dataclass(frozen=True)
class ShownRegion:
    """A square that panels show, in pixels of the HR (or SR) image."""

    dataset: str
    image: str
    left: int
    top: int
    side: int


@dataclass(frozen=True)
class View:
    """What is shown of results, and how.

    Attributes:
        groups: by dataset and metric, the best method and those not told apart from it; where it
            is given, tables mark these instead of the second best.
        half_widths: of the 95 % intervals by dataset, metric and method, which tables then show
            beside the means.
        every_metric: whether tables keep metrics that no method has a value for.
        remedy: what gets these metrics, for the line below the table that names them instead.
        originals: whether the HTML report holds full pictures, or thumbnails alone.
        regions: what panels show of the images named, instead of where methods differ most.
        under_crops: metrics whose scores of the image stand below each crop of a panel.
    """

    layout: Layout = "methods-as-columns"
    groups: Mapping[tuple[str, str], frozenset[str]] | None = None
    half_widths: Mapping[tuple[str, str, str], float] | None = None
    every_metric: bool = False
    remedy: Mapping[str, str] | None = None
    originals: bool = True
    regions: tuple[ShownRegion, ...] = ()
    under_crops: tuple[str, ...] = ()


PLAIN = View()
