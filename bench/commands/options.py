"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.base.errors import BenchError
from bench.base.text import printable

if TYPE_CHECKING:
    from bench.suites.card import SuiteCard


def names(option: str, values: list[str] | None) -> list[str]:
    """Names given as comma lists, repeated options or both; [] where the option was not given.

    A name with a comma in it is put in double quotes within the list.

    Raises:
        BenchError: a list that names nothing, or a quote that does not end.
    """
    return [name for value in values or [] for name in _split(option, value)]


def _split(option: str, value: str) -> list[str]:
    try:
        rows = list(csv.reader([value], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise BenchError(
            f"{option}: expected names with commas between them, found '{printable(value)}' "
            f"({error})"
        ) from error
    found = [name.strip() for row in rows for name in row if name.strip()]
    if not found:
        raise BenchError(
            f"{option}: expected at least one name, found '{printable(value)}'; give some or leave "
            "the option out"
        )
    return found


def one_of(option: str, value: str | None, *known: str) -> None:
    """Refuse a value that an option does not know.

    Raises:
        BenchError: names the option and what it takes.
    """
    if value is not None and value not in known:
        raise BenchError(f"{option}: expected {' or '.join(known)}, found '{printable(value)}'")


def chosen_suite(
    name: str, methods: list[str] | None, datasets: list[str] | None, metrics: list[str] | None
) -> SuiteCard:
    """The suite with what the options say in place of its own methods, datasets and metrics."""
    from bench.suites.find import chosen, find_suite

    return chosen(
        find_suite(name),
        names("--methods", methods),
        names("--datasets", datasets),
        names("--metrics", metrics),
    )


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
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Only the first N images of every dataset."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="NAME")
]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; default: one per core on a CPU."),
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
Offline = Annotated[
    bool, typer.Option("--offline", help="Never use the network; use what is on this machine.")
]
Marks = Annotated[
    str,
    typer.Option(
        "--marks",
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
Compare = Annotated[
    str | None,
    typer.Option(
        "--compare",
        metavar="NAME",
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
