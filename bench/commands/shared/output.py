"""What commands share: progress, JSON, failed images, exit codes."""

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size

import typer

from bench.base.errors import CannotWrite
from bench.base.text import printable

FAILED = 1
"""Exit code of a command that is done, but not for all images."""
MAX_LINES = 50
MAX_NAMES = 3


def one_file(
    path: Path | None, option: str, inputs: Iterable[Path], overwrite: bool
) -> Callable[..., None]:
    """What writes the file that an option names, once it is known that it may; else nothing."""
    from bench.files.outputs import SingleFile

    if path is None:
        return lambda content: None
    return SingleFile(path, option, inputs=inputs, overwrite=overwrite).write


def go_offline(offline: bool) -> None:
    """Keep this process and its children off the network."""
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", CASSR_BENCH_OFFLINE="1")


def tell(as_json: bool, value: object, *told: str | Callable[[], None]) -> None:
    """Print a value as JSON; or, for people, lines (in a terminal no word of prose is split) and
    what is printed by a call."""
    if as_json:  # which has neither NaN, null here, nor infinity, a text here as in exports
        text = json.dumps(value)
        known = json.loads(text, parse_constant=lambda name: {"NaN": None}.get(name, name))
        typer.echo(json.dumps(known, indent=1, sort_keys=True, ensure_ascii=True))
    for each in () if as_json else told:
        typer.echo("\n".join(map(_fitting, each.split("\n")))) if isinstance(each, str) else each()


def _fitting(line: str) -> str:
    """A line as a terminal shows it best; one that may hold a path or a command is left whole, so
    that it can be copied."""
    if not sys.stdout.isatty() or any(part in line for part in ("/", "\\", "cassr-bench ")):
        return line
    wrap = textwrap.TextWrapper(get_terminal_size().columns, subsequent_indent="    ")
    wrap.break_long_words = wrap.break_on_hyphens = False
    return wrap.fill(line)


def exit_if(failed: object) -> None:
    """End with the exit code of a command that is done, but not for all."""
    if failed:
        raise typer.Exit(FAILED)


def warn(lead: str, lines: Sequence[str]) -> None:
    """Say lines on standard error, as many as are read."""
    more = [f"and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    for line in (*lines[:MAX_LINES], *more):
        typer.echo(f"{lead}: {line}", err=True)


def report_failures(failures: Sequence[tuple[str, str]], store: Path | None) -> None:
    """A line for each failure; one for all where many have the same reason.

    Where that leaves something out, a file in the store, if it is kept, lists all.
    """
    lines = list(_failure_lines(failures))
    warn("failed", lines)
    every = "".join(f"{what}: {reason}\n" for what, reason in failures)
    if store and every.count("\n") > len(lines[:MAX_LINES]):
        from bench.base.records import write_atomic

        with suppress(CannotWrite):
            write_atomic(store / "failures.txt", every.encode("utf-8", "backslashreplace"))
            typer.echo(f"all of them, one by one: {printable(store / 'failures.txt')}", err=True)


def _failure_lines(failures: Sequence[tuple[str, str]]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for what, reason in failures:
        reasons.setdefault(reason, []).append(what)
    for reason, names in reasons.items():
        if len(names) > MAX_NAMES:
            shown = ", ".join(names[:MAX_NAMES])
            yield f"{shown} and {len(names) - MAX_NAMES} more: {reason}"
        else:
            yield from (f"{name}: {reason}" for name in names)
