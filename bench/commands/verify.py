"""`verify metrics`: a certificate that the metrics are right on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.base.device import resolve_device
from bench.base.progress import Progress
from bench.base.text import printable
from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, one_file, tell

if TYPE_CHECKING:
    from bench.results.certificate import Certificate

app = typer.Typer()
HEADS = ("dataset", "metric", "images", "largest difference", "mean", "tolerance", "verdict")


@app.command("metrics", epilog="Example: cassr-bench verify metrics --from OSEDiff")
@grouped
def metrics_(
    given: Path | None = None,
    metrics: list[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Score the images that OSEDiff's authors published, beside the scores that they logged.

    The certificate is kept; later runs name it in their provenance. Exit code 1: some differ.
    """
    from bench.gate.verify import verify
    from bench.results.certificate import keep

    write = one_file(out, "--out", [], overwrite)
    names, place = o.names("--metrics", metrics), resolve_device(device)
    shown = Progress(as_json)
    certificate = verify("osediff", given, names, device=place, workers=workers, progress=shown)
    kept = keep(certificate)
    write(certificate.model_dump_json(indent=1) + "\n")
    tell(as_json, certificate.model_dump(), lambda: _show(certificate, kept))
    exit_if(any(line.verdict == "differs" for line in certificate.lines))


def _show(certificate: "Certificate", kept: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    from bench.reports.tables.terminal import plain

    rows = []
    for line in certificate.lines:
        apart = ("–" if v is None else f"{v:.2g}" for v in (line.largest, line.mean))
        cells = (line.dataset, line.metric, str(line.images), *apart, f"{line.tolerance:g}")
        rows.append((*cells, line.verdict))
    console = Console()
    console.print(Text(f"{certificate.title}, scored again", "bold"))
    console.print(plain(HEADS, ("dataset", "metric"), rows))
    for reason in dict.fromkeys(line.reason for line in certificate.lines if line.reason):
        console.print(Text(f"- {reason}"), highlight=False)
    told = ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    console.print(Text(f"{certificate.date}, {certificate.device} ({certificate.machine}); {told}"))
    typer.echo(f"Kept for the provenance of runs: {printable(kept)}")
