"""`upscale`: files, folders or a dataset by one method."""

from dataclasses import replace
from pathlib import Path

from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, go_offline, report_failures, tell


@grouped
def upscale(
    method: str,
    input: list[Path] | None = None,
    output: Path | None = None,
    dataset: str | None = None,
    limit: int | None = None,
    recursive: bool = False,
    to_srgb: bool = False,
    *,
    work: o.Work,
    offline: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Upscale files, folders or a dataset by one method.

    Writes one PNG per input under its stem; goes on where it was stopped. EXIF orientation is
    applied and EXIF dropped; an RGB colour profile is kept, a grey one converted.
    """
    from bench.running import upscale_files

    if bool(dataset) == bool(input) or bool(input) != bool(output) or (dataset and to_srgb):
        raise BenchError("upscale: give either --input with --output (and --to-srgb), or --dataset")
    options = replace(work.options(limit), recursive=recursive)
    go_offline(offline)
    shown = Progress(as_json)
    if dataset:
        done = upscale_files.upscale_dataset(method, dataset, options, shown, dry_run)
    else:
        assert input is not None and output is not None
        done = upscale_files.upscale_files(
            method, {output: input}, options, shown, dry_run, overwrite, to_srgb
        )
    told = f"{done.made} images upscaled, {done.known} were there already: "
    planned = f"{done.todo} images would be upscaled into "
    tell(as_json, done.as_json(), f"{planned if dry_run else told}{printable(done.folder)}")
    report_failures(done.failures, options.store)
    exit_if(done.failures)
