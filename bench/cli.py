"""The command line: an explicit list of commands; errors become one line and an exit code.

Exit codes: 0 done; 1 done, but not for all images; 2 could not be done; 130
(129, 143) stopped by the user (by SIGHUP, SIGTERM).
"""

import io
import os
import signal
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bench.base.errors import DEBUG, BenchError, SetAside
from bench.base.lazy import TRUST, resolve
from bench.base.text import printable
from bench.processes import stopping

STOPPED = 130
LONGEST = 4000
"""Characters of an error's line; of a name that is longer, beginning and end are shown."""
UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""Typer's, of which it gives out the kinds alone."""
DIGITS = 18
FLAGS = {"--debug": DEBUG, "--trust": TRUST}
_LIST = resources.files("bench.commands").joinpath("commands.toml")
COMMANDS: dict[str, dict[str, str]] = tomllib.loads(_LIST.read_text("utf-8"))
"""Name -> where its code is, imported only when it is the one asked for; summary; example."""


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line for these arguments: of other commands only name and summary are there."""
    app = typer.Typer(
        name="cassr-bench",
        help="Benchmark real-world image super-resolution: upscale, score, report.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for name, told in COMMANDS.items():
        summary, epilog = told["summary"], f"Example: cassr-bench {told['example']}"
        if name != asked:
            app.command(name, help=summary, epilog=epilog)(lambda: None)
            continue
        function = resolve(f"bench.commands.{told['code']}")
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=name, help=summary, epilog=epilog, no_args_is_help=True)
        else:
            app.command(name, epilog=epilog)(_alone_ends(function))
    return app


def _alone_ends(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which no code that it calls can end with an exit code of its own, and which
    counts nothing in numbers of more than DIGITS."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        for name, value in options.items():
            if isinstance(value, int) and abs(value) >= 10**DIGITS:
                option = f"--{name.replace('_', '-')}"
                raise BenchError(f"{option}: expected a number of at most {DIGITS} digits")
        try:
            command(*arguments, **options)
        except Exception:
            raise
        except KeyboardInterrupt as error:
            raise _interrupted(error) from None
        except BaseException as error:
            from bench.processes.foreign import told

            why = f"stopped by code that was called, before the end: {told(error)}"
            raise BenchError(why) from error

    return run


def main() -> None:
    """Entry point of `cassr-bench`."""
    stopping.install()
    os.umask(os.umask(0o077) & 0o077)  # no mask keeps us from what we have just written
    _say_what_is_set_aside()
    _mend_streams()
    if not os.environ.get("COLUMNS", "80").strip("0"):  # nobody's width; some environments say so
        os.environ["COLUMNS"] = "80"
    # Flags that may stand anywhere are for this process and those that it starts.
    os.environ.update({FLAGS[word]: "1" for word in sys.argv[1:] if word in FLAGS})
    arguments = [word for word in sys.argv[1:] if word not in FLAGS]
    try:
        _refuse_no_value(arguments)
        sys.exit(_run(arguments))
    except (BenchError, KeyboardInterrupt) as error:
        told = error if isinstance(error, BenchError) else _interrupted(error)
        _stop(str(told), told.exit_code)
    except Exception as error:
        _stop_unexpected(error)


def _stop_unexpected(error: Exception) -> None:
    """What the machine refused; else a defect of ours, but no reason for a page of traceback."""
    if os.environ.get(DEBUG):
        raise error
    what = f"{type(error).__name__}: {printable(error)}"
    if isinstance(error, MemoryError) or "failed to map segment" in what:
        _stop(f"memory is short, or limited (ulimit -v): {what}; what is finished is kept", 2)
    if isinstance(error, FileNotFoundError) and _nowhere():
        _stop("the folder that you are in is there no longer; change to another", 2)
    if isinstance(error, OSError):
        where = f"{printable(error.filename)}: " if error.filename else ""
        _stop(f"{where}{(error.strerror or str(error)).lower()}", 2)
    _stop(f"unexpected {what}; give --debug to see where, and report it", 2)


def _nowhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _interrupted(error: KeyboardInterrupt) -> BenchError:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one line is said once
    return stopping.interrupted(getattr(error, "number", signal.SIGINT))


class _Output(io.TextIOWrapper):
    """A standard stream that nobody may read any more (`| head -1`): the command goes on without.
    Where it cannot be written for another reason (`> /dev/full`), standard output says so."""

    def write(self, text: str) -> int:
        self._try(super().write, text)
        return len(text)

    def flush(self) -> None:
        self._try(super().flush)

    def _try(self, action: Callable[..., Any], *given: str) -> None:
        try:
            action(*given)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self is sys.stdout and not isinstance(error, BrokenPipeError):
                from bench.base.records import cannot_write

                raise cannot_write(Path("standard output"), error) from error


def _mend_streams() -> None:
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        now = getattr(sys, name)
        if now is None:  # closed (`2>&-`): the next file that is opened would get its number
            nowhere = open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)
            setattr(sys, name, nowhere)
        elif mode == "w" and type(now) is io.TextIOWrapper and now is getattr(sys, f"__{name}__"):
            now.flush()
            errors = "backslashreplace" if now.errors == "strict" else now.errors
            own = _Output(now.buffer, now.encoding, errors, line_buffering=now.line_buffering)
            setattr(sys, name, own)


def _run(arguments: Sequence[str]) -> int:
    """The exit code of the command line; KeyboardInterrupt where the user stopped it."""
    completed = os.environ.get("_TYPER_COMPLETE_ARGS", "").split()[1:]
    try:
        code = build(completed or arguments)(arguments or ["--help"], standalone_mode=False)
    except UsageError as error:
        _misused(error)
    if code == STOPPED:
        raise KeyboardInterrupt
    return int(code or 0)


def _misused(error: Any) -> NoReturn:
    """A wrong option or argument: how the command is used, and what is wrong, as all errors."""
    if error.format_message().startswith("Usage:"):  # no command of a group: its help alone
        error.show()
        sys.exit(error.exit_code)
    if error.ctx is not None:
        typer.echo(f"{error.ctx.get_usage()}\nHelp: {error.ctx.command_path} --help\n", err=True)
    message = error.format_message()
    if "unexpected extra argument" in message:
        own = error.ctx.command.params if error.ctx else ()
        several = next((one.opts[0] for one in own if getattr(one, "multiple", False)), "")
        if several:
            told = f"{several} A {several} B"
            message += f"; an option of several values is repeated for each: {told}"
    _stop(message, error.exit_code)


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


def _refuse_no_value(arguments: Sequence[str]) -> None:
    """An empty value is a variable that was not set; as a path it would mean this very folder.
    Nor is `-` a file: no command reads or writes a standard stream by that name."""
    for before, word in pairwise(("", *arguments)):
        option, equals, value = word.partition("=")
        given = value if option.startswith("--") and equals else word
        given = "folder:" if "folder:" in given.split(",") else given
        if given in ("", "-", "folder:"):
            alone = before if before.startswith("-") else f"after '{printable(before)}'"
            empty = {"": "an empty one", "-": "'-' (a file of that name is ./-)"}
            found = empty.get(given, "'folder:' without a path")
            advice = f"expected a value, found {found}; give one, or leave the option out"
            raise BenchError(f"{printable(option if equals else alone)}: {advice}")


def _stop(message: str, code: int) -> NoReturn:
    shown = message if len(message) <= LONGEST else f"{message[: LONGEST // 2]} … {message[-200:]}"
    typer.echo(f"error: {shown}", err=True)
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
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand after a command too.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let cards by path name any code; likewise.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
