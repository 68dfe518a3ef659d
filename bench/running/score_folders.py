"""Score any folders of SR images against any folder of HR images, or none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from bench import metrics
from bench.base.errors import BenchError, ImageError
from bench.base.leftovers import scratch
from bench.base.progress import Progress
from bench.base.text import printable
from bench.base.types import MetricSpec, Missing
from bench.data.manifest import Refusals
from bench.data.pairing import Pairs, nearly_same, pair_files
from bench.files.colour import name_of, profile_of
from bench.files.images import crop, image_sha256, read_rgb, write_png
from bench.files.names import STEM
from bench.results.folder_scores import FolderScores, Row
from bench.running.options import RunOptions
from bench.running.score import Scorer, Target
from bench.running.score_job import LARGEST_SCALE
from bench.store.store import Store
from bench.suites.protocols import Composite


def score_folders(
    srs: Sequence[Path],
    hr: Path | None,
    names: Sequence[str],
    options: RunOptions,
    progress: Progress,
    composite: Composite | None = None,
) -> list[FolderScores]:
    """Score every image of each folder by every metric, pairing with `hr` by file stem.

    `composite` is scored too, from the scores of these metrics. Of the options these count: store,
    device, workers, limit, sr_name, modcrop and recursive.

    Raises:
        BenchError: an unknown metric, one that needs `hr` where there is none, a folder that is
            missing or empty, or no metric that can run here.
    """
    specs = list({spec.name: spec for spec in map(metrics.find, names)}.values())
    _require_usable(specs, hr)
    sha256 = cache(image_sha256)  # of HR images once for all folders
    with scratch() as place:
        paired = [pair_files(sr, hr, options.sr_name, options.recursive) for sr in srs]
        store = Store(options.store)
        scorer = Scorer(specs, store, options.device)
        store.note_use({"score": [str(sr.resolve()) for sr in srs], "metrics": [*names]}, ())
        if not scorer.usable:
            raise BenchError("; ".join(dict.fromkeys(scorer.reasons.values())))
        found = [
            _found(sr, pairs, options, sha256, Path(place, str(index)), scorer.get_ready)
            for index, (sr, pairs) in enumerate(zip(srs, paired, strict=True))
        ]
        for note in dict.fromkeys(note for one in found for note in one.notes):
            progress.say(note)
        every = [target for one in found for target in one.targets.values()]
        scorer.score_missing(every, options, progress)
    hrs = {printable(target.hr): target.hr_sha256 or "" for target in every if target.hr}
    scores = [_collect(one, hrs, specs, scorer, progress) for one in found]
    return [_with_composite(one, composite) for one in scores] if composite else scores


def _with_composite(scores: FolderScores, composite: Composite) -> FolderScores:
    import pandas as pd

    frame = pd.DataFrame(scores.rows, columns=["image", "metric", "value", "reason"])
    frame = composite.added(frame.astype({"value": float}).assign(dataset="", method=""))
    own = frame[frame["metric"] == composite.name]
    known = own["value"].dropna()
    mean = float(known.mean()) if len(known) else None
    why = "" if len(known) else ", ".join(dict.fromkeys(own["reason"]))
    told = (composite.spec, mean, len(known), why)
    rows = [
        (str(image), str(metric), None if value != value else float(value), str(reason))
        for image, metric, value, reason in frame.iloc[:, :4].itertuples(index=False)
    ]
    return replace(scores, rows=tuple(rows), means=(*scores.means, told))


def _require_usable(specs: Sequence[MetricSpec], hr: Path | None) -> None:
    if not specs:
        raise BenchError("--metrics: expected at least one name (`cassr-bench list metrics`)")
    for spec in specs:
        if hr is None and (spec.reference or spec.kind == "set"):
            raise BenchError(f"--metrics: {spec.name} compares with HR images; give --hr DIR")


@dataclass(frozen=True)
class _Found:
    """What there is to score, by stem of the HR image, and (file, reason) of the rest."""

    folder: Path
    targets: Mapping[str, Target]
    refused: list[tuple[str, str]]
    notes: tuple[str, ...]


def _found(
    sr: Path,
    paired: tuple[Pairs, Refusals, str],
    options: RunOptions,
    sha256: Callable[[Path], str],
    copies: Path,
    begin: Callable[[Target, RunOptions, int], None],
) -> _Found:
    found, refused, note = paired
    if not found:
        note = f"no file has an HR image's name; say how they are named: --sr-name '{STEM}_x4'"
    pairs = {stem: found[stem] for stem in sorted(found)[: options.limit]}
    targets: dict[str, Target] = {}
    for stem, pair in pairs.items():
        try:
            own, other = _cut(*pair, copies / str(len(targets))) if options.modcrop else pair
            hr_sha256 = sha256(other) if other else None
            targets[stem] = Target(
                pair[0].relative_to(sr).as_posix(), own, sha256(own), other, hr_sha256
            )
        except ImageError as error:
            refused.append((error.file, error.reason))
            continue
        if len(targets) == 1:
            begin(targets[stem], options, len(pairs))
    cut = sum(target.sr != pairs[stem][0] for stem, target in targets.items())
    said = f"{cut} images were cut to the size that they share with their HR image" if cut else ""
    notes = [f"{printable(sr)}: {each}" for each in (note, said, _colours(pairs.values())) if each]
    return _Found(sr, targets, refused, tuple(notes))


def _cut(sr: Path, hr: Path | None, into: Path) -> tuple[Path, Path | None]:
    """Copies of both, cut at the right and bottom to the size they share, where theirs differ by
    less than a scale; else themselves."""
    pictures = {path: read_rgb(path) for path in (sr, hr) if path}
    sizes = [picture.shape[:2] for picture in pictures.values()]
    if len(sizes) < 2 or not nearly_same(sizes[0], sizes[1], LARGEST_SCALE):
        return sr, hr
    height, width = map(min, *sizes)
    copies = [into / "sr.png", into / "hr.png"]
    for path, picture in zip(copies, pictures.values(), strict=True):
        write_png(path, crop(picture, 0, 0, width, height))
    return copies[0], copies[1]


def _colours(found: Iterable[tuple[Path, Path | None]]) -> str:
    """How many SR images are in other colours than their HR images, and the first of them."""
    pairs = [(sr, hr) for sr, hr in found if hr]
    apart = [pair for pair in pairs if profile_of(pair[0]) != profile_of(pair[1])]
    if not apart:
        return ""
    sr, hr = apart[0]
    names = f"{printable(sr.name)} {name_of(profile_of(sr))}, HR {name_of(profile_of(hr))}"
    return (
        f"{len(apart)} of {len(pairs)} images have another colour profile than their HR image "
        f"(the first: {names}); pixels are compared as they are stored"
    )


def _collect(
    found: _Found,
    hrs: Mapping[str, str],
    specs: Sequence[MetricSpec],
    scorer: Scorer,
    progress: Progress,
) -> FolderScores:
    """The scores of a folder; `hrs`: HR file -> hash, since a reason may name a copy of it."""
    targets = sorted(found.targets.values(), key=lambda target: target.image)
    values: dict[str, list[float | Missing]] = {spec.name: [] for spec in specs}
    pairs = {target.image: target for target in targets}
    rows: list[Row] = []
    problems = list(found.refused)
    for image, spec, value in scorer.rows(targets):
        values[spec.name].append(value)
        if spec.kind == "set":
            continue
        if not isinstance(value, Missing):
            rows.append((image, spec.name, value, ""))
            continue
        rows.append((image, spec.name, None, value.text))
        if value.kind != "unavailable":
            of_hr = hrs.get(value.file, "") == pairs[image].hr_sha256
            file = printable(pairs[image].hr if of_hr else found.folder / image)
            problems.append((file, value.reason if value.file else f"{spec.name}: {value.reason}"))
    means = tuple(
        _mean(spec, values[spec.name], len(targets), scorer.reasons[spec.name]) for spec in specs
    )
    names = {target.image: stem for stem, target in found.targets.items()}
    notes = found.notes
    if odd := scorer.oddity(targets):
        notes = (*notes, f"{printable(found.folder)}: {odd}")
        progress.say(notes[-1])
    told = _one_line_each(problems), tuple(found.refused), names, notes
    return FolderScores(found.folder, tuple(rows), means, *told)


def _mean(
    spec: MetricSpec, values: Sequence[float | Missing], images: int, unavailable: str
) -> tuple[MetricSpec, float | None, int, str]:
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return spec, sum(known) / len(known), images if spec.kind == "set" else len(known), ""
    of_set = [value.text for value in values if isinstance(value, Missing) and spec.kind == "set"]
    return spec, None, 0, next(iter(of_set), unavailable or "no image could be scored")


def _one_line_each(problems: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    reasons: dict[str, list[str]] = {}
    for path, reason in problems:
        if reason not in reasons.setdefault(path, []):
            reasons[path].append(reason)
    return tuple((path, "; ".join(reasons[path])) for path in sorted(reasons))
