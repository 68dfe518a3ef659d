"""From the store to results: what is known of a plan's methods, datasets and metrics."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.hashing import json_sha256
from bench.base.text import printable, without_folders
from bench.base.types import Manifest, MetricSpec, Missing
from bench.base.version import versions
from bench.methods.entry import Entry
from bench.results import certificate
from bench.results.results import KEYS, Cost, Item, PictureSet, Results, summarize
from bench.results.view import PLAIN, View
from bench.running.plan import Plan
from bench.running.score import Scorer
from bench.suites.fetch import remedies
from bench.suites.find import SuiteCard
from bench.suites.protocols import protocols

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunOutcome:
    """What a run leaves: results, and (what, reason) of everything that failed."""

    results: Results
    failures: tuple[tuple[str, str], ...]
    suite: SuiteCard | None = None

    @cached_property
    def view(self) -> View:
        """How the suite is shown on this machine."""
        return View(layout=self.suite.layout, remedy=remedies(self.suite)) if self.suite else PLAIN


def outcome_of(plan: Plan, scorer: Scorer) -> RunOutcome:
    """What is known of a plan, and what failed on the way; this is what it uses of the store."""
    note_use(plan)
    labels = [plan.suite.note, _mixed_kinds(plan, scorer)]
    results = Results(
        title=plan.suite.title or ", ".join(dataset.title for dataset in plan.datasets),
        datasets=tuple(Item(plan.shown[d.name], d.title, d.note) for d in plan.datasets),
        methods=tuple(_method_item(entry, plan, scorer) for entry in plan.methods),
        metrics=tuple(_as_shown(spec, scorer) for spec in plan.metrics),
        scores=_frame(plan, scorer),
        pictures=_pictures(plan),
        notes=tuple(filter(None, labels)),
        provenance=_provenance(plan, scorer),
        costs=tuple(_costs(plan)),
    )
    refused = [item for manifest in plan.manifests.values() for item in manifest.refused]
    failed = [
        (f"{entry.name} on {cell.dataset}: {printable(image)}", why)
        for entry in plan.methods
        for cell in plan.cells_of(entry)
        for image, why in sorted(cell.failed.items())
    ]
    results = _with_composite(results, plan.suite.protocol)
    return RunOutcome(results, (*refused, *failed), plan.suite)


def _with_composite(results: Results, name: str) -> Results:
    """The results with the score that their protocol ranks by, where it has one of its own."""
    composite = protocols().find(name).composite if name else None
    if composite is None:
        return results
    known = results.provenance["metrics"]
    of = {term.metric: known.get(term.metric) for term in composite.terms}
    prints = {**known, composite.name: {"metric": composite.name, "protocol": name, "of": of}}
    return replace(
        results,
        metrics=(*results.metrics, composite.spec),
        scores=composite.added(results.scores),
        provenance={**results.provenance, "metrics": prints},
    )


def _mixed_kinds(plan: Plan, scorer: Scorer) -> str:
    """Which metrics were computed on which kind of device, where these differ."""
    kinds: dict[str, list[str]] = {}
    for spec in plan.metrics:
        if spec.name in scorer.fingerprints:
            kinds.setdefault(scorer.fingerprints[spec.name]["device"], []).append(spec.title)
    told = [f"{', '.join(titles)} on {kind}" for kind, titles in sorted(kinds.items())]
    return f"Scores were computed on different devices: {'; '.join(told)}." if told[1:] else ""


def note_use(plan: Plan) -> None:
    """Tell the store what this plan uses of it, which is then not pruned."""
    options = plan.options
    by = {
        "suite": plan.suite.name,
        "methods": [entry.name for entry in plan.methods],
        "datasets": [dataset.name for dataset in plan.datasets],
        "metrics": [spec.name for spec in plan.metrics],
        "options": [plan.seed, options.limit, options.scale, options.device.partition(":")[0]],
        "folder": str(Path.cwd()),
    }
    _ = plan.cells  # whose folders are opened
    plan.store.note_use(by, [manifest.sha256 for manifest in plan.manifests.values()])


def _as_shown(spec: MetricSpec, scorer: Scorer) -> MetricSpec:
    """A metric whose weights are not the published ones never passes for the real one."""
    substituted = scorer.fingerprints.get(spec.name, {}).get("substituted")
    return replace(spec, title=f"{spec.title} (other weights)") if substituted else spec


def oddity(entry: Entry, plan: Plan, scorer: Scorer) -> str:
    """What is wrong with a method's images as a whole, in one line; "" where nothing is."""
    return scorer.oddity(target for cell in plan.cells_of(entry) for target in cell.targets)


def _method_item(entry: Entry, plan: Plan, scorer: Scorer) -> Item:
    notes = [entry.card.note, *entry.card.deviations, *entry.stand_ins(), *_losses(entry, plan)]
    notes.append(oddity(entry, plan, scorer))
    if entry.files is not None:
        notes += dict.fromkeys(cell.finished.note for cell in plan.cells_of(entry))
    return Item(
        entry.card.name,
        entry.card.title,
        "; ".join(note.removesuffix(".") for note in notes if note),
        parameters=entry.card.parameters,
        steps=entry.card.steps,
        variant=plan.suite.variants.get(entry.card.name, {}),
    )


def _losses(entry: Entry, plan: Plan) -> Iterator[str]:
    """How many of a method's images its program wrote in a way that may have cost pixels."""
    if not entry.card.official:
        return
    kept = [record.lossy for cell in plan.cells_of(entry) for _, record in cell.records()]
    for kind, count in sorted(Counter(kept).items()):
        if kind:
            yield f"{count} of {len(kept)} images were written by its program as {kind}"


def _frame(plan: Plan, scorer: Scorer) -> "pd.DataFrame":
    import pandas as pd

    rows = [
        (plan.shown[cell.dataset], cell.entry.card.name, image, spec.name, *_cells(value))
        for cell in plan.cells
        for image, spec, value in scorer.rows(cell.targets)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "value", "reason", "kind"]).astype({"value": float})


def _cells(value: float | Missing) -> tuple[float | None, str, str]:
    """(value, reason, kind of reason)."""
    if isinstance(value, Missing):
        return None, without_folders(value.text), value.kind
    return value, "", ""


def _pictures(plan: Plan) -> tuple[PictureSet, ...]:
    sr: dict[tuple[str, str], dict[str, Path]] = {}
    for cell in plan.cells:
        for target in cell.targets:
            if target.sr is not None:
                own = sr.setdefault((cell.dataset, target.image), {})
                own[cell.entry.card.name] = target.sr
    return tuple(
        PictureSet(shown, pair.id, pair.scale, pair.lr, pair.hr, sr.get((name, pair.id), {}))
        for name, shown in plan.shown.items()
        for pair in plan.manifests[name].pairs
    )


def _costs(plan: Plan) -> Iterator[Cost]:
    """What the images of the plan cost when they were made, as far as that was recorded."""
    names = {field.name for field in fields(Cost)} - {"dataset", "method", "image"}
    for cell in plan.cells:
        for image, record in cell.records():
            if record.seconds is not None or record.first is not None:
                known = record.model_dump(include=names, exclude_unset=True)
                yield Cost(plan.shown[cell.dataset], cell.entry.card.name, image, **known)


def _provenance(plan: Plan, scorer: Scorer) -> dict[str, Any]:
    """Everything the numbers depend on."""
    proven = certificate.noted(scorer.fingerprints, plan.options.device)
    kinds = sorted({made["device"] for made in scorer.fingerprints.values()})
    here = kinds in ([], [plan.options.device.partition(":")[0]])
    return {
        "suite": _bare(plan.suite.model_dump(mode="json")),
        "seed": plan.seed,
        "limit": plan.options.limit,
        "scale": plan.options.scale,
        "modcrop": plan.options.modcrop,
        "device": plan.options.device if here else ", ".join(kinds),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": versions(),
        "certificate": proven,
        "datasets": {plan.shown[name]: _of_manifest(m) for name, m in plan.manifests.items()},
        "methods": {entry.card.name: _of_method(plan, entry) for entry in plan.methods},
        "metrics": _bare(scorer.fingerprints),
    }


def _of_manifest(manifest: Manifest) -> dict[str, Any]:
    groups = {pair.id: pair.group for pair in manifest.pairs if pair.group}
    return {
        "manifest_sha256": manifest.sha256,
        "images": len(manifest.pairs),
        "refused": len(manifest.refused),
        **({"groups": groups} if groups else {}),
    }


def _of_method(plan: Plan, entry: Entry) -> dict[str, Any]:
    """What its images depend on, and the devices that made them, with their makers' names."""
    known = entry.fingerprint()
    records = [record for cell in plan.cells_of(entry) for _, record in cell.records()]
    names = {f"{r.device.partition(':')[0]}: {r.machine}" for r in records if r.machine}
    made = {"made_on": sorted(names)} if names else {}
    return {**_bare(known), "sha256": json_sha256(known), **made}


def _bare(value: Any) -> Any:
    """A JSON value with names of files instead of their paths on this machine."""
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bare(item) for item in value]
    return without_folders(value) if isinstance(value, str) else value


def as_json(outcome: RunOutcome, files: Sequence[Path]) -> dict[str, Any]:
    """The summary of a run as plain JSON; a missing mean is null with its reason."""
    summary = summarize(outcome.results).astype(object)
    summary = summary.where(summary.notna(), None)
    return {
        "summary": summary.to_dict(orient="records"),
        "provenance": dict(outcome.results.provenance),
        "failures": [list(item) for item in outcome.failures],
        "files": [str(path) for path in files],
    }
