"""Certificates: which metrics give published scores again on this machine, and as what they ran."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bench.base.cards import Card
from bench.base.hashing import json_sha256
from bench.base.records import read_as, write_atomic
from bench.remote import weights

NONE = "none; `cassr-bench verify metrics` makes one"


class Line(Card):
    """One metric on one dataset: differences to the published values of the images compared (of
    the set, for FID); `reason` says why it does not hold where that is not the difference."""

    dataset: str
    metric: str
    images: int
    largest: float | None = None
    mean: float | None = None
    tolerance: float
    verdict: Literal["holds", "differs", "not run"]
    reason: str = ""


class Certificate(Card):
    """What was compared with what, where and when (UTC, YYYY-MM-DD); `prints` are metric -> hash of
    its fingerprint then: another version is not certified."""

    source: str
    title: str
    date: str
    device: str
    machine: str
    versions: dict[str, str]
    prints: dict[str, str] = Field(default_factory=dict)
    lines: list[Line]

    def holds(self, metric: str) -> bool:
        verdicts = {line.verdict for line in self.lines if line.metric == metric}
        return verdicts == {"holds"}


def keep(certificate: Certificate) -> Path:
    """Keep it as this machine's, one for each source and kind of device."""
    path = _folder() / f"{certificate.source}-{certificate.device}.json"
    write_atomic(path, certificate.model_dump_json(indent=1) + "\n")
    return path


def noted(fingerprints: Mapping[str, Mapping[str, Any]], device: str) -> dict[str, Any] | str:
    """What a run's provenance says of this machine's certificates for these metrics."""
    kind = device.partition(":")[0]
    kept = [read_as(path, Certificate) for path in sorted(_folder().glob(f"*-{kind}.json"))]
    return {one.source: _note(one, fingerprints) for one in kept if one} or NONE


def _note(kept: Certificate, fingerprints: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    same = [m for m in fingerprints if kept.prints.get(m) == json_sha256(fingerprints[m])]
    return {
        "date": kept.date,
        "versions": kept.versions,
        "holds": sorted(metric for metric in same if kept.holds(metric)),
        "differs": sorted(metric for metric in same if not kept.holds(metric)),
        "not certified": sorted(fingerprints.keys() - set(same)),
    }


def _folder() -> Path:
    return weights.cache_dir() / "certificates"
