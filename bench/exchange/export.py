"""Write a whole result for others: a Hugging Face dataset folder, or one JSON."""

from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.errors import BenchError, DataError
from bench.base.records import part_of, write_atomic
from bench.base.text import printable, slug
from bench.data.find import public_names
from bench.exchange.bundle import RESULT, SCORES, Bundle, of_run, rows, to_json
from bench.exchange.measured import as_unicode
from bench.files import outputs
from bench.files.safe_csv import write_files
from bench.reports.tables.markdown import filled, markdown
from bench.results.results import COLUMNS, Results, summarize
from bench.results.view import PLAIN, View

IMAGES = "images/sr.parquet"
MODELS = "models"
HARNESS = "cassr-bench"
ROW_GROUP = 16


def require_free(out: Path, overwrite: bool = False) -> None:
    """Raise BenchError, before any work, for a place that holds files of somebody else."""
    if out.suffix == ".json":
        outputs.SingleFile(out, "--out", overwrite=overwrite)
        return
    _output(out, (), overwrite).check(["README.md", RESULT, SCORES, IMAGES])


def export_json(results: Results, path: Path, scale: int, overwrite: bool = False) -> list[Path]:
    """Write the result as one JSON; DataError: nothing in it has a score, BenchError: another file
    is there."""
    output = outputs.SingleFile(path, "--out", inputs=results.files(), overwrite=overwrite)
    output.write(to_json(_scored(of_run(results, scale))))
    return [path]


def export_folder(
    results: Results,
    out: Path,
    scale: int,
    images: bool,
    overwrite: bool = False,
    view: View = PLAIN,
    benchmark: str = "",
) -> list[Path]:
    """Write the result as a folder for the Hugging Face hub: card, scores, `result.json`
    (everything else) and, if asked for, SR images; those of test sets have licences of their own.

    Args:
        benchmark: what it will be called on the hub; adds the files of `benchmark_files`.

    Raises:
        DataError: nothing has a score, or the folder holds other files.
        BenchError: a file is in the way that is not ours.
    """
    bundle = _scored(of_run(results, scale))
    more = benchmark_files(results, benchmark) if benchmark else {}
    output = _output(out, results.files(), overwrite)
    files = [out / "README.md", out / RESULT, out / SCORES]
    with output.writing():
        write_atomic(files[0], card(results, bundle, images, view))
        write_atomic(files[1], to_json(bundle, with_scores=False))
        _write_scores(files[2], bundle)
        files += write_files(out, more)
        if images:
            files.append(out / IMAGES)
            _write_images(files[-1], results)
    output.finish({"": files})
    return files


def _scored(bundle: Bundle) -> Bundle:
    if all(cell.mean is None for cell in bundle.measured.scores):
        suite = printable(bundle.measured.suite)
        why = f"nothing is stored for suite '{suite}' with these options"
        raise DataError(f"export: {why}; run `cassr-bench run` first")
    return bundle


def _output(out: Path, inputs: Iterable[Path], overwrite: bool) -> outputs.Output:
    ours = {"README.md", RESULT, "data", "images", "eval.yaml", MODELS}
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    # Hidden are our records, and what git, a file manager or an upload to the hub leaves.
    if others := {name for name in there - ours if not name.startswith(".")}:
        found = f"holds other files ({printable(min(others))})"
        raise DataError(f"--out {printable(out)}: {found}; choose a new folder")
    return outputs.Output(out, "export", "--out", inputs=inputs, overwrite=overwrite)


def _write_scores(path: Path, bundle: Bundle) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(n, pa.float64() if n == "value" else pa.string()) for n in COLUMNS])
    columns = zip(*rows(bundle.measured.scores), strict=True)
    with part_of(path) as part:
        pq.write_table(pa.table(list(columns), schema=schema), part, compression="zstd")


def _write_images(path: Path, results: Results) -> None:
    """SR files as they are, a few at a time, with the hub's image type."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features, Image, Value

    texts = {name: Value("string") for name in ("dataset", "method", "image")}
    schema = Features({**texts, "sr": Image()}).arrow_schema
    rows = _image_rows(results)
    with part_of(path) as part, pq.ParquetWriter(part, schema, compression="none") as writer:
        while batch := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _image_rows(results: Results) -> Iterator[dict[str, Any]]:
    names = public_names(item.name for item in results.datasets)
    for picture, method in product(results.pictures, results.methods):
        if file := picture.sr.get(method.name):
            image = {"bytes": file.read_bytes(), "path": None}
            own = {"dataset": names[picture.dataset], "method": method.name}
            yield own | {"image": as_unicode(picture.image), "sr": image}


def card(results: Results, bundle: Bundle, images: bool, view: View = PLAIN) -> str:
    """README.md of the dataset: front matter that names the files, and the table."""
    front = {
        "pretty_name": printable(bundle.title),
        "tags": ["super-resolution", "image-quality-assessment", "benchmark"],
        "configs": [
            {"config_name": "scores", "data_files": SCORES, "default": True},
            *([{"config_name": "images", "data_files": IMAGES}] if images else []),
        ],
    }
    told = filled(
        "pages/card.md",
        title=bundle.title,
        version=bundle.made_with.get("versions", {}).get("cassr-bench", "?"),
        device=bundle.made_with.get("device", "?"),
        table=markdown(results, view),
        images=images,
        result=RESULT,
        datasets=bundle.measured.datasets,
    )
    return f"---\n{_yaml(front)}---\n\n{told}"


def benchmark_files(results: Results, benchmark: str) -> dict[str, str]:
    """By name: `eval.yaml` of the dataset USER/NAME on the hub that the export becomes, and per
    method the files of its model's repository (https://huggingface.co/docs/hub/eval-results).

    Raises:
        BenchError: `benchmark` is no name of a repository.
    """
    from huggingface_hub import EvalResult, ModelCardData
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(benchmark)
        owner, name = benchmark.split("/")
    except (HFValidationError, ValueError) as error:
        told = f"--benchmark: expected USER/NAME, found '{printable(benchmark)}'"
        raise BenchError(told) from error
    called = public_names(item.name for item in results.datasets)
    titles = {item.name: printable(item.title) for item in (*results.datasets, *results.methods)}
    metrics = {metric.name: metric for metric in results.metrics}
    table = summarize(results)
    table = table[np.isfinite(table["mean"])]
    tasks = table["dataset"].map(called) + "-" + table["metric"]
    about = {
        "name": printable(results.title),
        "description": "Real-world image super-resolution, scored by CasSR-Bench",
        "evaluation_framework": HARNESS,
        "tasks": [{"id": task, "config": "scores", "split": "train"} for task in tasks.unique()],
    }
    files = {"eval.yaml": _yaml(about)}
    for method, own in table.assign(task=tasks).groupby("method", sort=False):
        entries, evals = [], []
        for row in own.to_dict("records"):
            metric = metrics[row["metric"]]
            entries.append({
                "dataset": {"id": benchmark, "task_id": row["task"]},
                "value": row["mean"],
                "evaluation_framework": HARNESS,
                "notes": f"mean over n = {row['n']} images, {metric.better} is better",
            })  # fmt: skip
            evals.append(EvalResult(
                task_type="image-to-image", metric_type=metric.name, metric_name=metric.title,
                dataset_type=benchmark, dataset_name=titles[row["dataset"]],
                dataset_config=called[row["dataset"]], metric_value=row["mean"],
            ))  # fmt: skip
        card = ModelCardData(model_name=titles[str(method)], eval_results=evals)
        folder = f"{MODELS}/{slug(str(method))}"
        files[f"{folder}/README.md"] = f"---\n{card.to_yaml()}\n---\n"
        files[f"{folder}/.eval_results/{slug(f'{owner}-{name}')}.yaml"] = _yaml(entries)
    return files


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
