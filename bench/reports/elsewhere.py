"""Results for other places: a paper's appendix, a static Space, experiment trackers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.errors import BenchError
from bench.base.text import first_line, printable, slug
from bench.files.safe_csv import write_files
from bench.reports.tables.latex import filled as filled_latex
from bench.reports.tables.markdown import filled
from bench.results.results import Results, summarize
from bench.results.view import PLAIN, View


def reproduce(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``reproduce.md`` and ``reproduce.tex``: the command, versions and hashes."""
    known = results.provenance
    told: dict[str, Any] = {"results": results, "known": known, "options": _options(known)}
    page = filled("pages/reproduce.md", **told)
    paper = filled_latex("pages/reproduce.tex", **told)
    return write_files(out, {"reproduce.md": page, "reproduce.tex": paper})


def _options(known: Mapping[str, Any]) -> str:
    """What a run was told beside its methods, test sets and metrics."""
    told = {name: known.get(name) for name in ("limit", "seed", "seeds", "scale")}
    if isinstance(told["seeds"], list):
        told["seeds"] = len(told["seeds"])
    given = (f" --{name} {value}" for name, value in told.items() if value is not None)
    return "".join(given) + (" --modcrop" if known.get("modcrop") else "")


def space(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``README.md``, which makes a folder with the page a static Space of the hub."""
    from huggingface_hub import SpaceCardData

    front = SpaceCardData(title=printable(results.title), sdk="static", app_file="html/index.html")
    page = filled("pages/space.md", results=results)
    return write_files(out, {"README.md": f"---\n{front.to_yaml()}\n---\n\n{page}"})


def tensorboard(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Write ``tensorboard/``: the means, a run per method."""
    from torch.utils.tensorboard import SummaryWriter

    folder = out / "tensorboard"
    before = set(folder.rglob("*"))
    for method, means in _means(results).items():
        with SummaryWriter(str(folder / slug(method))) as writer:
            for name, mean in means.items():
                writer.add_scalar(name, mean, 0)
    return sorted(file for file in folder.rglob("*") if file.is_file() and file not in before)


def wandb(results: Results, out: Path, _view: View = PLAIN) -> list[Path]:
    """Log the means to Weights & Biases, a run per method, its files in ``wandb/``.

    Raises:
        BenchError: the package, or one that it needs, is not installed.
    """
    try:
        import wandb as client
    except ImportError as error:
        why = f"expected the package wandb, found: {first_line(error)}"
        raise BenchError(f"--reports wandb: {why}; pip install 'cassr-bench[wandb]'") from error
    for method, means in _means(results).items():
        known = results.provenance.get("methods", {}).get(method, {})
        with client.init(project="cassr-bench", name=method, dir=str(out), config=known) as run:
            run.log(means)
    return []


def _means(results: Results) -> dict[str, dict[str, float]]:
    """By method, its finite means by "dataset/metric"."""
    table = summarize(results)
    known = table[np.isfinite(table["mean"])]
    names = known["dataset"] + "/" + known["metric"]
    return {
        str(method): own.set_index(names[own.index])["mean"].to_dict()
        for method, own in known.groupby("method", sort=False)
    }
