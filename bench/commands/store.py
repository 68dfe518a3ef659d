"""`store`: whether what is stored is sound, what lies where, and what can go."""

import re
import time
from pathlib import Path

import typer

from bench.base.device import default_store
from bench.base.errors import BenchError
from bench.base.progress import Progress
from bench.base.text import counted, in_words, printable
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, tell, warn

app = typer.Typer()
UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


@app.command(epilog="Example: cassr-bench store check --repair")
@grouped
def check(
    repair: bool = False,
    store: Path | None = None,
    as_json: bool = False,
) -> None:
    """Read everything and compare it with its checksums.

    Exit code 1 where something is damaged and not repaired.
    """
    from bench.store.upkeep import check as problems_of

    with Progress(as_json).step("check") as advance:
        problems = problems_of(_root(store), advance)
    for problem in problems if repair else ():
        problem.mend()
    for problem in () if as_json else problems:
        typer.echo(f"{printable(problem.path)}: {problem.what}", err=True)
    done = "set aside; run again to compute it" if repair else "mend it with --repair"
    summary = f"{len(problems)} damaged: {done}" if problems else "Everything is sound."
    tell(as_json, [{"path": str(p.path), "problem": p.what} for p in problems], summary)
    exit_if(problems and not repair)


@app.command(epilog="Example: cassr-bench store info")
@grouped
def info(store: Path | None = None, as_json: bool = False) -> None:
    """Say what lies where, how large it is, and what used it last."""
    from bench.store.upkeep import parts

    root = _root(store)
    found = parts(root)
    lines = []
    for part in found:
        day = time.strftime("%Y-%m-%d", time.localtime(part.used))
        used = f"used {day} by {printable(part.by)}" if part.used else "no use recorded"
        size = f"{counted(part.files, 'file')}, {in_words(part.bytes)}"
        lines.append(f"{part.name}: {size}, {used}")
    total = f"{in_words(sum(part.bytes for part in found))}: {printable(root)}"
    tell(as_json, [part.__dict__ for part in found], *lines, total)


@app.command(epilog="Example: cassr-bench store prune --older-than 90d --dry-run")
@grouped
def prune(
    older_than: str = "",
    store: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Remove what nothing needs.

    That is what the last use of no suite, report or command named, what killed processes left,
    and what was set aside. What was made within a day stays. Exit code 1: some could not go.
    """
    from bench.store import upkeep

    root, age = _root(store), _seconds(older_than)
    found = [(path, upkeep.size(path), why) for path, why in upkeep.spare(root, age).items()]
    stuck = {row[0]: why for row in found if not dry_run and (why := upkeep.prune(root, row[0]))}
    found = [row for row in found if row[0] not in stuck]
    lines = [f"{printable(p.relative_to(root))}: {in_words(size)}, {why}" for p, size, why in found]
    done = "would be freed" if dry_run else "freed"
    total = f"{in_words(sum(size for _, size, _ in found))} {done}: {printable(root)}"
    rows = [{"path": str(path), "bytes": size, "why": why} for path, size, why in found]
    tell(as_json, rows, *lines, total)
    warn("left", list(stuck.values()))
    exit_if(stuck)


def _root(store: Path | None) -> Path:
    """The store's folder, in today's layout."""
    from bench.store.store import Store

    return Store(store or default_store()).root


def _seconds(age: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([hdw])", age)
    if age and match is None:
        raise BenchError(f"--older-than: expected an age such as 90d, found '{printable(age)}'")
    return int(match[1]) * UNITS[match[2]] if match else 0
