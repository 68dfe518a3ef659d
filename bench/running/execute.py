"""A suite from plan to results: upscale, score, collect."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench.base.errors import ImageError
from bench.base.progress import Live, Progress, time_in_words
from bench.base.text import printable
from bench.files import images
from bench.results.power import detectable
from bench.results.repeats import over_seeds
from bench.running.cell import Cell
from bench.running.collect import RunOutcome, note_use, oddity, outcome_of
from bench.running.fill import fill, forget
from bench.running.made_elsewhere import made_elsewhere
from bench.running.plan import Plan
from bench.running.score import Scorer


def execute(plan: Plan, progress: Progress) -> RunOutcome:
    """Upscale what is missing, score what is missing, collect. Safe to run again at any time."""
    plan.require_data()
    note_use(plan)  # so that what a killed run has made is kept for the next
    for entry in plan.methods:
        fill(plan.cells_of(entry), plan.options, progress)
    forget()  # metrics need the memory
    own = [target for cell in plan.cells for target in plan.options.shard.of(cell.targets)]
    plan.scorer.score_missing(own, plan.options, progress)
    for entry in plan.methods:
        if odd := oddity(entry, plan, plan.scorer):
            progress.say(f"{printable(entry.name)}: {odd}")
    return outcome_of(plan, plan.scorer)


def collect(plan: Plan) -> RunOutcome:
    """The results as far as the store knows them; computes nothing but distances of sets."""
    plan.require_data()
    return outcome_of(plan, plan.scorer)


def stored(plan: Plan, kind: str = "") -> RunOutcome:
    """`collect`, also of scores that were made elsewhere (on a `kind` of device; by default each
    metric's is that which made most): no metric or device need be here."""
    plan.require_data()
    made = made_elsewhere(plan, kind)
    return outcome_of(plan, Scorer(plan.metrics, plan.store, plan.options.device, made))


def unmeasured(plan: Plan) -> RunOutcome:
    """What is planned without any score, for published values alone; no data need be here."""
    return outcome_of(plan, Scorer((), plan.store, plan.options.device))


def dry_run(plan: Plan, seeds: int) -> list[dict[str, Any]]:
    """What a run would do: a row per method and dataset over all seeds (with the `seconds` that are
    `left`, None where that is not known, by which `pace`), per dataset and per metric; then one per
    dataset and metric with the difference that the set tells apart."""
    rows: list[dict[str, Any]] = []
    for repeated in _repeated(plans(plan, seeds)):
        cell, leg = repeated[0], Leg.of(plan, repeated)
        row = {
            "method": cell.entry.card.name,
            "dataset": cell.dataset,
            "images": len(plan.options.shard.of(cell.pairs)) * len(repeated),
            "to_upscale": sum(len(each.pending(plan.options)) for each in repeated),
            "problem": cell.problem,
        }
        rows.append(row | {"left": leg.left, "seconds": leg.seconds, "pace": leg.source})
    order = [entry.card.name for entry in plan.methods]
    rows.sort(key=lambda row: order.index(row["method"]))
    rows += [{"dataset": d.name, "problem": plan.missing.get(d.name, "")} for d in plan.datasets]
    rows += [{"metric": s.name, "problem": plan.scorer.reasons[s.name]} for s in plan.metrics]
    return [*rows, *_power(plan)]


# -- how far, and how long yet ---------------------------------------------------------------------


@dataclass
class Leg:
    """A method on a dataset, of which images are left.

    Attributes:
        size: megapixels of an image, 0 where that is not known.
        each: seconds that an image takes, None where that is not known; `source` says who says so.
    """

    method: str
    left: int
    size: float
    each: float | None = None
    source: str = ""

    @property
    def seconds(self) -> float | None:
        """Of all that are left."""
        return None if self.left and self.each is None else self.left * (self.each or 0.0)

    @classmethod
    def of(cls, plan: Plan, repeated: Sequence[Cell]) -> "Leg":
        """By what images of the method took here, else by its card, which tells of a GPU."""
        cell, shard, limit = repeated[0], plan.options.shard, plan.options.limit
        card = next(dataset.card for dataset in plan.datasets if dataset.name == cell.dataset)
        left = sum(each.stored(p) is None for each in repeated for p in shard.of(cell.pairs))
        if not cell.pairs and card:  # not made yet
            left = len(shard.of(range(card.images)[:limit])) * len(repeated)
        size = median(_sizes(cell) or [card.megapixels if card else 0])
        leg = cls(cell.entry.name, left if cell.entry.files is None else 0, size)
        every = [line for each in plan.cells_of(cell.entry) for _, line in each.records()]
        taken = [line.seconds / line.pixels * 1e6 for line in every if line.seconds and line.pixels]
        pace, told = cell.entry.card.pace, "measured here"
        if pace and not taken and (cell.entry.card.gpu_gb or plan.options.device != "cpu"):
            taken, told = [pace.seconds / pace.megapixels], pace.source
        if taken and size and leg.left:
            leg.each, leg.source = size * median(taken), told
        return leg


def _sizes(cell: Cell) -> list[float]:
    """Megapixels of SR images: of those made here, else as a few LR images tell."""
    sizes = [line.pixels / 1e6 for _, line in cell.records() if line.pixels]
    for pair in () if sizes else cell.pairs[:9]:
        with suppress(OSError), Image.open(str(pair.lr)) as lr:
            sizes.append(lr.width * lr.height * pair.scale**2 / 1e6)
    return sizes


class Course(Progress):
    """Progress of plans: behind each step how much of all is upscaled, and how long the rest takes
    by what is measured on the way, which replaces what was known before."""

    def __init__(self, plans: Sequence[Plan], quiet: bool) -> None:
        super().__init__(quiet)
        # Of copies: the plans open what is there themselves, when those before them are done.
        copies = _repeated([replace(plan) for plan in plans])
        every = [repeated for repeated in copies if not repeated[0].problem]
        self.legs = {repeated[0].title: Leg.of(plans[0], repeated) for repeated in every}
        self.total = sum(leg.left for leg in self.legs.values())

    @contextmanager
    def step(self, title: str, total: int = 0) -> Iterator[Live]:
        leg = self.legs.get(title)
        with super().step(title, total) as live:
            if leg is None:
                yield live
                return
            start, left = time.monotonic(), leg.left

            def advance(done: int, total: int) -> None:
                leg.left, each = left - done, (time.monotonic() - start) / max(done, 1)
                for other in self.legs.values() if done and leg.size else ():
                    if other.method == leg.method and other.size:
                        other.each = each / leg.size * other.size
                leg.each = each if done else leg.each
                live(done, total)

            yield Live(advance, live.line)
            leg.left = left - total

    def whole(self) -> str:
        left = sum(leg.left for leg in self.legs.values())
        if not left or len(self.legs) < 2:
            return ""
        seconds = [leg.seconds for leg in self.legs.values() if leg.seconds]
        unknown = sum(leg.left for leg in self.legs.values() if leg.seconds is None)
        told = [f"in total {self.total - left}/{self.total}"]
        told += [f"about {time_in_words(sum(seconds))} left"] if seconds else []
        told += [f"{unknown} images not timed yet"] if unknown else []
        return ", ".join(told)


# -- several seeds -------------------------------------------------------------------------------

EDGE = 4
"""Pixels that L-STD leaves out, as CCSR's script does."""


def plans(plan: Plan, seeds: int) -> list[Plan]:
    """The plan with `seeds` seeds, from its own on; methods without noise are run once."""
    return [replace(plan, seed=plan.seed + i) for i in range(seeds)]


def _repeated(plans: Sequence[Plan]) -> Iterator[list[Cell]]:
    """The cells of all plans, method by dataset; of a method without noise that of the first."""
    for cells in zip(*(plan.cells for plan in plans), strict=True):
        yield [*cells] if cells[0].entry.card.seeded else [cells[0]]


def _power(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row per dataset and metric: which difference the set tells apart; see `results.power`."""
    per_image = tuple(spec for spec in plan.metrics if spec.kind == "image")
    if plan.missing or not per_image or len(plan.methods) < 2:
        return
    known = collect(replace(plan, metrics=per_image)).results
    sizes = {}
    for name, manifest in plan.manifests.items():
        alone = {(bool(pair.group), pair.group or pair.id) for pair in manifest.pairs}
        sizes[plan.shown[name]] = len(alone)
    yield from detectable(known, sizes)


def together(plans: Sequence[Plan], outcomes: Sequence[RunOutcome]) -> RunOutcome:
    """The outcomes of all seeds as one, whose scores are means over them."""
    if len(plans) == 1:
        return outcomes[0]
    runs = {plan.seed: outcome.results for plan, outcome in zip(plans, outcomes, strict=True)}
    failures = dict.fromkeys(failure for outcome in outcomes for failure in outcome.failures)
    results = over_seeds(runs, dict(_local_std(plans)))
    return replace(outcomes[0], results=results, failures=tuple(failures))


def _local_std(plans: Sequence[Plan]) -> Iterator[tuple[tuple[str, str, str], float]]:
    """L-STD of every image that a method which draws noise has for all seeds."""
    for cells in zip(*(plan.cells for plan in plans), strict=True):
        if not cells[0].entry.card.seeded or cells[0].entry.files is not None:
            continue
        for pair in cells[0].pairs:
            stored = [cell.stored(pair) for cell in cells]
            try:
                drawn = [images.read_rgb(one.path) for one in stored if one is not None]
            except ImageError:
                continue
            if len(drawn) == len(plans):
                inner = np.stack(drawn)[:, EDGE:-EDGE, EDGE:-EDGE] / 255.0
                key = (plans[0].shown[cells[0].dataset], cells[0].entry.card.name, pair.id)
                yield key, float(inner.std(axis=0).mean())
