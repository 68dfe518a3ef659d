"""Set somebody else's methods into a leaderboard, once test sets and metrics are known to agree."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import MetricSpec
from bench.data.find import public_names
from bench.exchange.bundle import Bundle, in_order, item_of, rows
from bench.exchange.diff import difference
from bench.exchange.measured import Measured, as_unicode, of_results, unlike
from bench.exchange.reading import read_bundle
from bench.results.published import folder
from bench.results.results import COLUMNS, Item, Results

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6
"""How far past its bounds floating-point arithmetic takes a score."""


@dataclass(frozen=True)
class Import:
    """A bundle and what it is called in errors and notes."""

    source: str
    bundle: Bundle


def merge(
    results: Results,
    imports: Sequence[Import],
    label: str = "",
    scale: int | None = None,
    called: Mapping[str, str] | None = None,
) -> Results:
    """The results with the methods of others, as far as datasets and metrics are theirs, too; one
    that both have with the same scores stands there once.

    Args:
        label: set in brackets behind the names of imported methods.
        scale: of `results`, where it is known.
        called: what our test sets are called there; by default their public names.

    Raises:
        DataError: a dataset or metric is not the same, nothing is shared, images are unknown, a
            value is none that its metric can give, or a method of the same name has other scores;
            names what differs.
    """
    called = called or public_names(dataset.name for dataset in results.datasets)
    for item in imports:
        results = _merge_one(results, item, label, scale, called)
    return results


def _merge_one(
    results: Results, item: Import, label: str, scale: int | None, called: Mapping[str, str]
) -> Results:
    own = of_results(results, scale=scale, names=called)
    theirs = item.bundle.measured
    grid = results.scores[["dataset", "image", "metric"]].drop_duplicates()
    grid = grid.assign(of=grid["dataset"].map(called), id=grid["image"].map(as_unicode))
    if problem := next(_problems(own, theirs, results.metrics, grid), ""):
        raise DataError(f"{item.source}: {problem}")
    names = _new_names(own, theirs, item, label)
    if not names:
        return results
    return replace(
        results,
        methods=(*results.methods, *_items(results, item, names, _made_with(own, theirs))),
        scores=_with_rows(results, theirs, names, grid, item.source),
        provenance=_with_provenance(results, item, names),
    )


def _incomparable(own: Measured, theirs: Measured) -> list[str]:
    lines = unlike(own, theirs, "here", "there")
    for what in ("datasets", "metrics"):
        if not getattr(own, what).keys() & getattr(theirs, what).keys():
            lines.append(f"none of its {what} is one of ours")
    if not any(cell.images or cell.mean is not None for cell in theirs.scores):
        lines.append("it holds no score")
    return lines


def _problems(
    own: Measured, theirs: Measured, metrics: Sequence[MetricSpec], grid: "pd.DataFrame"
) -> Iterator[str]:
    """Why scores cannot be set beside ours; `grid` as of `_with_rows`."""
    if lines := _incomparable(own, theirs):
        yield f"cannot be compared: {'; '.join(lines)}"
    yield from beyond(theirs, metrics)
    known = {dataset: {"", *images} for dataset, images in grid.groupby("of")["id"]}
    for cell in theirs.scores:
        images = cell.images.keys() | cell.missing.keys()
        if strangers := images - known.get(cell.dataset, images):
            name = printable(min(strangers))
            yield f"dataset {printable(cell.dataset)} has no image '{name}'"


def beyond(told: Measured, metrics: Sequence[MetricSpec]) -> Iterator[str]:
    """Each score that its metric cannot have, by name."""
    bounds = {spec.name: spec.bounds for spec in metrics}
    for cell in told.scores:
        low, high = bounds.get(cell.metric, (-math.inf, math.inf))
        for image, value in {**cell.images, "": cell.mean}.items():
            if value is not None and not low - ROUNDING <= value <= high + ROUNDING:
                where = printable(" / ".join(filter(None, (*cell.key, image))))
                yield f"{where}: expected a score from {low:g} to {high:g}, found {value:g}"


def _made_with(own: Measured, theirs: Measured) -> str:
    """Settings that differ without making scores of another test; "" when none does."""
    told = [
        f"{what} {getattr(theirs, what)} (here {getattr(own, what)})"
        for what in ("seed", "scale")
        if len({None, getattr(own, what), getattr(theirs, what)}) == 3
    ]
    return f"made with {' and '.join(told)}" if told else ""


def _new_names(own: Measured, theirs: Measured, item: Import, label: str) -> dict[str, str]:
    """Imported method -> its name in the merged results."""
    names = {}
    changed = {method for _, method, _ in difference(own, theirs).changes}
    for name in theirs.methods:
        new = f"{name} ({label})" if label else name
        if new not in own.methods:
            names[name] = new
        elif label or name in changed:
            raise DataError(
                f"{item.source}: method '{printable(new)}' is in both, with other scores; "
                "tell them apart with --label NAME"
            )
    return names


def _items(
    results: Results, item: Import, names: Mapping[str, str], made_with: str
) -> Iterator[Item]:
    """How the imported methods are shown; none under a title that another one has."""
    taken = {method.title for method in results.methods}
    told = "; ".join(filter(None, [f"imported from {item.source}", made_with, "not run here"]))
    for old, new in names.items():
        own = item_of(old, item.bundle.methods)
        shown = own.title + new.removeprefix(old)
        if shown in taken:
            shown = f"{shown} ({item.source}: {new})"
        taken.add(shown)
        note = "; ".join(filter(None, [own.note.removesuffix("."), told]))
        yield replace(own, name=new, title=shown, note=note)


def _with_rows(
    results: Results, theirs: Measured, names: Mapping[str, str], grid: "pd.DataFrame", source: str
) -> "pd.DataFrame":
    """The scores with rows of the imported methods for every image and metric, in their order;
    `grid` has dataset, image and metric of every row, and what the first two are called there."""
    import pandas as pd

    told = pd.DataFrame(rows(theirs.scores), columns=["of", "old", "id", "metric", *COLUMNS[4:]])
    method = pd.DataFrame(names.items(), columns=["old", "method"])
    new = method.merge(grid, how="cross").merge(told, how="left", on=["of", "old", "id", "metric"])
    why = new["reason"].fillna("")
    new["reason"] = why.where(why != "", f"not in {source}").where(new["value"].isna(), "")
    new_rows = new[COLUMNS].astype({"value": float})
    orders = {
        "dataset": [item.name for item in results.datasets],
        "method": [*(item.name for item in results.methods), *names.values()],
    }
    return in_order(pd.concat([results.scores, new_rows]), list(orders), orders)


def _with_provenance(results: Results, item: Import, names: dict[str, str]) -> dict[str, Any]:
    theirs, own = item.bundle.measured, results.provenance
    known = {metric.name for metric in results.metrics}
    prints = {name: m.fingerprint for name, m in theirs.metrics.items() if name in known}
    methods = dict(own["methods"])
    for old, new in names.items():
        sha256 = theirs.methods[old].sha256
        methods[new] = {"imported_from": item.source, "name": old, "sha256": sha256}
    return {**own, "methods": methods, "metrics": {**prints, **own["metrics"]}}


# -- leaderboards that were really measured, kept in results/measured ----------------------------


def exports() -> list[Path]:
    """The exports, in the order of their names; none in an installation without them."""
    return sorted((folder().parent / "measured").glob("*.json"))


def beside(results: Results) -> Results:
    """The results with the kept methods that they have not. A test set of the same images is the
    same whatever its name; one that is not, or a metric, is left out and named in a note."""
    before, shared, there, measured = results, False, list[str](), dict[str, None]()
    for path in exports():
        source, bundle = f"measured/{path.name}", read_bundle(path)
        theirs, called = bundle.measured, _names_there(results, bundle.measured)
        own = of_results(results, names=called)
        there += (f"{name} ({one.images} images)" for name, one in theirs.datasets.items())
        if not own.datasets.keys() & theirs.datasets.keys():
            continue
        shared = True
        measured |= dict.fromkeys(theirs.metrics)
        notes = (f"left out of {source}: {line}" for line in unlike(own, theirs, "here", "there"))
        results = replace(results, notes=(*results.notes, *notes))
        cells = [
            cell
            for cell in theirs.scores
            if cell.dataset in own.datasets
            and cell.metric in own.metrics
            and cell.method not in own.methods
            and not unlike(own, theirs.of_cells([cell]), "", "")
        ]
        if cells:
            part = bundle.model_copy(update={"measured": theirs.of_cells(cells)})
            results = merge(results, [Import(source, part)], called=called)
    if results.methods != before.methods or results.notes != before.notes:
        return results
    if not there:
        note = "nothing, in this installation"
    elif not shared:
        note = f"nothing for these test sets (it has {', '.join(there)})"
    elif not measured.keys() & {metric.name for metric in results.metrics}:
        note = f"nothing for these metrics (it has {', '.join(measured)})"
    else:
        note = "no method that is not in this run"
    return replace(results, notes=(*results.notes, f"results/measured holds {note}"))


def _names_there(results: Results, theirs: Measured) -> dict[str, str]:
    """Our test set -> what those images are called there, else its public name."""
    called = public_names(item.name for item in results.datasets)
    same = {one.sha256: name for name, one in theirs.datasets.items()}
    told = results.provenance.get("datasets", {})
    for name in called:
        known = same.get(told.get(name, {}).get("manifest_sha256"))
        if known and known not in called.values():
            called[name] = known
    return called
