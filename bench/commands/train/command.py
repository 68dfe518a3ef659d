"""`train`: CasSR's stages, exactly as the paper says or as options say otherwise."""

from __future__ import annotations

from bench.commands.shared import options as o
from bench.commands.shared.groups import grouped
from bench.commands.train.options import DryRun, Reading, Reporting, Settings, Stage, TrainingSource


@grouped
def train(
    stage: Stage,
    source: TrainingSource,
    settings: Settings,
    reading: Reading,
    reporting: Reporting,
    device: o.Device = "auto",
    dry_run: DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Train a stage of CasSR.

    The same command goes on where it was stopped or killed. On several GPUs or machines:
    accelerate launch -m bench train guidance ...
    """
    from bench.commands.train.stage import TrainingCommand

    run = TrainingCommand(stage, source, settings, reading, reporting, device, as_json)
    run.plan() if dry_run else run.train()
