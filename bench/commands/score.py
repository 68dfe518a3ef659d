"""`score`: any folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import options as o
from bench.commands.output import FAILED, go_offline, print_json, progress, report_failures

if TYPE_CHECKING:
    from bench.folders import FolderScores


def score(
    sr: Annotated[Path, typer.Option("--sr", help="Folder of SR images.")],
    hr: Annotated[
        Path | None, typer.Option("--hr", help="Folder of HR images, paired by file stem.")
    ] = None,
    metrics: o.Metrics = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write rows image,metric,value here.")
    ] = None,
    limit: o.Limit = None,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    store: o.Store = None,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Score a folder of images, with or without HR.

    Images are paired by file stem; per-image scores go to --csv, the means are printed.
    """
    from bench import folders

    go_offline(offline)
    scores = folders.score_folder(
        sr,
        hr,
        o.split(metrics),
        store=store or o.default_store(),
        device=o.resolve_device(device),
        workers=workers,
        limit=limit,
        progress=progress(as_json),
    )
    if csv is not None:
        folders.write_csv(csv, scores)
    _print_scores(scores, as_json)


def _print_scores(scores: FolderScores, as_json: bool) -> None:
    if as_json:
        print_json(scores.as_json())
    else:
        for spec, mean, count, reason in scores.means:
            shown = f"{mean:.{spec.digits}f}  (n = {count})" if mean is not None else f"–  {reason}"
            typer.echo(f"{spec.name:<12} {spec.arrow}  {shown}")
    report_failures(scores.problems)
    if scores.problems or any(mean is None for _, mean, _, _ in scores.means):
        raise typer.Exit(FAILED)
