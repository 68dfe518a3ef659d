"""Scores that the store holds from other devices and other versions of libraries."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from bench import metrics
from bench.base.hashing import json_sha256
from bench.base.types import MetricSpec, Missing
from bench.running.plan import Plan
from bench.running.score import Scorer
from bench.store.store import Store


def made_elsewhere(plan: Plan, kind: str) -> dict[str, Mapping[str, Any]]:
    """By metric, the fingerprint by which the store holds more scores than by this machine's own.

    Only those of the same metric: version, options and published weights. The device may be
    another (of this `kind`; "" for any), and versions of libraries; provenance names them.
    """
    chosen: dict[str, Mapping[str, Any]] = {}
    here = plan.options.device.partition(":")[0]
    for spec in plan.metrics:
        known = [f for f in plan.store.fingerprints(spec.name) if _is_of(spec, f)]
        candidates = [f for f in known if kind in ("", f["device"])]
        device = kind or here
        own = {} if metrics.unavailable(spec, device) else metrics.fingerprint(spec, device)
        best = own
        if any(other != own for other in candidates):
            if own in candidates:
                candidates = [own, *candidates]  # the first of equals is taken
            counts = [_count(plan, spec, candidate) for candidate in candidates]
            best = candidates[counts.index(max(counts))] if any(counts) else own
        if best and (best != own or kind not in ("", here)):
            chosen[spec.name] = best
    return chosen


def _is_of(spec: MetricSpec, fingerprint: Mapping[str, Any]) -> bool:
    """Whether scores by it are this metric's, with the published weights."""
    told = [fingerprint.get(field) for field in ("version", "options", "program")]
    program = spec.program and spec.program.fingerprint()
    weights = fingerprint.get("weights", {})
    wanted = {weight.name: weight.sha256 or weight.sha256_prefix for weight in spec.weights}
    return (
        json_sha256(told) == json_sha256([spec.version, dict(spec.options), program])
        and isinstance(fingerprint.get("device"), str)
        and not fingerprint.get("substituted")
        and all(str(weights.get(name, "")).startswith(start) for name, start in wanted.items())
    )


def _count(plan: Plan, spec: MetricSpec, made: Mapping[str, Any]) -> int:
    """How many scores the store holds by a fingerprint, which is no use of them."""
    scorer = Scorer([spec], Store(plan.store.root), plan.options.device, {spec.name: made})
    rows = chain.from_iterable(scorer.rows(cell.targets) for cell in plan.cells)
    return sum(not isinstance(value, Missing) for _, _, value in rows)
