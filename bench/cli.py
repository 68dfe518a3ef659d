"""The command line: parse, call one function, translate errors into one line and an exit code.

Exit codes: 0 done; 1 done, but some images failed; 2 could not be done; 130 stopped by the user.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import options as o
from bench.errors import BenchError
from bench.text import printable

if TYPE_CHECKING:
    from bench.run import Outcome, Plan, RunOptions

FAILED_IMAGES = 1
MAX_LINES = 50

app = typer.Typer(
    name="cassr-bench",
    help="Benchmark real-world image super-resolution: upscale, score, report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main() -> None:
    """Entry point of `cassr-bench`."""
    try:
        app()
    except BenchError as error:
        _stop(str(error), error.exit_code)
    except KeyboardInterrupt:
        _stop("stopped; what is finished is kept", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("CASSR_BENCH_DEBUG"):
            raise
        what = f"{type(error).__name__}: {printable(error)}"
        _stop(f"unexpected {what}; set CASSR_BENCH_DEBUG=1 to see where, and report it", 2)


def _stop(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        from bench import __version__

        typer.echo(f"cassr-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: cassr-bench run quick --methods bicubic,dat-light --limit 3")
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a suite card FILE.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Where reports go; default: results/reports/SUITE.")
    ] = None,
    methods: o.Methods = None,
    datasets: o.Datasets = None,
    metrics: o.Metrics = None,
    limit: o.Limit = None,
    scale: o.Scale = 4,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    shard: o.Shard = "1/1",
    seed: o.Seed = None,
    store: o.Store = None,
    fetch: Annotated[
        bool | None,
        typer.Option(help="Fetch missing weights first; default: as the suite says."),
    ] = None,
    offline: o.Offline = False,
    require_all: Annotated[
        bool, typer.Option("--require-all", help="Fail when any score is missing.")
    ] = False,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Run a whole suite: upscale, score, report.

    What is in the store already is not computed again; a run that was stopped goes on.
    """
    from bench import run as runner

    suite_card = runner.chosen(
        runner.find_suite(suite), o.split(methods), o.split(datasets), o.split(metrics)
    )
    options = runner.RunOptions(
        store=store or o.default_store(),
        device=o.resolve_device(device),
        workers=workers,
        shard=o.parse_shard(shard),
        seed=seed,
        limit=limit,
        scale=scale,
    )
    _go_offline(offline)
    wants_fetch = suite_card.fetch if fetch is None else fetch
    if wants_fetch and not offline and not dry_run:
        _fetch_for(suite_card)
    plan = runner.plan(suite_card, options, _progress(as_json))
    if dry_run:
        _show_plan(plan, options, as_json)
        return
    outcome = runner.execute(plan, options, _progress(as_json))
    _finish(outcome, out or _default_out(plan.suite.name), options, as_json, require_all)


@app.command()
def report(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a suite card FILE.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Where reports go; default: results/reports/SUITE.")
    ] = None,
    methods: o.Methods = None,
    datasets: o.Datasets = None,
    metrics: o.Metrics = None,
    limit: o.Limit = None,
    scale: o.Scale = 4,
    device: o.Device = "auto",
    seed: o.Seed = None,
    store: o.Store = None,
    as_json: o.AsJson = False,
) -> None:
    """Make a suite's reports again from the store.

    Nothing is upscaled or scored.
    """
    from bench import run as runner

    suite_card = runner.chosen(
        runner.find_suite(suite), o.split(methods), o.split(datasets), o.split(metrics)
    )
    options = runner.RunOptions(
        store=store or o.default_store(),
        device=o.resolve_device(device),
        seed=seed,
        limit=limit,
        scale=scale,
    )
    plan = runner.plan(suite_card, options, _progress(as_json))
    outcome = runner.collect(plan, options)
    _finish(outcome, out or _default_out(plan.suite.name), options, as_json, False)


@app.command(epilog="Example: cassr-bench upscale --method bicubic --input photos --output big")
def upscale(
    method: Annotated[
        str, typer.Option("--method", help="A method's name, spandrel:FILE or FILE.py.")
    ],
    input: Annotated[
        list[Path] | None,
        typer.Option("--input", help="Images or folders of images; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for one PNG per input.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Fill the store for a dataset instead.")
    ] = None,
    scale: o.Scale = 4,
    limit: o.Limit = None,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    shard: o.Shard = "1/1",
    seed: o.Seed = None,
    store: o.Store = None,
    offline: o.Offline = False,
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Upscale files, folders or a dataset by one method.

    Writes one PNG per input under its stem; goes on where it was stopped.
    """
    from bench import upscale_files
    from bench.run import RunOptions

    if bool(dataset) == bool(input) or bool(input) != bool(output):
        raise BenchError("upscale: give either --input with --output, or --dataset")
    options = RunOptions(
        store=store or o.default_store(),
        device=o.resolve_device(device),
        workers=workers,
        shard=o.parse_shard(shard),
        seed=seed,
        limit=limit,
        scale=scale,
    )
    _go_offline(offline)
    progress = _progress(as_json)
    if dataset:
        done = upscale_files.upscale_dataset(method, dataset, options, progress, dry_run)
    else:
        assert input is not None and output is not None
        done = upscale_files.upscale_files(method, input, output, options, progress, dry_run)
    _print_upscaled(done, dry_run, as_json)


@app.command(epilog="Example: cassr-bench score --sr my_output --hr gt --metrics psnr_y,niqe")
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

    _go_offline(offline)
    scores = folders.score_folder(
        sr,
        hr,
        o.split(metrics),
        store=store or o.default_store(),
        device=o.resolve_device(device),
        workers=workers,
        limit=limit,
        progress=_progress(as_json),
    )
    if csv is not None:
        folders.write_csv(csv, scores)
    _print_scores(scores, as_json)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, datasets, metrics, suites or reports.")],
    as_json: o.AsJson = False,
) -> None:
    """List methods, datasets, metrics, suites or reports.

    With licence, needs, and whether it can run here or why not.
    """
    from bench import listing

    rows = listing.rows(what)
    if as_json:
        _print_json(rows)
    else:
        listing.show(what, rows)


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="Metrics, methods or suites whose weights to get.")
    ],
    dry_run: o.DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Download weights ahead of time, hashes checked."""
    from bench import fetching

    rows = fetching.fetch(names, _progress(as_json), dry_run)
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row['file']}: {row['state']}")
    if any(row["failed"] for row in rows):
        raise typer.Exit(2)


@app.command()
def doctor(store: o.Store = None, as_json: o.AsJson = False) -> None:
    """Say what works here, and how to mend the rest."""
    from bench import doctor as examine

    checks = examine.examine(store or o.default_store())
    if as_json:
        _print_json([check.__dict__ for check in checks])
    else:
        examine.show(checks)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


# -- printing ------------------------------------------------------------------------------------


def _progress(quiet: bool) -> Any:
    from bench.progress import Progress

    return Progress(quiet)


def _go_offline(offline: bool) -> None:
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", CASSR_BENCH_OFFLINE="1")


def _default_out(suite: str) -> Path:
    return Path("results") / "reports" / suite


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True))


def _fetch_for(suite: Any) -> None:
    from bench import fetching

    for row in fetching.fetch([*suite.methods, *suite.metrics], _progress(False), False):
        if row["failed"]:
            typer.echo(f"not fetched: {row['file']}: {row['state']}", err=True)


def _show_plan(plan: Plan, options: RunOptions, as_json: bool) -> None:
    from bench import run as runner

    rows = runner.dry_run(plan, options)
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        typer.echo("  ".join(str(value) for value in row.values()))


def _finish(
    outcome: Outcome, out: Path, options: RunOptions, as_json: bool, require_all: bool
) -> None:
    from bench import reports
    from bench.reports import terminal
    from bench.run import as_json as results_json
    from bench.run import write_provenance

    files = reports.render_all(outcome.results, out)
    files.append(write_provenance(outcome.results, out))
    if as_json:
        _print_json(results_json(outcome, files))
    else:
        from rich.console import Console

        terminal.show(outcome.results, Console())
        typer.echo(f"\nReports: {printable(out)}  ({_names(files, out)})")
        typer.echo(f"Images and scores: {printable(options.store)}")
    _report_failures(outcome.failures)
    missing = int(outcome.results.scores["value"].isna().sum())
    if require_all and missing:
        raise BenchError(f"--require-all: {missing} scores are missing; the table says why")
    if outcome.failures:
        raise typer.Exit(FAILED_IMAGES)


def _names(files: list[Path], out: Path) -> str:
    top = sorted({path.relative_to(out).parts[0] for path in files})
    return ", ".join(top)


def _report_failures(failures: Any) -> None:
    for what, reason in failures[:MAX_LINES]:
        typer.echo(f"failed: {what}: {reason}", err=True)
    if len(failures) > MAX_LINES:
        typer.echo(f"failed: and {len(failures) - MAX_LINES} more", err=True)


def _print_upscaled(done: Any, dry_run: bool, as_json: bool) -> None:
    if as_json:
        _print_json(done.as_json())
    elif dry_run:
        typer.echo(f"{done.todo} images would be upscaled into {printable(done.folder)}")
    else:
        typer.echo(
            f"{done.made} images upscaled, {done.known} were there already: "
            f"{printable(done.folder)}"
        )
    _report_failures(done.failures)
    if done.failures:
        raise typer.Exit(FAILED_IMAGES)


def _print_scores(scores: Any, as_json: bool) -> None:
    if as_json:
        _print_json(scores.as_json())
    else:
        for spec, mean, count, reason in scores.means:
            shown = f"{mean:.{spec.digits}f}  (n = {count})" if mean is not None else f"–  {reason}"
            typer.echo(f"{spec.name:<12} {spec.arrow}  {shown}")
    _report_failures(scores.problems)
    if scores.problems or any(mean is None for _, mean, _, _ in scores.means):
        raise typer.Exit(FAILED_IMAGES)


if __name__ == "__main__":
    main()
