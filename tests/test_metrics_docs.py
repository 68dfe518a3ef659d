"""docs/metrics.md says of every metric what the code does and the tests enforce."""

from pathlib import Path

import pytest

from bench.base.types import MetricSpec
from bench.metrics import METRICS

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"


def rows() -> dict[str, list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def test_the_table_lists_the_metrics_in_their_order() -> None:
    assert list(rows()) == [spec.name for spec in METRICS]


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_a_row_says_what_the_code_does(spec: MetricSpec) -> None:
    _, direction, reference, range_, convention, _, pyiqa_name, weights, tolerance = rows()[
        spec.name
    ]
    assert direction == f"{spec.better} {spec.arrow}"
    assert (reference == "none") == (not spec.reference)
    assert range_.startswith(spec.range)
    assert convention == f"{spec.means} ({spec.source})"
    assert pyiqa_name == (f"`{spec.pyiqa_name}`" if spec.pyiqa_name else "none")
    assert [name for name in weights.replace("`", "").split(", ") if name != "none"] == [
        weight.name for weight in spec.weights
    ]
    assert float(tolerance.split()[0]) == spec.parity
