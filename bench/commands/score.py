"""`score`: any folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.base.device import default_store, resolve_device
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped, option
from bench.commands.shared.output import FAILED, go_offline, print_json, progress, report_failures
from bench.running.options import RunOptions

if TYPE_CHECKING:
    from bench.running.score_folders import FolderScores


@grouped
def score(
    sr: list[Path] = option("Folder of SR images; repeat it for several methods.", default=...),
    hr: Path | None = option("Folder of HR images, paired by file stem."),
    metrics: o.Metrics = None,
    protocol: o.Protocol = None,
    sr_name: o.SrName = "",
    modcrop: o.Modcrop = False,
    csv: Path | None = option("Write rows image,metric,value,folder here."),
    limit: o.Limit = None,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    store: o.Store = None,
    overwrite: o.Overwrite = False,
    offline: o.Offline = False,
    as_json: o.AsJson = False,
) -> None:
    """Score folders of images, with or without HR.

    Images are paired by file stem, or by one affix that all SR names share. Per-image scores go to
    --csv, the means are printed. Several folders over one HR folder are faster together.
    """
    from bench.files.outputs import SingleFile, files_in
    from bench.running import score_folders as folders
    from bench.suites.protocols import find_protocol

    inputs = files_in([*sr, *([hr] if hr else [])])
    output = SingleFile(csv, "--csv", inputs=inputs, overwrite=overwrite) if csv else None
    go_offline(offline)
    store = store or default_store()
    scores = folders.score_folders(
        sr,
        hr,
        o.metric_names(metrics, protocol),
        RunOptions(
            store, resolve_device(device), workers, limit=limit, sr_name=sr_name, modcrop=modcrop
        ),
        progress(as_json),
        find_protocol(protocol).composite if protocol else None,
    )
    if output is not None:
        output.write(folders.as_csv(scores))
    _print_scores(scores, as_json, store)


def _print_scores(scores: Sequence[FolderScores], as_json: bool, store: Path) -> None:
    if as_json:
        print_json(_json(scores))
    else:
        for one in scores:
            if len(scores) > 1:
                typer.echo(printable(one.folder))
            _print_means(one)
    problems = list(dict.fromkeys(problem for one in scores for problem in one.problems))
    report_failures(problems, store)
    if problems or any(mean is None for one in scores for _, mean, _, _ in one.means):
        raise typer.Exit(FAILED)


def _print_means(scores: FolderScores) -> None:
    width = max(12, *(len(spec.name) for spec, *_ in scores.means))
    for spec, mean, count, reason in scores.means:
        shown = f"{mean:.{spec.digits}f}  (n = {count})" if mean is not None else f"–  {reason}"
        typer.echo(f"{spec.name:<{width}} {spec.arrow}  {shown}")


def _json(scores: Sequence[FolderScores]) -> dict[str, Any]:
    if len(scores) == 1:
        return scores[0].as_json()
    return {"folders": [{"folder": str(one.folder), **one.as_json()} for one in scores]}
