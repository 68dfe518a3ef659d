"""From the store to results: what is known of a plan's methods, datasets and metrics."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.hashing import json_sha256
from bench.base.text import without_folders
from bench.base.types import MetricSpec, Missing
from bench.base.version import package_version
from bench.methods.find import Entry
from bench.results.results import Cost, Item, PictureSet, Results, summarize
from bench.running.score import Scorer, Target

if TYPE_CHECKING:
    import pandas as pd

    from bench.running.cell import Cell
    from bench.running.plan import Plan

RECORDED_VERSIONS = ("torch", "torchvision", "pyiqa", "spandrel", "diffusers", "numpy", "pillow")


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: the results and every image or file that failed, as (what, reason)."""

    results: Results
    failures: tuple[tuple[str, str], ...]


def results_of(plan: Plan, scorer: Scorer, targets: Sequence[Target]) -> Results:
    labels = [plan.suite.note] if plan.suite.note else []
    return Results(
        title=plan.suite.title or ", ".join(dataset.title for dataset in plan.datasets),
        datasets=tuple(Item(d.name, d.title, d.note) for d in plan.datasets),
        methods=tuple(_method_item(entry, plan) for entry in plan.methods),
        metrics=tuple(_as_shown(spec, scorer) for spec in plan.metrics),
        scores=_frame(plan, scorer, targets),
        pictures=_pictures(plan, targets),
        notes=tuple(labels),
        provenance=_provenance(plan, scorer),
        layout=plan.suite.layout,
        costs=_costs(plan),
    )


def _as_shown(spec: MetricSpec, scorer: Scorer) -> MetricSpec:
    """A metric whose weights are not the published ones never passes for the real one."""
    substituted = scorer.fingerprints.get(spec.name, {}).get("substituted")
    return replace(spec, title=f"{spec.title} (other weights)") if substituted else spec


def _method_item(entry: Entry, plan: Plan) -> Item:
    return Item(
        entry.card.name,
        entry.card.title,
        "; ".join(filter(None, [entry.card.note, *entry.card.deviations, *_losses(entry, plan)])),
        parameters=entry.card.parameters,
        steps=entry.card.steps,
        variant=plan.suite.variants.get(entry.card.name, {}),
    )


def _losses(entry: Entry, plan: Plan) -> Iterator[str]:
    """How many of a method's images its program wrote in a way that may have cost pixels."""
    cells = [cell for cell in plan.cells if cell.entry is entry and entry.card.official]
    kept = [stored for cell in cells for pair in cell.pairs if (stored := cell.stored(pair))]
    for kind, count in sorted(Counter(stored.record.lossy for stored in kept).items()):
        if kind:
            yield f"{count} of {len(kept)} images were written by its program as {kind}"


def _frame(plan: Plan, scorer: Scorer, targets: Sequence[Target]) -> pd.DataFrame:
    import pandas as pd

    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.dataset, target.method), []).append(target)
    rows = []
    for (dataset, method), group in groups.items():
        for target in group:
            for spec in plan.metrics:
                if spec.kind == "image":
                    value = scorer.score(spec, target)
                    rows.append((dataset, method, target.image, spec.name, *_cells(value)))
        for spec in plan.metrics:
            if spec.kind == "set":
                value = scorer.set_score(spec, group)
                rows.append((dataset, method, "", spec.name, *_cells(value)))
    columns = ["dataset", "method", "image", "metric", "value", "reason", "kind"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"value": float})


def _cells(value: float | Missing) -> tuple[float | None, str, str]:
    """(value, reason, kind of reason)."""
    if isinstance(value, Missing):
        return None, without_folders(value.text), value.kind
    return value, "", ""


def _pictures(plan: Plan, targets: Sequence[Target]) -> tuple[PictureSet, ...]:
    sr: dict[tuple[str, str], dict[str, Path]] = {}
    for target in targets:
        if target.sr is not None:
            sr.setdefault((target.dataset, target.image), {})[target.method] = target.sr
    return tuple(
        PictureSet(d.name, pair.id, pair.scale, pair.lr, pair.hr, sr.get((d.name, pair.id), {}))
        for d in plan.datasets
        for pair in plan.manifests[d.name].pairs
    )


def _costs(plan: Plan) -> tuple[Cost, ...]:
    """What the images of the plan cost when they were made, as far as that was recorded."""
    return tuple(
        Cost(cell.dataset, cell.entry.card.name, image, **known)
        for cell in plan.cells
        if cell.entry.files is None
        for image, known in _recorded(cell)
    )


def _recorded(cell: Cell) -> Iterator[tuple[str, dict[str, Any]]]:
    names = {field.name for field in fields(Cost)} - {"dataset", "method", "image"}
    for pair in cell.pairs:
        stored = cell.stored(pair)
        if stored and (stored.record.seconds is not None or stored.record.first is not None):
            yield pair.id, stored.record.model_dump(include=names, exclude_unset=True)


def _provenance(plan: Plan, scorer: Scorer) -> dict[str, Any]:
    """Everything the numbers depend on."""
    return {
        "suite": _bare(plan.suite.model_dump(mode="json")),
        "seed": plan.seed,
        "limit": plan.options.limit,
        "device": plan.options.device,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {"cassr-bench": package_version(), **_versions()},
        "datasets": {
            name: {"manifest_sha256": m.sha256, "images": len(m.pairs), "refused": len(m.refused)}
            for name, m in plan.manifests.items()
        },
        "methods": {
            e.card.name: {**_bare(e.fingerprint()), "sha256": json_sha256(e.fingerprint())}
            for e in plan.methods
        },
        "metrics": dict(scorer.fingerprints),
    }


def _bare(value: Any) -> Any:
    """A JSON value with names of files instead of their paths on this machine."""
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bare(item) for item in value]
    return without_folders(value) if isinstance(value, str) else value


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def as_json(outcome: Outcome, files: Sequence[Path]) -> dict[str, Any]:
    """The summary of a run as plain JSON; a missing mean is null with its reason."""
    summary = summarize(outcome.results).astype(object)
    summary = summary.where(summary.notna(), None)
    return {
        "summary": summary.to_dict(orient="records"),
        "provenance": dict(outcome.results.provenance),
        "failures": [list(item) for item in outcome.failures],
        "files": [str(path) for path in files],
    }
