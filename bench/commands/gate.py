"""`gate`: scores against a reference, for continuous integration."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.base.device import resolve_device
from bench.base.errors import BenchError
from bench.base.leftovers import scratch
from bench.base.progress import Progress
from bench.base.records import cannot_write
from bench.base.text import counted, printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import go_offline, one_file, report_failures, tell
from bench.running.options import IMAGE_TIMEOUT, RunOptions

if TYPE_CHECKING:
    from bench.gate.measure import Found, Names
    from bench.gate.reference import Reference, Tolerance


@dataclass(frozen=True)
class Subject:
    """What is judged: a suite, or a folder with or without HR images."""

    suite: str | None = None
    sr: Path | None = None
    hr: Path | None = None
    sr_name: str = ""
    modcrop: bool = False

    def check(self, choice: o.Choice) -> None:
        """Refuse what does not go together."""
        if bool(self.suite) == bool(self.sr):
            raise BenchError("gate: give either a suite or --sr DIR")
        if self.sr and (choice.methods or choice.datasets):
            raise BenchError("gate --sr: --methods and --datasets belong to a suite")

    def measure(
        self, asked: "Names", known: "Reference | None", options: RunOptions, shown: Progress
    ) -> "Found":
        from bench.gate import measure

        names = measure.as_in(asked, known.measured if known else None)
        if self.sr:
            return measure.measure_folder(self.sr, self.hr, names[2], options, shown)
        return measure.measure_suite(self.suite or "", names, options, shown)


@dataclass(frozen=True)
class Written:
    """What is written beside the terminal."""

    update: bool = False
    tolerance: str | None = None
    markdown: Path | None = None
    junit: Path | None = None

    def check(self, reference: Path, subject: Subject, overwrite: bool) -> Callable[..., None]:
        """Writes the JUnit file, if one is asked for; nothing is written over what is read."""
        from bench.base.cards import read_text
        from bench.files.outputs import Inputs, files_in

        inputs = files_in(folder for folder in (subject.sr, subject.hr) if folder)
        Inputs(inputs).refuse(reference, "--reference")
        read = [reference, *inputs]
        if self.markdown is not None:
            Inputs(read).refuse(self.markdown, "--markdown")
            if self.markdown.is_file():
                read_text(self.markdown, 2**28)  # nothing is appended to what is no text
            read.append(self.markdown)  # what is in there stays
        return one_file(self.junit, "--junit", read, overwrite)

    def append(self, verdict: str) -> None:
        if self.markdown is None:
            return
        try:
            with self.markdown.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(verdict)
        except OSError as error:
            raise cannot_write(self.markdown, error) from error

    def first_tolerance(self, known: "Reference | None") -> "Tolerance":
        """That of a new reference: "absolute=0.1", say."""
        from pydantic import ValidationError

        from bench.gate.reference import Tolerance

        if self.tolerance and (known or not self.update):
            why = "is for a new reference; edit the one that is there, it is kept"
            raise BenchError(f"--tolerance: {why}")
        words = (self.tolerance or "same").split("=", 1)
        try:
            return Tolerance.model_validate(dict(zip(("kind", "amount"), words, strict=False)))
        except ValidationError as error:
            expected = "expected same, absolute=X, relative=X or statistical"
            found = f"found '{printable(self.tolerance)}'"
            raise BenchError(f"--tolerance: {expected}, {found}") from error


@grouped
def gate(
    reference: Path,
    *,
    subject: Subject,
    written: Written,
    choice: o.Choice,
    scale: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    image_timeout: int = IMAGE_TIMEOUT,
    seed: int | None = None,
    store: Path | None = None,
    offline: bool = False,
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Judge scores against a reference.

    Exit code 0: pass; 1: regression; 2: could not judge, since test set, metric or seed differ.
    """
    from bench.exchange.measured import KINDS
    from bench.gate import output
    from bench.gate.judge import judge
    from bench.gate.reference import read_reference, require_writable

    subject.check(choice)
    write_junit = written.check(reference, subject, overwrite)
    known = read_reference(reference) if reference.exists() or not written.update else None
    if written.update:
        require_writable(reference)
    tolerance = written.first_tolerance(known)
    go_offline(offline)
    # An empty one, where none is given: a gate must not pass on images of older code.
    empty = scratch()
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
        found = subject.measure(choice.names(), known, options, Progress(as_json))
    report_failures(found.failures, store)
    if known is None or written.update:
        _update(reference, found, known, tolerance, as_json)
        return
    part = [what for what in KINDS if getattr(choice, what)]
    verdict = judge(known, found.measured, found.unavailable, part)
    written.append(output.markdown(verdict))
    write_junit(output.junit(verdict, subject.suite or "folder"))
    tell(as_json, verdict.as_json(), *output.terminal(verdict))
    raise typer.Exit(verdict.exit_code)


def _update(
    path: Path, found: "Found", known: "Reference | None", tolerance: "Tolerance", as_json: bool
) -> None:
    from bench.exchange.diff import difference
    from bench.gate.cell import cells_of
    from bench.gate.judge import default_policy, keep_scores, power
    from bench.gate.reference import Reference, write_reference

    measured = keep_scores(found.measured)
    if not measured.scores:
        reasons = "; ".join(found.unavailable.values()) or "every image failed"
        raise BenchError(f"--update: nothing was measured ({reasons}); nothing is written")
    changes = difference(known.measured, measured) if known else None
    policy = known or default_policy(tolerance, measured)
    write_reference(path, measured, policy)
    if changes is None:
        told, lines = None, [f"{counted(len(measured.scores), 'cell')}, all new"]
    else:
        told, lines = changes.as_json(), changes.lines()
    anew = Reference(measured=measured, **policy.model_dump(exclude={"measured"}))
    told_apart = (f"note: {line}" for line in power(cells_of(anew, measured)))
    left_out = [f"left out: {printable(name)}: {why}" for name, why in found.unavailable.items()]
    written = {"written": str(path), "difference": told}
    tell(as_json, written, *left_out, *lines, *told_apart, f"Reference: {printable(path)}")
