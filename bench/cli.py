"""The command line: an explicit list of commands; errors become one line and an exit code.

Exit codes: 0 done; 1 done, but not for all images; 2 could not be done; 130 stopped by the user.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from bench.commands import audit, datasets, gate, machine, publish, run, score, upscale
from bench.errors import BenchError
from bench.text import printable

app = typer.Typer(
    name="cassr-bench",
    help="Benchmark real-world image super-resolution: upscale, score, report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for name, command, example in (
    ("run", run.run, "run quick --methods bicubic,dat-light --limit 3"),
    ("report", run.report, "report quick --out paper"),
    ("upscale", upscale.upscale, "upscale --method bicubic --input photos --output big"),
    ("score", score.score, "score --sr my_output --hr gt --metrics psnr_y,niqe"),
    ("gate", gate.gate, "gate quick --reference results/reference/quick.toml"),
    ("audit", audit.audit, "audit my_table.tex"),
    ("export", publish.export, "export quick --out my_scores"),
    ("import", publish.import_, "import quick their_scores --label theirs"),
    ("diff", publish.diff, "diff my_scores their_scores"),
    ("list", machine.list_, "list metrics"),
    ("fetch", machine.fetch, "fetch lpips dists"),
    ("setup", machine.setup, "setup seesr --python /usr/bin/python3.10"),
    ("doctor", machine.doctor, "doctor seesr --try"),
):
    app.command(name, epilog=f"Example: cassr-bench {example}")(command)
app.add_typer(datasets.app, name="datasets")


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
    except OSError as error:
        where = f"{printable(error.filename)}: " if error.filename else ""
        _stop(f"{where}{(error.strerror or str(error)).lower()}", 2)
    except Exception as error:  # a defect of ours, but no reason for a page of traceback
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


if __name__ == "__main__":
    main()
