"""The command line: an explicit list of commands; errors become one line and an exit code.

Exit codes: 0 done; 1 done, but not for all images; 2 could not be done; 130 stopped by the user.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from typing import Annotated, Any

import typer

from bench.base.errors import BenchError, SetAside
from bench.base.lazy import resolve
from bench.base.text import printable


@dataclass(frozen=True)
class Command:
    """A command as listed; its module is imported only when it is the one asked for."""

    name: str
    function: str
    summary: str
    example: str


COMMANDS = (
    Command(
        "run",
        "bench.commands.run:run",
        "Run a whole suite: upscale, score, report.",
        "run quick --methods bicubic,dat-light --limit 3",
    ),
    Command(
        "report",
        "bench.commands.run:report",
        "Make a suite's reports again from the store, or those of an export.",
        "report quick --out paper",
    ),
    Command(
        "upscale",
        "bench.commands.upscale:upscale",
        "Upscale files, folders or a dataset by one method.",
        "upscale --method bicubic --input photos --output big",
    ),
    Command(
        "score",
        "bench.commands.score:score",
        "Score folders of images, with or without HR.",
        "score --sr my_output --hr gt --metrics psnr_y,niqe",
    ),
    Command(
        "train",
        "bench.commands.train.command:train",
        "Train a stage of CasSR.",
        "train guidance --preset sd15 --dry-run",
    ),
    Command(
        "gate",
        "bench.commands.gate:gate",
        "Judge scores against a reference.",
        "gate quick --reference results/reference/quick.toml",
    ),
    Command(
        "audit",
        "bench.commands.audit:audit",
        "Recompute what tables and prose claim.",
        "audit my_table.tex",
    ),
    Command(
        "export",
        "bench.commands.publish:export",
        "Write what is stored of a suite for others.",
        "export quick --out my_scores",
    ),
    Command(
        "import",
        "bench.commands.publish:import_",
        "Set others' methods into the leaderboard of a suite.",
        "import quick their_scores --label theirs",
    ),
    Command(
        "diff",
        "bench.commands.publish:diff",
        "Say what is different between two results.",
        "diff my_scores their_scores",
    ),
    Command(
        "list",
        "bench.commands.machine:list_",
        "List methods, datasets, metrics, suites or reports.",
        "list metrics",
    ),
    Command(
        "fetch",
        "bench.commands.machine:fetch",
        "Get weights and test sets ahead of time, hashes checked.",
        "fetch lpips dists",
    ),
    Command(
        "setup",
        "bench.commands.machine:setup",
        "Install a method's official repository.",
        "setup seesr --python /usr/bin/python3.10",
    ),
    Command(
        "doctor",
        "bench.commands.machine:doctor",
        "Say what works here, and how to mend the rest.",
        "doctor seesr --try",
    ),
    Command(
        "verify",
        "bench.commands.verify:app",
        "Say whether metrics give published scores again here.",
        "verify metrics --from OSEDiff",
    ),
    Command(
        "datasets",
        "bench.commands.datasets:app",
        "Look at test sets.",
        "datasets verify quick-bicubic",
    ),
)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line for these arguments: of other commands only name and summary are there."""
    app = typer.Typer(
        name="cassr-bench",
        help="Benchmark real-world image super-resolution: upscale, score, report.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for command in COMMANDS:
        function = resolve(command.function) if command.name == asked else _stub(command.summary)
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=command.name)
        else:
            epilog = f"Example: cassr-bench {command.example}"
            app.command(command.name, epilog=epilog)(_alone_ends(function))
    return app


def _alone_ends(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which no code that it calls can end with an exit code of its own."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            from bench.base.foreign import told

            raise BenchError(
                f"stopped by code that was called, before the end: {told(error)}"
            ) from error

    return run


def _stub(summary: str) -> Callable[[], None]:
    def listed_only() -> None:
        pass

    listed_only.__doc__ = summary
    return listed_only


def main() -> None:
    """Entry point of `cassr-bench`."""
    _say_what_is_set_aside()
    try:
        _refuse_empty(sys.argv[1:])
        build(sys.argv[1:])()
    except BenchError as error:
        _stop(str(error), error.exit_code)
    except KeyboardInterrupt:
        _stop("stopped; what is finished is kept", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"{printable(error.filename)}: " if error.filename else ""
        _stop(f"{where}{(error.strerror or str(error)).lower()}", 2)
    except Exception as error:  # a defect of ours, but no reason for a page of traceback
        if os.environ.get("CASSR_BENCH_DEBUG"):
            raise
        what = f"{type(error).__name__}: {printable(error)}"
        _stop(f"unexpected {what}; set CASSR_BENCH_DEBUG=1 to see where, and report it", 2)


def _say_what_is_set_aside() -> None:
    """A line on standard error for each thing that was set aside, once, not Python's two."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, SetAside):
            typer.echo(f"warning: {message}", err=True)
        else:
            shown(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]
    warnings.simplefilter("once", SetAside)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty value is a variable that was not set; as a path it would mean this very folder."""
    for before, word in pairwise(("", *arguments)):
        option, equals, value = word.partition("=")
        if not word or (option.startswith("--") and equals and not value):
            where = option or (before if before.startswith("-") else f"after '{printable(before)}'")
            raise BenchError(
                f"{printable(where)}: expected a value, found an empty one; give one, "
                "or leave the option out"
            )


def _stop(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        from bench.base.version import package_version

        typer.echo(f"cassr-bench {package_version()}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
