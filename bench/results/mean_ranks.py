"""Mean ranks over the metrics of a dataset: how far they would move with other images."""

from __future__ import annotations

import numpy as np

from bench.results.bootstrap import CONFIDENCE, bootstrap
from bench.results.results import Results
from bench.results.table_stats import common_scores

RESAMPLES = 2_000


def mean_rank_intervals(results: Results, dataset: str) -> list[tuple[float, float] | None]:
    """By method, the 95 % percentile interval of its mean rank over all metrics.

    Metrics over the same images are drawn together. A metric without a test (of a whole set, too
    few images) keeps its ranks. Equal means share the better rank. None for a method without any
    rank, and for all where no metric has a test.
    """
    names = [method.name for method in results.methods]
    ranks, counts = np.zeros((RESAMPLES, len(names))), np.zeros(len(names))
    rows = [common_scores(results, dataset, metric) for metric in results.metrics]
    for row in (row for row in rows if row.pairs and len(row.values)):
        means = row.values.mean(axis=0, keepdims=True)
        if row.tested:
            means = bootstrap(row.values, row.seed, RESAMPLES).means
        signed = means if row.metric.better == "lower" else -means
        columns = [names.index(method) for method in row.methods]
        ranks[:, columns] += 1 + (signed[:, None, :] < signed[:, :, None]).sum(axis=2)
        counts[columns] += 1
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ranks, (edge, 1 - edge), axis=0) / np.maximum(counts, 1)
    known = (counts > 0) & any(row.tested for row in rows)
    return [(low[i], high[i]) if known[i] else None for i in range(len(names))]
