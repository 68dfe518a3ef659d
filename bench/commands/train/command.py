"""`train`: CasSR's stages, exactly as the paper says or as options say otherwise."""

from bench.commands.shared.groups import grouped
from bench.commands.train.options import Reading, Reporting, Settings, TrainingSource


@grouped
def train(
    stage: str,
    *,
    source: TrainingSource,
    settings: Settings,
    reading: Reading,
    reporting: Reporting,
    device: str = "auto",
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Train a stage of CasSR.

    The same command goes on where it was stopped or killed. On several GPUs or machines:
    accelerate launch -m bench train guidance ...
    """
    from bench.commands.train.stage import TrainingCommand

    run = TrainingCommand(stage, source, settings, reading, reporting, device, as_json)
    run.plan() if dry_run else run.train()
