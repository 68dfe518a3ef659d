"""A rehearsal of training, before days of it: some steps of each stage, what they took, as a table.

    python benchmarks/rehearsal.py --data div2k                                # one GPU
    accelerate launch --num_processes 8 benchmarks/rehearsal.py --data div2k   # eight

Networks have their full size and random weights, so nothing but photographs is needed; stage 2's
reference images are sampled in every step, as in training without `--samples`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from accelerate import PartialState
from accelerate.state import AcceleratorState

from cassr.base.errors import TrainingError
from cassr.config import get_preset
from cassr.photographs.sets import open_photographs
from cassr.training.plan import peak_memory
from cassr.training.run import run
from cassr.training.schedule import settled
from cassr.training.start import Start
from cassr.training.state import TrainingOptions

STAGES = ("activation", "guidance")
ON_CPU = not torch.cuda.is_available()
"""Without it, each of several processes on CPUs would take itself for the only one."""
INTERVALS = 10
"""Rows of the log; the first, in which everything warms up, is left out."""


def rehearse(
    stage: str, preset: str, data: list[str], out: Path, workers: int | None, **changes: Any
) -> dict[str, Any]:
    """A row of the table; of several processes, waiting and memory are the first one's."""
    planned = get_preset(preset).training_for(stage)
    given = {name: value for name, value in changes.items() if value is not None}
    settings = replace(planned, **given, samples=0)
    every = max(1, settings.steps // INTERVALS)
    options = TrainingOptions(out / stage, workers, log_every=every, checkpoint_every=0, quiet=True)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    AcceleratorState._reset_state(reset_partial_state=True)  # a run ends its group of processes
    start = Start(preset, random=True)
    run(stage, start, open_photographs(data), settings, options, cpu=ON_CPU)
    device = PartialState().device
    log = pd.read_csv(options.out / "log.csv").iloc[1:].mean()
    samples = settings.batch_size * settings.accumulation * PartialState().num_processes
    seconds = samples / log["samples_per_second"]
    return {
        "stage": stage,
        "samples/s": log["samples_per_second"],
        "s a step": seconds,
        "data wait, %": 100 * log["data_wait"],
        "peak, GiB": peak_memory(device),
        f"days for {planned.steps:,} steps": planned.steps * seconds / 86_400,
        "on": f"{PartialState().num_processes} x {device.type}",
        "precision": settled(settings, on_gpu=device.type == "cuda").precision,
    }


def main(
    data: Annotated[list[str], typer.Option(help="Photographs, as `train` takes them.")],
    out: Annotated[Path, typer.Option(help="A new folder.")] = Path("results/rehearsal"),
    preset: str = "sd15",
    steps: Annotated[int, typer.Option(min=2)] = 100,
    batch_size: int | None = None,
    crop: int | None = None,
    precision: str | None = None,
    workers: int | None = None,
) -> None:
    """Train `steps` steps of each stage and print throughput, memory and waiting for data."""
    changes = {"steps": steps, "batch_size": batch_size, "crop": crop, "precision": precision}
    try:
        if out.exists():
            raise TrainingError(f"--out {out}: expected a new folder, found one; give another")
        PartialState(cpu=ON_CPU).wait_for_everyone()
        rows = [rehearse(stage, preset, data, out, workers, **changes) for stage in STAGES]
    except ValueError as error:  # TrainingError among them
        raise typer.BadParameter(str(error)) from error
    if PartialState().is_main_process:
        table = pd.DataFrame(rows).set_index("stage")
        table.to_csv(out / "rehearsal.csv")
        print(table.T.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    typer.run(main)
