"""Training: what is minimised, and that a run is the same run however it was interrupted."""

import ast
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, Cli
from safetensors.torch import load_file
from training_example import (
    SETTINGS,
    assert_close_but_for_rounding,
    command,
    equal,
    run_here,
    start_of,
    weights,
)

from cassr.base.errors import TrainingError
from cassr.config import PRESETS, TrainingSettings
from cassr.photographs.read import in_folders
from cassr.training import checkpoints
from cassr.training.run import run
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.recipe import Recipe, recipe_of
from cassr.training.schedule import learning_rate, settled, worker_count
from cassr.training.stages import STAGES
from cassr.training.start import Start, load_start
from cassr.training.state import TrainingOptions
from cassr.training.train import TrainingOutcome, train

pytest_plugins = ["training_example"]
pytestmark = pytest.mark.usefixtures("few_first_images")


@pytest.fixture(scope="module")
def finished(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `SETTINGS`, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert run_here(photographs, out).finished
    return out


@pytest.fixture
def begun(photographs: Path, finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "begun"))


class TestRuns:
    def test_training_lowers_the_loss(self, folder: Path, tmp_path: Path) -> None:
        settings = replace(SETTINGS, batch_size=4, steps=20, loss="image", samples=8)
        settings = replace(settings, learning_rate=2e-3)
        run_here(folder, tmp_path, settings, stage="prior", log_every=4)
        lines = (tmp_path / "log.csv").read_text().splitlines()
        losses = [float(line.split(",")[1]) for line in lines[1:]]
        assert lines[0].startswith("step,loss,l1,gradient,amplitude,learning_rate,samples_per")
        assert losses[-1] < 0.6 * losses[0]

    def test_a_stopped_run_ends_with_the_same_weights(
        self, photographs: Path, finished: Path, tmp_path: Path
    ) -> None:
        first = run_here(photographs, tmp_path, minutes=1e-9)
        assert (first.step, first.finished, first.model) == (1, False, None)
        second = run_here(photographs, tmp_path)
        assert second.finished
        assert equal(weights(finished), weights(tmp_path))
        for name in ("controlnet", "attention"):
            a, b = (
                load_file(run / "model" / name / "diffusion_pytorch_model.safetensors")
                for run in (finished, tmp_path)
            )
            assert equal(a, b)

    def test_a_run_that_goes_on_has_no_model_until_it_ends(
        self, photographs: Path, begun: Path
    ) -> None:
        longer = replace(SETTINGS, steps=9)
        assert not run_here(photographs, begun, longer, minutes=1e-9).finished
        assert not (begun / "model").exists()
        settings, options = longer, TrainingOptions(begun, quiet=True, validate_every=100)
        pairs = TrainingPairs(in_folders([photographs]), recipe_of(settings))

        def stopped(*given: object) -> dict[str, float]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(
                "guidance", start_of("guidance"), pairs, settings, options,
                validate=stopped, cpu=True,
            )  # fmt: skip
        ended = run_here(photographs, begun, longer, validate_every=100)
        assert ended.model is not None
        averages = checkpoints.load(checkpoints.found(begun / "checkpoints")[-1]).averages
        saved = load_file(ended.model / "attention" / "diffusion_pytorch_model.safetensors")
        name = next(iter(saved))
        assert torch.equal(saved[name], averages[f"network.attention.{name}"])

    def test_a_workers_error_is_one_line(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingError) as caught:
            run_here(folder, tmp_path, replace(SETTINGS, crop=128), workers=1)
        assert str(caught.value).startswith("none of 4 photographs can be used; the first: ")

    def test_checkpointed_gradients_are_the_same(self, folder: Path, tmp_path: Path) -> None:
        settings = replace(SETTINGS, steps=2, ema=0.0, gradient_checkpointing=True)
        pairs = TrainingPairs(in_folders([folder]), recipe_of(settings))
        for name in ("plain", "saving"):
            made = load_start(Start("mini", random=True, activation="controlnet"), "activation")
            mine = replace(settings, gradient_checkpointing=name == "saving")
            options = TrainingOptions(tmp_path / name, quiet=True)
            train("activation", made, pairs, mine, options, cpu=True)
            assert made.activation.is_gradient_checkpointing == (name == "saving")
        assert_close_but_for_rounding(weights(tmp_path / "plain"), weights(tmp_path / "saving"))

    def test_a_finished_run_is_not_trained_again(self, photographs: Path, begun: Path) -> None:
        before = (begun / "log.csv").read_bytes()
        again = run_here(photographs, begun)
        assert again.finished
        assert (begun / "log.csv").read_bytes() == before

    def test_what_costs_memory_or_time_only_may_change(self, folder: Path, tmp_path: Path) -> None:
        """So may the number of processes, with the same samples in a step."""
        short = replace(SETTINGS, batch_size=4, steps=3)
        run_here(folder, tmp_path / "whole", short)
        halves = replace(short, batch_size=2, accumulation=2)
        assert not run_here(folder, tmp_path / "parts", halves, minutes=1e-9).finished
        other = replace(short, gradient_checkpointing=True, tf32=False)
        assert run_here(folder, tmp_path / "parts", other, workers=1).finished
        assert_close_but_for_rounding(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
        with pytest.raises(TrainingError, match="samples in a step=4, asked for 8"):
            run_here(folder, tmp_path / "parts", replace(short, batch_size=8))

    def test_other_settings_are_a_fork(
        self, photographs: Path, begun: Path, tmp_path: Path
    ) -> None:
        folder = photographs
        slower = replace(SETTINGS, learning_rate=1e-5, steps=8)
        with pytest.raises(TrainingError, match="or --fork and this run's folder"):
            run_here(folder, begun, slower)
        done = run_here(folder, tmp_path / "second", slower, fork=begun)
        assert (done.step, done.finished) == (8, True)
        kept = checkpoints.load(checkpoints.found(tmp_path / "second" / "checkpoints")[-1]).notes
        changed = {"settings.learning_rate": [SETTINGS.learning_rate, 1e-5]}
        assert kept["forked"] == {"run": "begun", "step": 6, "changed": changed}
        again = run_here(folder, tmp_path / "second", slower, fork=begun)
        assert again.step == 8
        with pytest.raises(TrainingError, match="expected a run with a checkpoint, found none"):
            run_here(folder, tmp_path / "third", slower, fork=tmp_path / "nowhere")

    def test_a_decay_that_has_begun_is_not_moved(self, folder: Path, tmp_path: Path) -> None:
        falling = replace(SETTINGS, decay=0.5)
        run_here(folder, tmp_path, falling)
        with pytest.raises(TrainingError, match="with steps=9 the learning rate would have been"):
            run_here(folder, tmp_path, replace(falling, steps=9))

    def test_no_more_samples_are_prepared_than_the_run_sees(
        self, folder: Path, tmp_path: Path
    ) -> None:
        settings = replace(SETTINGS, samples=500)
        shown: list[int] = []
        options = TrainingOptions(tmp_path / "run", quiet=True)
        start = Start("mini", random=True, activation="lr")
        run("guidance", start, in_folders([folder]), settings, options, cpu=True,
            report=lambda layer, done, total: shown.append(total))  # fmt: skip
        assert set(shown) == {1}
        (pairs,) = (tmp_path / "prepared").glob("pairs-*/*.safetensors")
        assert len(load_file(pairs)["hr"]) == SETTINGS.steps * SETTINGS.batch_size

    def test_another_method_is_stage_1(self, cli: Cli, folder: Path, tmp_path: Path) -> None:
        given = command(folder, tmp_path / "run", "--activation", "external", "--steps", "2")
        given[1] = "guidance"
        refused = cli(*given)
        assert refused.returncode == 2
        assert "external': expected --reference-method" in refused.stderr
        done = cli(*given, "--reference-method", "lanczos", "--samples", "8")
        assert done.returncode == 0, done.stderr
        index = json.loads((tmp_path / "run" / "model" / "model_index.json").read_text())
        assert index["activation_kind"] == "external"
        assert list((tmp_path / "run").parent.glob("prepared/references-*/*.safetensors"))
        unknown = cli(*given, "--reference-method", "lanzcos")
        assert unknown.returncode == 2
        assert "lanczos" in unknown.stderr

    def test_precision_follows_the_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = TrainingSettings()
        assert settled(settings, on_gpu=False).precision == "no"
        for has, expected in ((True, "bf16"), (False, "no")):
            monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
            assert settled(settings, on_gpu=True).precision == expected
        assert settled(replace(settings, precision="fp16"), on_gpu=True).precision == "fp16"

    def test_workers_follow_the_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
        assert worker_count(None, on_gpu=True) == 7
        assert worker_count(None, on_gpu=False) == 0
        assert worker_count(3, on_gpu=False) == 3

    def test_more_steps_go_on_from_the_last(
        self, photographs: Path, begun: Path, tmp_path: Path
    ) -> None:
        longer = run_here(photographs, begun, replace(SETTINGS, steps=9))
        run_here(photographs, tmp_path / "long", replace(SETTINGS, steps=9))
        assert longer.step == 9
        assert equal(weights(begun), weights(tmp_path / "long"))

    def test_other_settings_are_not_mixed(self, photographs: Path, begun: Path) -> None:
        with pytest.raises(TrainingError, match=r"settings.learning_rate=0.0005, asked for 0.1"):
            run_here(photographs, begun, replace(SETTINGS, learning_rate=0.1))

    def test_a_run_from_before_a_setting_was_there_goes_on(
        self, photographs: Path, begun: Path
    ) -> None:
        for path in begun.rglob("*.json"):
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(r'"reference_share": 0.0,\s*', "", text), encoding="utf-8")
        assert run_here(photographs, begun, replace(SETTINGS, steps=7)).finished

    def test_a_model_of_an_earlier_version_is_one_line(self, tmp_path: Path) -> None:
        old = start_of("guidance")
        old.register_to_config(latent_target="residual")
        old.save_pretrained(tmp_path)
        with pytest.raises(TrainingError, match=f"{tmp_path}: latent_target='residual': expected"):
            load_start(Start("mini", str(tmp_path)), "guidance")

    def test_accumulation_equals_a_larger_batch(self, folder: Path, tmp_path: Path) -> None:
        large = replace(SETTINGS, batch_size=4, steps=3, ema=0.0)
        run_here(folder, tmp_path / "a", large)
        run_here(folder, tmp_path / "b", replace(large, batch_size=2, accumulation=2))
        assert_close_but_for_rounding(weights(tmp_path / "a"), weights(tmp_path / "b"))

    def test_the_last_checkpoints_are_kept_and_whole(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path, checkpoint_every=1, keep=2)
        names = [p.name for p in checkpoints.found(tmp_path / "checkpoints")]
        assert names == ["step-00000005", "step-00000006"]
        assert not list((tmp_path / "checkpoints").glob(".*"))

    def test_lr_images_can_be_made_where_the_networks_are(
        self, folder: Path, tmp_path: Path
    ) -> None:
        def go(name: str, on: str, **changes: object) -> TrainingOutcome:
            options = TrainingOptions(tmp_path / name, quiet=True, degrade_on=on)
            settings = replace(SETTINGS, **{"steps": 2} | changes)  # type: ignore[arg-type]
            start = Start("mini", random=True)
            return run("guidance", start, in_folders([folder]), settings, options, cpu=True)

        assert go("device", "device").finished
        assert go("cpu", "cpu").finished
        assert not equal(weights(tmp_path / "device"), weights(tmp_path / "cpu"))
        with pytest.raises(TrainingError, match="has degrade_on='device', asked for 'cpu'"):
            go("device", "cpu", steps=3)
        assert go("device", "device", steps=3).step == 3
        with pytest.raises(TrainingError, match=r"degrade_on='device': .*samples=4; give"):
            go("new", "device", samples=4)

    def test_a_device_that_cannot_degrade_is_refused_at_once(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = SimpleNamespace(device=torch.device("mps"))
        monkeypatch.setattr("cassr.training.run.PartialState", lambda **_: here)
        options = TrainingOptions(tmp_path, degrade_on="device")
        with pytest.raises(TrainingError, match=r"expected one with float64, found mps; take cpu"):
            run("guidance", Start("mini"), in_folders([folder]), SETTINGS, options)

    def test_a_damaged_checkpoint_is_named(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path, minutes=1e-9)
        path = checkpoints.found(tmp_path / "checkpoints")[-1]
        (path / "optimizer.pt").write_bytes(b"not a checkpoint")
        with pytest.raises(TrainingError, match=r"step-00000001: cannot be read .*delete it"):
            run_here(folder, tmp_path)

    @pytest.mark.parametrize("failing", ["save_model", "checkpoints.save", "validate"])
    def test_what_fails_on_the_main_process_is_told_to_all(
        self, begun: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        def full(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        told: list[list[str]] = []
        shutil.rmtree(begun / "model")
        for module in ("train", "state"):
            monkeypatch.setattr(
                f"cassr.training.{module}.gather_object", lambda mine: told.append(mine) or mine
            )
        validate = full if failing == "validate" else None
        if validate is None:
            monkeypatch.setattr(f"cassr.training.train.{failing}", full)
        pairs = TrainingPairs(in_folders([photographs]), recipe_of(SETTINGS))
        options = TrainingOptions(begun, quiet=True)
        with pytest.raises(OSError, match="No space left"):
            train("guidance", start_of("guidance"), pairs, SETTINGS, options,
                  validate=validate, cpu=True)  # fmt: skip
        assert told[-1] == ["[Errno 28] No space left on device"]

    def test_a_checkpoint_with_code_in_it_is_not_run(self, folder: Path, tmp_path: Path) -> None:
        import pickle

        run_here(folder, tmp_path, minutes=1e-9)
        path = checkpoints.found(tmp_path / "checkpoints")[-1]
        trap = tmp_path / "trap"

        class Bomb:
            def __reduce__(self) -> tuple:
                return os.mkdir, (str(trap),)

        (path / "optimizer.pt").write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(TrainingError, match="cannot be read"):
            run_here(folder, tmp_path)
        assert not trap.exists()

    def test_a_loss_that_is_not_finite_stops_the_run(self, folder: Path, tmp_path: Path) -> None:
        wild = replace(SETTINGS, learning_rate=1e30, clip=0.0, ema=0.0)
        with pytest.raises(TrainingError, match=r"step \d: the loss is (nan|inf)"):
            run_here(folder, tmp_path, wild)

    def test_the_learning_rate_rises_holds_and_falls(self) -> None:
        s = TrainingSettings(learning_rate=1.0, steps=100, warmup=10, decay=0.5)
        rates = [learning_rate(s, step) for step in range(100)]
        assert rates[0] == pytest.approx(0.1)
        assert set(rates[10:50]) == {1.0}
        assert rates[75] == pytest.approx(0.5)
        assert rates[99] < 0.002
        assert {learning_rate(TrainingSettings(), s) for s in (0, 99_999)} == {5e-4}

    def test_unreadable_photographs_are_counted(self, folder: Path, tmp_path: Path) -> None:
        (folder / "broken.png").write_bytes(b"x")
        done = run_here(folder, tmp_path)
        assert [Path(name).name for name in done.skipped] == ["broken.png"]
        saved = json.loads(
            (checkpoints.found(tmp_path / "checkpoints")[-1] / "state.json").read_text()
        )
        assert saved["skipped"] == dict(done.skipped)


def test_stages_are_told_apart_in_their_registry_alone() -> None:
    """Elsewhere a stage is an object; a name that is compared would be forgotten by a new one."""
    for file in (*ROOT.glob("cassr/**/*.py"), *ROOT.glob("bench/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and "stage" in ast.unparse(node):
                words = {w.value for w in ast.walk(node) if isinstance(w, ast.Constant)}
                assert not words & set(STAGES), f"{file}:{node.lineno}"


def test_recipes_of_all_presets_can_be_made() -> None:
    for preset in PRESETS.values():
        for stage in STAGES:
            for loss in ("noise", "image"):
                settings = preset.training_for(stage, loss)
                assert settings.loss == loss
                assert isinstance(recipe_of(settings), Recipe)
