"""What makes an export a benchmark of the Hugging Face hub, and a method's means part of its card.

`eval.yaml` and `.eval_results/*.yaml` are told at https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.base.errors import BenchError
from bench.base.text import printable, slug
from bench.data.find import public_names
from bench.results.results import Results, summarize

MODELS = "models"
HARNESS = "cassr-bench"


def benchmark_files(results: Results, benchmark: str) -> dict[str, str]:
    """By name: `eval.yaml`, and per method the files that go into its model's repository.

    Args:
        benchmark: USER/NAME, the dataset on the hub that the export becomes.

    Raises:
        BenchError: that is no name of a repository.
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
