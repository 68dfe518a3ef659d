"""`score`: any folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.base.device import default_store, resolve_device
from bench.base.progress import Progress
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, go_offline, one_file, report_failures, tell
from bench.running.options import RunOptions

if TYPE_CHECKING:
    from bench.results.folder_scores import FolderScores


@grouped
def score(
    sr: list[Path],
    hr: Path | None = None,
    metrics: list[str] | None = None,
    protocol: str | None = None,
    sr_name: str = "",
    modcrop: bool = False,
    recursive: bool = False,
    csv: Path | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    store: Path | None = None,
    overwrite: bool = False,
    offline: bool = False,
    as_json: bool = False,
) -> None:
    """Score folders of images, with or without HR.

    Images are paired by file stem, or by one affix that all SR names share. Per-image scores go to
    --csv; the means are printed, from 6 images on with 95 % intervals. Several folders over one HR
    folder are faster together.
    """
    from bench.files.outputs import files_in
    from bench.results.folder_scores import as_csv
    from bench.running.score_folders import score_folders
    from bench.suites.protocols import protocols

    write = one_file(csv, "--csv", files_in([*sr, *([hr] if hr else [])]), overwrite)
    go_offline(offline)
    store = store or default_store()
    folder: dict[str, Any] = {"sr_name": sr_name, "modcrop": modcrop, "recursive": recursive}
    options = RunOptions(store, resolve_device(device), workers, limit=limit, **folder)
    names = o.metric_names(metrics, protocol)
    composite = protocols().find(protocol).composite if protocol else None
    scores = score_folders(sr, hr, names, options, Progress(as_json), composite)
    write(as_csv(scores))
    many = [{"folder": str(one.folder), **one.as_json()} for one in scores]
    value = scores[0].as_json() if len(scores) == 1 else {"folders": many}
    tell(as_json, value, lambda: _print_means(scores))
    problems = list(dict.fromkeys(problem for one in scores for problem in one.problems))
    report_failures(problems, store)
    exit_if(problems or any(mean is None for one in scores for _, mean, _, _ in one.means))


def _print_means(scores: Sequence["FolderScores"]) -> None:
    for one in scores:
        if len(scores) > 1:
            typer.echo(printable(one.folder))
        width = max(12, *(len(spec.name) for spec, *_ in one.means))
        for spec, mean, count, reason in one.means:
            half = one.half_widths.get(spec.name)
            between = "" if half is None else f" ± {half:.{spec.digits}f}"
            value = "" if mean is None else f"{mean:.{spec.digits}f}{between}  (n = {count})"
            typer.echo(f"{spec.name:<{width}} {spec.arrow}  {value or f'–  {reason}'}")
