"""Training from the command line: killed, in company, planned."""

import csv
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import small_runs
from conftest import ROOT, Cli
from pictures import photo
from PIL import Image
from training_example import (
    SETTINGS,
    assert_close_but_for_rounding,
    command,
    equal,
    start_of,
    weights,
)
from warm_start import Started

from bench import cli as command_line
from bench.base.errors import BenchError
from cassr.config import PRESETS
from cassr.pipeline import CasSRPipeline
from cassr.training import checkpoints
from cassr.training.cost import GPUS, StepCost, step_cost
from cassr.training.stages import build_objective

pytest_plugins = ["training_example"]
pytestmark = pytest.mark.usefixtures("few_first_images")


def small_run(cli: Cli, *words: object, **environment: str) -> Started:
    return cli.start(*words, script=Path(small_runs.__file__), **environment)


def assert_ends_well(*runs: Started) -> None:
    for run_ in runs:
        done = run_.done(timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]


def in_company(cli: Cli, words: list[str]) -> list[Started]:
    """Two processes of one run, told of each other as launchers do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [small_run(cli, *words, RANK=rank, LOCAL_RANK=rank, **both) for rank in "01"]


def by_processes(count: int, cli: Cli, words: list[str]) -> subprocess.Popen:
    """A run by one or two processes, with four samples in a step."""
    four = [*words, "--batch-size", str(4 // count)]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count))
    return subprocess.Popen(
        [sys.executable, *launcher, "--no-python", cli.program, *four],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors[-2000:]


class TestCommand:
    def test_help_and_a_wrong_word(self, cli: Cli) -> None:
        assert "accelerate launch" in cli("train", "--help").stdout
        done = cli("train", "decoder")
        assert done.returncode == 2
        assert done.stderr.startswith("error: stage 'decoder': expected one of activation, guid")
        assert "Traceback" not in done.stderr

    def test_wrong_words_are_refused_before_anything_is_prepared(
        self, folder: Path, capsys: pytest.CaptureFixture
    ) -> None:
        mini = ("--preset", "mini", "--device", "cpu", "--data", str(folder), "--out", "run")
        for words, found in (
            (("guidance", "--preset", "sd3"), "--preset: expected sd15 or mini"),
            (("vae", "--preset", "mini", "--data", "nothing"), "training set 'nothing'"),
            (("vae", "--preset", "mini", "--streaming", "--data", "x"), "exactly one"),
            (("guidance", "--data", str(folder), "--crop", "30"), "multiple of 4"),
            (("vae", "--samples", "4", "--streaming", "--data", "hf:x"), "leave one"),
            (("guidance", *mini, "--precision", "fp16"), "expected a GPU"),
            (("guidance", *mini, "--tracker", "wandb"), "'wandb': not installed"),
            (("prior", *mini, "--loss", "image", "--crop", "4"), "at least 8 pixels"),
            (("texture", *mini), "expected --loss image"),
        ):
            with pytest.raises(BenchError, match=re.escape(found)):
                command_line._run(["train", *words])
        assert "preparing" not in capsys.readouterr().err

    def test_a_run_from_the_command_line(self, cli: Cli, folder: Path, tmp_path: Path) -> None:
        (folder / "bad.jpg").write_bytes(b"no")
        done = cli(*command(folder, tmp_path / "run", "--steps", 3, "--log-every", 1))
        assert done.returncode == 0, done.stderr
        assert "3 steps done" in done.stdout
        assert "1 photographs could not be used" in done.stderr
        assert "step 3/3  loss" in done.stderr
        assert CasSRPipeline.from_pretrained(tmp_path / "run" / "model")

    @pytest.mark.usefixtures("quick_sets")
    def test_prepared_samples_and_validation(self, cli: Cli, folder: Path, tmp_path: Path) -> None:
        (folder / "bad.jpg").write_bytes(b"no")
        words = command(folder, tmp_path / "run", "--steps", 2, "--samples", 4)
        more = ("--validate-every", 1, "--validate-limit", 1, "--tracker", "tensorboard")
        done = cli(*words, *more)
        assert done.returncode == 0, done.stderr
        assert "preparing latents" in done.stderr
        assert "1 photographs could not be used" in done.stderr
        table = (tmp_path / "run" / "validation.csv").read_text().splitlines()
        assert len(table) == 3
        assert "quick-bicubic/psnr_y" in table[0]
        assert len(list((tmp_path / "run" / "validation").glob("*.png"))) == 4
        assert list((tmp_path / "run").rglob("events.out.tfevents.*"))

    def test_killed_at_a_random_step_it_ends_with_the_same_bits(
        self, cli: Cli, folder: Path, tmp_path: Path
    ) -> None:
        # So many more than it may reach before it is killed, however busy the machine is.
        more = ("--steps", 16, "--checkpoint-every", 2, "--log-every", 1)
        assert_ends_well(small_run(cli, *command(folder, tmp_path / "whole", *more)))
        stop_after = random.Random().randint(3, 6)
        process = small_run(cli, *command(folder, tmp_path / "killed", *more))
        process.until(lambda: f"step {stop_after}/" in process.stderr)
        process.kill()
        process.wait()
        saved = [p.name for p in checkpoints.found(tmp_path / "killed" / "checkpoints")]
        assert saved, stop_after
        assert_ends_well(small_run(cli, *command(folder, tmp_path / "killed", *more)))
        assert equal(weights(tmp_path / "whole"), weights(tmp_path / "killed")), stop_after
        logs = [
            [line.split(",")[:3] for line in (tmp_path / run / "log.csv").read_text().splitlines()]
            for run in ("whole", "killed")
        ]
        assert logs[0] == logs[1]

    def test_ctrl_c_saves_first(self, cli: Cli, folder: Path, tmp_path: Path) -> None:
        words = command(folder, tmp_path / "run", "--steps", 100_000, "--log-every", 1)
        process = small_run(cli, *words)
        process.until(lambda: "step 2/" in process.stderr)
        process.kill(signal.SIGINT)
        done = process.done(timeout=120)
        assert done.returncode == 130, done.stderr
        assert "stopped after step" in done.stdout
        assert "Traceback" not in done.stderr
        assert checkpoints.found(tmp_path / "run" / "checkpoints")

    def test_two_processes_equal_one_with_twice_the_batch(
        self, cli: Cli, folder: Path, tmp_path: Path
    ) -> None:
        more = ("--steps", 3, "--ema", 0)
        alone = command(folder, tmp_path / "one", *more, "--batch-size", 4)
        assert_ends_well(small_run(cli, *alone))
        assert_ends_well(*in_company(cli, command(folder, tmp_path / "two", *more)))
        assert_close_but_for_rounding(weights(tmp_path / "one"), weights(tmp_path / "two"))

    @pytest.mark.slow
    def test_killed_it_goes_on_with_another_number_of_processes(
        self, cli: Cli, folder: Path, tmp_path: Path
    ) -> None:
        more = ("--steps", 6, "--checkpoint-every", 2, "--log-every", 1, "--warmup", 4)
        finish(by_processes(1, cli, command(folder, tmp_path / "whole", *more)))
        whole = pd.read_csv(tmp_path / "whole" / "log.csv")
        for first, then in ((2, 1), (1, 2)):
            out = tmp_path / f"{first}-{then}"
            killed = by_processes(first, cli, command(folder, out, *more))
            lines = iter(killed.stderr.readline, "")
            assert any("step 3/" in line for line in lines)
            for process in (*psutil.Process(killed.pid).children(recursive=True), killed):
                process.kill()
            killed.wait()
            assert checkpoints.found(out / "checkpoints")[-1].name < "step-00000006"
            finish(by_processes(then, cli, command(folder, out, *more)))
            log = pd.read_csv(out / "log.csv")
            assert [*log["step"]] == [*whole["step"]]
            assert np.allclose(log["loss"], whole["loss"], rtol=1e-3), (log, whole)
            assert_close_but_for_rounding(weights(tmp_path / "whole"), weights(out))

    def test_a_dry_run_shows_the_plan(self, cli: Cli, folder: Path) -> None:
        done = cli("train", "guidance", "--preset", "mini", "--data", folder, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "on 8 GPUs: 8 samples each, 64 a step" in done.stdout
        assert "controlnet" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines() if "data" not in line)
        as_json = json.loads(
            cli("train", "vae", "--preset", "mini", "--data", folder, "--dry-run", "--json").stdout
        )
        assert as_json["settings"]["steps"] == PRESETS["mini"].training_for("vae").steps

    def test_a_dry_run_counts_what_a_step_costs(self) -> None:
        def counted(**changes: object) -> StepCost:
            settings = replace(SETTINGS, **changes)
            objective = build_objective("guidance", start_of("guidance"), settings)
            return step_cost(objective, settings, made_references=not settings.samples)

        one, two = counted(batch_size=1), counted(batch_size=2)
        for name, flops in one.flops.items():
            assert two.flops[name] == pytest.approx(2 * flops), name
        assert two.activations == pytest.approx(2 * one.activations, rel=0.05)
        made = next(name for name in one.flops if name.startswith("reference images"))
        assert one.flops[made] > 0
        assert {made, "VAE, LR and HR image"} & counted(samples=4).flops.keys() == set()
        gpu = GPUS["A100"]
        accumulated = replace(SETTINGS, accumulation=3)
        assert two.seconds(gpu, accumulated) == pytest.approx(3 * two.seconds(gpu, SETTINGS))
        plain = replace(SETTINGS, precision="no")
        assert two.seconds(gpu, plain) == pytest.approx(2 * two.seconds(gpu, SETTINGS))

    @pytest.mark.slow
    @pytest.mark.parametrize("stage", ["activation", "guidance"])
    def test_a_dry_run_at_the_papers_size(self, cli: Cli, stage: str) -> None:
        done = cli("train", stage, "--preset", "sd15", "--device", "cpu", "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "859.5  frozen" in done.stdout
        assert "100,000 steps see 3,200,000 samples" in done.stdout


@pytest.mark.slow
def test_a_rehearsal_tells_throughput_memory_and_waiting_of_each_stage(tmp_path: Path) -> None:
    for index in range(4):
        Image.fromarray(photo(96, 120, index)).save(tmp_path / f"{index}.png")
    script, out = ROOT / "benchmarks" / "rehearsal.py", tmp_path / "out"
    command = [sys.executable, script, "--data", tmp_path, "--out", out, "--preset", "mini"]
    command += ["--steps", "4", "--crop", "32", "--batch-size", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader((out / "rehearsal.csv").read_text().splitlines()))
    assert rows[0][:5] == ["stage", "samples/s", "s a step", "data wait, %", "peak, GiB"]
    for row, stage in zip(rows[1:], ("activation", "guidance"), strict=True):
        name, speed, seconds, waiting, peak = row[:5]
        assert name == stage
        assert float(speed) * float(seconds) == pytest.approx(2)
        assert 0 <= float(waiting) <= 100
        assert 0.2 < float(peak) < 16
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = " ".join(again.stderr.replace("│", " ").split())
    assert again.returncode == 2 and "expected a new folder" in said
