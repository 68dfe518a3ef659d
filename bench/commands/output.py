"""What commands share: progress, JSON, failed images, exit codes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.progress import Progress

FAILED = 1
"""Exit code of a command that is done, but not for all images."""
MAX_LINES = 50


def progress(quiet: bool) -> Progress:
    from bench.progress import Progress

    return Progress(quiet)


def go_offline(offline: bool) -> None:
    """Keep this process and its children off the network."""
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", CASSR_BENCH_OFFLINE="1")


def print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True))


def report_failures(failures: Sequence[tuple[str, str]]) -> None:
    for what, reason in failures[:MAX_LINES]:
        typer.echo(f"failed: {what}: {reason}", err=True)
    if len(failures) > MAX_LINES:
        typer.echo(f"failed: and {len(failures) - MAX_LINES} more", err=True)
