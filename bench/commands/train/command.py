"""`train`: CasSR's stages, exactly as the paper says or as options say otherwise."""

from bench.commands.shared import options as o
from bench.commands.shared.groups import argument, grouped, option
from bench.commands.train.options import Reading, Reporting, Settings, TrainingSource


@grouped
def train(
    stage: str = argument(
        "activation (stage 1) or guidance (stage 2); for the miniature also vae, prior, texture."
    ),
    *,
    source: TrainingSource,
    settings: Settings,
    reading: Reading,
    reporting: Reporting,
    device: o.Device = "auto",
    dry_run: bool = option(
        "Build all of it at random, run one step, show parameters, memory and the plan.",
        default=False,
    ),
    as_json: o.AsJson = False,
) -> None:
    """Train a stage of CasSR.

    The same command goes on where it was stopped or killed. On several GPUs or machines:
    accelerate launch -m bench train guidance ...
    """
    from bench.commands.train.stage import TrainingCommand

    run = TrainingCommand(stage, source, settings, reading, reporting, device, as_json)
    run.plan() if dry_run else run.train()
