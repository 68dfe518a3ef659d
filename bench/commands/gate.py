"""`gate`: scores against a reference, for continuous integration."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from bench.base.device import resolve_device
from bench.base.errors import BenchError
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import go_offline, print_json, progress, report_failures
from bench.running.options import IMAGE_TIMEOUT, RunOptions

if TYPE_CHECKING:
    from bench.files.outputs import SingleFile
    from bench.gate.judge import GateVerdict
    from bench.gate.measure import Asked, Found
    from bench.gate.reference import Reference, Tolerance


@dataclass(frozen=True)
class Subject:
    """What is judged: a suite, or a folder with or without HR images."""

    suite: Annotated[
        str | None, typer.Argument(help="A suite's name, or a suite card FILE.toml.")
    ] = None
    sr: Annotated[
        Path | None, typer.Option("--sr", help="Instead of a suite: a folder of SR images.")
    ] = None
    hr: Annotated[
        Path | None, typer.Option("--hr", help="Folder of HR images, paired by file stem.")
    ] = None
    sr_name: o.SrName = ""
    modcrop: o.Modcrop = False

    def inputs(self) -> list[Path]:
        """Every file of the folders."""
        from bench.files.outputs import files_in

        return files_in(folder for folder in (self.sr, self.hr) if folder)

    def check(self, choice: o.Choice) -> None:
        """Refuse what does not go together."""
        if bool(self.suite) == bool(self.sr):
            raise BenchError("gate: give either a suite or --sr DIR")
        if self.sr and (choice.methods or choice.datasets):
            raise BenchError("gate --sr: --methods and --datasets belong to a suite")


@dataclass(frozen=True)
class Written:
    """What is written beside the terminal."""

    update: Annotated[
        bool, typer.Option("--update", help="Write the reference anew and show what changed.")
    ] = False
    tolerance: Annotated[
        str | None,
        typer.Option(
            "--tolerance", help="Of a new reference: same, absolute=X, relative=X or statistical."
        ),
    ] = None
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Append the verdict here, as Markdown.")
    ] = None
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the verdict here, as JUnit.")
    ] = None


@grouped
def gate(
    reference: Annotated[
        Path, typer.Option("--reference", help="The reference, FILE.toml or FILE.json.")
    ],
    subject: Subject,
    written: Written,
    choice: o.Choice,
    scale: Annotated[
        int | None,
        typer.Option("--scale", min=1, max=16, help="Upscaling factor; default: the reference's."),
    ] = None,
    device: o.Device = "auto",
    workers: o.WorkerCount = None,
    image_timeout: o.ImageTimeout = IMAGE_TIMEOUT,
    seed: o.Seed = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Use what is stored here; default: compute everything anew."),
    ] = None,
    offline: o.Offline = False,
    overwrite: o.Overwrite = False,
    as_json: o.AsJson = False,
) -> None:
    """Judge scores against a reference.

    Exit code 0: pass; 1: regression; 2: could not judge, since test set, metric or seed differ.
    """
    from bench.gate.measure import Asked
    from bench.gate.reference import read_reference, require_writable

    subject.check(choice)
    report = _report(reference, subject.inputs(), written, overwrite)
    known = read_reference(reference) if reference.exists() or not written.update else None
    if written.update:
        require_writable(reference)
    _check_tolerance(written.tolerance, written.update, known)
    go_offline(offline)
    asked = Asked(*choice.names())
    # An empty one, where none is given: a gate must not pass on images of older code.
    empty = TemporaryDirectory(prefix="cassr-bench-gate-")
    with empty if store is None else nullcontext(store) as folder:
        options = RunOptions(
            store=Path(folder),
            device=resolve_device(device),
            workers=workers,
            seed=seed,
            limit=choice.limit or (known.measured.limit if known else None),
            scale=scale or (known and known.measured.scale) or 4,
            apart=True,
            image_timeout=image_timeout,
            sr_name=subject.sr_name,
            modcrop=subject.modcrop,
        )
        found = _measure(subject, asked, options, known, as_json)
    report_failures(found.failures, options.store)
    if written.update:
        _update(reference, found, known, written.tolerance, as_json)
        return
    assert known is not None
    named = (("methods", asked.methods), ("datasets", asked.datasets), ("metrics", asked.metrics))
    part = frozenset(what for what, names in named if names)
    _judge(known, found, part, subject.suite or "folder", written.markdown, report, as_json)


def _report(
    reference: Path, inputs: list[Path], written: Written, overwrite: bool
) -> SingleFile | None:
    """Where JUnit goes; nothing is written over what is read."""
    from bench.files.outputs import Inputs, SingleFile

    Inputs(inputs).refuse(reference, "--reference")
    read = [reference, *inputs]
    if written.markdown is not None:
        Inputs(read).refuse(written.markdown, "--markdown")
    if written.junit is None:
        return None
    return SingleFile(written.junit, "--junit", inputs=read, overwrite=overwrite)


def _measure(
    subject: Subject,
    asked: Asked,
    options: RunOptions,
    known: Reference | None,
    quiet: bool,
) -> Found:
    from bench.gate import measure as gate_run

    asked = gate_run.as_in(asked, known.measured if known else None)
    if subject.suite:
        return gate_run.measure_suite(subject.suite, asked, options, progress(quiet))
    assert subject.sr is not None
    return gate_run.measure_folder(subject.sr, subject.hr, asked.metrics, options, progress(quiet))


def _check_tolerance(text: str | None, update: bool, known: Reference | None) -> None:
    if text is None:
        return
    if not update or known is not None:
        raise BenchError(
            "--tolerance: is for a new reference; edit the one that is there, it is kept"
        )
    _tolerance(text)


def _tolerance(text: str | None) -> Tolerance:
    """ "absolute=0.1" -> its tolerance."""
    from pydantic import ValidationError

    from bench.gate.reference import Tolerance

    kind, equals, amount = (text or "same").partition("=")
    try:
        return Tolerance.model_validate({"kind": kind, **({"amount": amount} if equals else {})})
    except ValidationError as error:
        raise BenchError(
            "--tolerance: expected same, absolute=X, relative=X or statistical, "
            f"found '{printable(text)}'"
        ) from error


def _update(
    path: Path, found: Found, known: Reference | None, tolerance: str | None, as_json: bool
) -> None:
    from bench.exchange.diff import difference
    from bench.gate.judge import default_policy, keep_scores
    from bench.gate.reference import write_reference

    measured = keep_scores(found.measured)
    if not measured.scores:
        reasons = "; ".join(found.unavailable.values()) or "every image failed"
        raise BenchError(f"--update: nothing was measured ({reasons}); nothing is written")
    policy = known or default_policy(_tolerance(tolerance), measured)
    changes = difference(known.measured, measured) if known else None
    write_reference(path, measured, policy)
    if as_json:
        print_json({"written": str(path), "difference": changes and changes.as_json()})
        return
    for name, reason in found.unavailable.items():
        typer.echo(f"left out: {printable(name)}: {reason}")
    for line in changes.lines() if changes else [f"{len(measured.scores)} cells, all new"]:
        typer.echo(line)
    typer.echo(f"Reference: {printable(path)}")


def _judge(
    known: Reference,
    found: Found,
    part: frozenset[str],
    name: str,
    markdown: Path | None,
    junit: SingleFile | None,
    as_json: bool,
) -> None:
    from bench.gate import output as gate_output
    from bench.gate.judge import judge

    verdict: GateVerdict = judge(known, found.measured, found.unavailable, part)
    if markdown is not None:
        with markdown.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(gate_output.markdown(verdict))
    if junit is not None:
        junit.write(gate_output.junit(verdict, name))
    if as_json:
        print_json(verdict.as_json())
    else:
        typer.echo("\n".join(gate_output.terminal(verdict)))
    raise typer.Exit(verdict.exit_code)
