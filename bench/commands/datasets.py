"""`datasets verify`: whether two people have the same test set."""

import json
from pathlib import Path

import typer

from bench.base.device import default_store
from bench.base.progress import Progress
from bench.base.text import printable
from bench.commands.shared.groups import grouped
from bench.commands.shared.output import exit_if, one_file, tell, warn

app = typer.Typer()


@app.command(epilog="Example: cassr-bench datasets verify realsr --against theirs.json")
@grouped
def verify(
    name: str,
    against: Path | None = None,
    out: Path | None = None,
    scale: int = 4,
    store: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Hash a test set's images afresh and compare manifests.

    Two people whose manifest hashes agree have the same pixels, whatever their files are called
    or encoded as.
    """
    from bench.data import verify as checking
    from bench.files.outputs import files_in

    inputs = [*([against] if against else []), *files_in(_folder_of(name))]
    write = one_file(out, "--out", inputs, overwrite)
    root = (store or default_store()) / "datasets"
    with Progress(as_json).step(f"verify {name}") as advance:
        found, differences = checking.verify(name, scale, root, against, advance)
    write(json.dumps(found, indent=1, sort_keys=True) + "\n")
    refused = [f"{printable(file)}: {printable(reason)}" for file, reason in found["refused"]]
    count = f"{len(found['pairs'])} images" + (f", {len(refused)} refused" if refused else "")
    told = f"{printable(name)}: {count}, manifest {found['sha256']}"
    tell(as_json, {"manifest": found, "differences": differences}, told)
    if not as_json:
        warn("refused", refused)
        warn("differs", differences)
    exit_if(differences)


def _folder_of(name: str) -> list[Path]:
    """The folders of a dataset that is given as one: itself, and those of LR and HR."""
    kind, folder, path = name.partition("folder:")
    return [Path(path), *Path(path).glob("*/")] if folder and not kind else []
