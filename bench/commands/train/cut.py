"""`cut`: large photographs into crops that decode fast, once, before they are trained on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.base.device import cores
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, tell


@grouped
def cut(
    data: list[str],
    *,
    out: Path,
    side: int = 1024,
    workers: int | None = None,
    as_json: bool = False,
) -> None:
    """Cut large photographs into crops that decode fast.

    Crops are PNG files. The same command goes on where it was stopped; photographs that are cut
    already are passed over.
    """
    from cassr.photographs.cut import cut as cut_all
    from cassr.photographs.sets import open_photographs

    def report(done: int, total: int) -> None:
        if not as_json:
            print(f"cut {done}/{total}", file=sys.stderr, flush=True)

    processes = cores() if workers is None else workers
    with translated():
        found: Any = open_photographs(data)
        done = cut_all(found, out, side, workers=processes, report=report, skip=say_skipped)
    counted = ", ".join(f"{count} {what}" for what, count in done.items() if count)
    tell(as_json, done, f"{printable(out)}: {counted}")
    exit_if(done["skipped"])


@contextmanager
def translated() -> Iterator[None]:
    """What `cassr` refuses, as errors of ours."""
    from cassr.base.errors import TrainingError

    try:
        yield
    except TrainingError as error:
        raise BenchError(printable(error)) from error


def say_skipped(name: str, reason: str) -> None:
    """Of a photograph that cannot be used."""
    print(f"skipped {printable(name)}: {printable(reason)}", file=sys.stderr, flush=True)
