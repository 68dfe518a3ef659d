"""How many images a second a GPU scores and upscales, by each metric and method that is here.

    python benchmarks/gpu.py                                        # some minutes
    python benchmarks/gpu.py --device cpu --side 96 --seconds 0     # each once, to try it

Beside a metric stands pyiqa's network, which is given images that are on the device already.
"""

import sys
from collections.abc import Callable
from functools import partial
from textwrap import fill
from time import perf_counter
from typing import Any

import pandas as pd
import torch
import typer
from scoring import synthetic_pairs

from bench import metrics
from bench.base.device import resolve_device
from bench.base.errors import BenchError, Unavailable, WeightsError
from bench.base.metering import machine_name, metered
from bench.files.images import to_tensor
from bench.methods.find import all_methods, find
from bench.metrics.filters import Pixels
from bench.metrics.pyiqa_loading import build
from bench.running import score_job

Row = dict[str, float]
Measure = Callable[[Callable[[], Any]], Row]


def paced(device: str, seconds: float, call: Callable[[], Any]) -> Row:
    """Calls a second, after one that warms up, and the most memory held meanwhile."""
    call()
    count, spent = 0, 0.0
    with metered(device) as cost:
        started = perf_counter()
        while not count or spent < seconds:
            call()  # gives what lies on the CPU, which waits for the device
            count, spent = count + 1, perf_counter() - started
    return {"images/s": count / spent, "GiB": cost.get("peak_bytes", 0) / 2**30}


def of_metric(name: str, device: str, side: int, measure: Measure) -> Row:
    spec, pair = metrics.find(name), next(synthetic_pairs(side))
    given = [Pixels(image) for image in (pair if spec.reference else pair[:1])]
    row = measure(lambda: score_job.value_of(spec, device, *given))
    if spec.pyiqa_name:
        net, tensors = build(spec, device, {}), [image.to(device) for image in given]
        with torch.no_grad():
            row["pyiqa/s"] = measure(lambda: float(net(*tensors)))["images/s"]
    return row


def of_method(name: str, device: str, side: int, measure: Measure) -> Row:
    method: Any = find(name).load(device)
    lr = to_tensor(next(synthetic_pairs(side))[0])[..., ::4, ::4]
    return measure(lambda: method.upscale(lr, scale=4, seeds=[0]).cpu())


def main(device: str = "cuda", side: int = 512, seconds: float = 3) -> None:
    """Measure each that is here for so many seconds."""
    device, rows, absent = resolve_device(device), {}, []
    scored = [name for name in metrics.names() if metrics.find(name).kind == "image"]
    made = [name for name, card in all_methods().items() if not card.official]
    for name in (*scored, *made):
        of = of_metric if name in scored else of_method
        try:
            rows[name] = of(name, device, side, partial(paced, device, seconds))
        except (Unavailable, WeightsError):
            absent.append(name)
        except (BenchError, RuntimeError) as error:
            print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
        metrics.unload()  # its memory is not the next one's
    if absent:
        print(fill(f"not here, see cassr-bench list: {', '.join(absent)}", 80))
    print(f"{machine_name(device)}, images of {side} px")
    print(pd.DataFrame(rows).T.to_string(float_format="{:,.2f}".format, na_rep="-"))


if __name__ == "__main__":
    typer.run(main)
