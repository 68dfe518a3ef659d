"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from bench.base.device import default_store, resolve_device
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.running.options import IMAGE_TIMEOUT, RunOptions

if TYPE_CHECKING:
    from bench.suites.card import SuiteCard

_IN_PARENTHESES = re.compile(r"\([^()\"]*\)")
_COMMA = "\x1f"


def names(option: str, values: list[str] | None) -> list[str]:
    """Names given as comma lists, repeated options or both; [] where the option was not given.

    Commas in parentheses are part of a name; one with other commas is put in double quotes.

    Raises:
        BenchError: a list that names nothing, or a quote that does not end.
    """
    return [name for value in values or [] for name in _split(option, value)]


def _split(option: str, value: str) -> list[str]:
    kept = _IN_PARENTHESES.sub(lambda inside: inside[0].replace(",", _COMMA), value)
    try:
        rows = list(csv.reader([kept], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise BenchError(
            f"{option}: expected names with commas between them, found '{printable(value)}' "
            f"({error})"
        ) from error
    found = [name.strip().replace(_COMMA, ",") for row in rows for name in row if name.strip()]
    if not found:
        raise BenchError(
            f"{option}: expected at least one name, found '{printable(value)}'; give some or leave "
            "the option out"
        )
    return found


def one_of(option: str, kind: Any) -> Callable[[str], str]:
    """A parser of an option that takes the words of a `Literal`; refuses others in one line."""
    known = get_args(kind)

    def parse(value: str) -> str:
        if value not in known:
            raise BenchError(f"{option}: expected {' or '.join(known)}, found '{printable(value)}'")
        return value

    return parse


MarksKind = Literal["best", "significant"]
CompareKind = Literal["published", "measured"]
Suite = Annotated[str, typer.Argument(help="A suite's name, or a suite card FILE.toml.")]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of everything computed so far; default: $CASSR_BENCH_STORE or the user cache.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        help="Method names, spandrel:FILE, folder:PATH@NAME, FILE.py; comma list or repeated.",
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option("--datasets", help="Dataset names or folder:PATH; comma list or repeated."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metrics", help="Metric names or pyiqa:NAME; comma list or repeated."),
]
SrName = Annotated[
    str,
    typer.Option(
        "--sr-name",
        metavar="PATTERN",
        help="How SR images are named, as in {stem}_x4; {stem} is the HR image's.",
    ),
]
Modcrop = Annotated[
    bool,
    typer.Option(
        "--modcrop", help="Cut SR and HR at the right and bottom to the size that both have."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Only the first N images of every dataset."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="NAME")
]
StoredDevice = Annotated[
    str,
    typer.Option(
        "--device",
        help="Scores made on cpu, cuda or mps, which need not be here; default: what is stored.",
        metavar="NAME",
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; default: one per core on a CPU."),
]
ImageTimeout = Annotated[
    int,
    typer.Option(
        "--image-timeout",
        min=1,
        metavar="SECONDS",
        help="Give up an image that a method of yours works on for longer.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only part I of N; default: as accelerate or torchrun say, else everything.",
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of the methods; default: the suite's.")
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds", min=1, help="This many seeds, from --seed on; the tables hold their means."
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never use the network; use what is on this machine.")
]
Marks = Annotated[
    MarksKind,
    typer.Option(
        "--marks",
        parser=one_of("--marks", MarksKind),
        metavar="best|significant",
        help="Mark best and second best, or the best and all that are not told apart from it.",
    ),
]
Reports = Annotated[
    list[str] | None,
    typer.Option(
        "--reports",
        help="Only these reports; comma list or repeated. `cost` is made only when named.",
    ),
]
Originals = Annotated[
    bool,
    typer.Option(
        "--originals/--no-originals",
        help="Full pictures in the HTML report, or thumbnails alone.",
    ),
]
Region = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="DATASET:IMAGE:X,Y,SIDE",
        help="A square for the panels, in HR pixels, instead of where methods differ; repeatable.",
    ),
]
PanelScores = Annotated[
    list[str] | None,
    typer.Option(
        "--panel-scores",
        metavar="METRIC",
        help="Scores to print below each crop of the panels; comma list or repeated.",
    ),
]
Compare = Annotated[
    CompareKind | None,
    typer.Option(
        "--compare",
        parser=one_of("--compare", CompareKind),
        metavar="published|measured",
        help="published: published values beside measured ones. measured: the methods of "
        "results/measured, where images and metrics are the same.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace files that this command did not write; inputs never."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done; only test data is prepared.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Scale = Annotated[int, typer.Option("--scale", min=1, max=16, help="Upscaling factor.")]


@dataclass(frozen=True)
class Choice:
    """What is taken of a suite, or instead of what it names."""

    methods: Methods = None
    datasets: Datasets = None
    metrics: Metrics = None
    limit: Limit = None

    def names(self) -> tuple[list[str], list[str], list[str]]:
        """Methods, datasets and metrics by name; [] for the suite's own."""
        return (
            names("--methods", self.methods),
            names("--datasets", self.datasets),
            names("--metrics", self.metrics),
        )

    def suite(self, name: str) -> SuiteCard:
        """The suite of that name, or in that file, with what was named in place of its own."""
        from bench.suites.find import chosen, find_suite

        return chosen(find_suite(name), *self.names())


@dataclass(frozen=True)
class StoredChoice(Choice):
    """What is taken of a suite as far as it is stored, wherever its scores were made."""

    scale: Scale = 4
    device: StoredDevice = "auto"
    seed: Seed = None
    store: Store = None

    def options(self) -> RunOptions:
        return RunOptions(
            store=self.store or default_store(),
            device=resolve_device("auto"),
            seed=self.seed,
            limit=self.limit,
            scale=self.scale,
        )


@dataclass(frozen=True)
class Work:
    """Where and how this process upscales and scores."""

    scale: Scale = 4
    device: Device = "auto"
    workers: WorkerCount = None
    image_timeout: ImageTimeout = IMAGE_TIMEOUT
    shard: Shard = None
    seed: Seed = None
    store: Store = None

    def options(self, limit: int | None) -> RunOptions:
        from bench.running import shards

        place = shards.place(self.shard, self.device, self.workers)
        return RunOptions(
            store=self.store or default_store(),
            device=place.device,
            workers=place.workers,
            shard=place.shard,
            seed=self.seed,
            limit=limit,
            scale=self.scale,
            image_timeout=self.image_timeout,
        )


@dataclass(frozen=True)
class ViewOptions:
    """How results are shown, and where they may be written."""

    marks: Marks = "best"
    compare: Compare = None
    reports: Reports = None
    region: Region = None
    panel_scores: PanelScores = None
    originals: Originals = True
    overwrite: Overwrite = False
