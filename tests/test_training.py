"""Training: what is minimised, and that a run is the same run however it was interrupted."""

import ast
import csv
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import small_runs
import torch
import torch.nn.functional as F
from conftest import ROOT, Cli
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler
from pictures import photo
from PIL import Image
from safetensors.torch import load_file
from warm_start import Started

from bench import cli as command_line
from bench.base.errors import BenchError
from cassr.base.errors import TrainingError
from cassr.build import build_pipeline, build_scheduler
from cassr.config import NEGATIVE_PROMPT, PRESETS, TrainingSettings, get_preset
from cassr.controlnet import embed_hint
from cassr.patch_vae import PatchVAE
from cassr.photographs.read import in_folders
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import LatentCodec, noised, predicted_clean, training_target
from cassr.training import checkpoints
from cassr.training.adversarial import PatchCritic, adversarial_loss
from cassr.training.cost import GPUS, StepCost, step_cost
from cassr.training.losses import (
    amplitude_difference,
    gradient_difference,
    grid_difference,
    image_loss,
)
from cassr.training.objectives import StageObjective
from cassr.training.run import run
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.recipe import Recipe, recipe_of
from cassr.training.schedule import learning_rate, settled, worker_count
from cassr.training.stages import STAGES, build_objective
from cassr.training.start import Start, load_start
from cassr.training.state import TrainingOptions
from cassr.training.train import TrainingOutcome, train

SETTINGS = TrainingSettings(crop=32, batch_size=2, steps=6, degradations=("mild",), ema=0.9)
ADVERSARIAL = replace(SETTINGS, steps=3, loss="image", adversarial_weight=0.1)
SMALL = ("--crop", "32", "--batch-size", "2", "--samples", "0", "--device", "cpu", "--warmup", "0")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photographs")
    for index in range(4):
        Image.fromarray(photo(70, 90, index)).save(place / f"{index}.png")
    return place


@pytest.fixture
def folder(photographs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photographs, tmp_path / "photographs"))


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


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    made = build_pipeline("mini")
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(autouse=True, scope="module")
def few_first_images() -> Iterator[None]:
    """Networks are scaled by as many crops as four photographs can tell apart."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cassr.training.train.FIRST_IMAGES", small_runs.FIRST_IMAGES)
        yield


def batch_of(count: int = 4, side: int = 32) -> dict:
    hr = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    lr = torch.nn.functional.avg_pool2d(hr, 4)
    return {"hr": hr, "lr": lr, "reference": hr.flip(3), "seed": torch.arange(count) + 100}


def start_of(stage: str) -> CasSRPipeline:
    return load_start(Start("mini", random=True), stage)


def run_here(
    folder: Path, out: Path, settings: TrainingSettings = SETTINGS, stage: str = "guidance", **more
) -> TrainingOutcome:
    recipe = recipe_of(settings)
    pairs = TrainingPairs(in_folders([folder]), recipe, settings.samples or None)
    options = TrainingOptions(out, quiet=True, **more)
    return train(stage, start_of(stage), pairs, settings, options, cpu=True)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints.found(out / "checkpoints")[-1] / "weights.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_close_but_for_rounding(
    a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], most: float = 0.1
) -> None:
    """Two trainings whose gradients differ by rounding, and by a pixel of a reference image that
    was rounded to the next of its 256 levels in other company.

    Adam's first steps are signs of gradients; where those are rounding alone, so are they. Such
    weights must be few, all others close.
    """
    apart = torch.cat([(a[name] - b[name]).abs().flatten() for name in a])
    assert (apart > 1e-5).float().mean() < most
    assert apart.max() < 0.05


class TestObjectives:
    def test_the_papers_settings(self) -> None:
        for stage in ("activation", "guidance"):
            s = get_preset("sd15").training_for(stage)
            assert (s.learning_rate, s.batch_size, s.steps, s.crop) == (5e-4, 4, 100_000, 512)
            assert (s.loss, s.degradations, s.first_step_share) == ("noise", ("full",), 0.0)

    def test_eq_3_is_the_mean_squared_error_of_the_noise(self) -> None:
        """Written out here once more, from the paper, with the stage's own forward."""
        scheduler = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
        paper = replace(
            PRESETS["mini"], latent_target="image", latent_sigma=1.0, scheduler=scheduler
        )
        pipeline = build_pipeline(paper)
        settings = TrainingSettings(crop=32, prompt_dropout=0.0)
        objective = build_objective("guidance", pipeline, settings)
        assert isinstance(objective, StageObjective)
        batch = batch_of()
        loss = objective(batch)["loss"]
        z_lr_image = upscale_bicubic(batch["lr"], 4)
        z_0 = LatentCodec.untiled(pipeline.vae, batch["hr"]).encode(batch["hr"])
        draws = objective._draw(batch["seed"], z_0)
        ab = pipeline.scheduler.alphas_cumprod[draws.t].view(-1, 1, 1, 1)
        z_t = ab.sqrt() * z_0 + (1 - ab).sqrt() * draws.noise
        c = pipeline.embed_prompt("clean, high-resolution").repeat(4, 1, 1)
        eps = pipeline.guidance_stage()(z_t, draws.t, c, z_lr_image, batch["reference"])
        assert torch.allclose(loss, (draws.noise - eps).square().mean(), rtol=1e-5)

    @pytest.mark.parametrize(
        ("stage", "kinds"),
        [
            ("activation", {"tuners"}),
            ("guidance", {"controlnet", "attention"}),
            ("prior", {"unet", "controlnet", "attention"}),
            ("texture", {"vae"}),
            ("vae", {"vae"}),
        ],
    )
    def test_what_the_paper_freezes_stays(
        self, folder: Path, tmp_path: Path, stage: str, kinds: set[str]
    ) -> None:
        before = dict(start_of(stage).components)
        out = tmp_path / "run"
        loss = "image" if stage == "texture" else "noise"
        run_here(folder, out, replace(SETTINGS, steps=2, loss=loss), stage)
        after = CasSRPipeline.from_pretrained(out / "model")
        changed = set()
        for name in ("vae", "unet", "controlnet", "attention", "activation"):
            old, new = before[name].state_dict(), getattr(after, name).state_dict()
            if not equal(old, new):
                changed.add({"activation": "tuners"}.get(name, name))
        assert changed == kinds

    def test_noise_depends_on_the_sample_alone(self, pipeline: CasSRPipeline) -> None:
        objective = build_objective("activation", pipeline, SETTINGS)
        assert isinstance(objective, StageObjective)
        like = torch.zeros(4, 12, 8, 8)
        whole = objective._draw(torch.tensor([5, 6, 7, 8]), like)
        part = objective._draw(torch.tensor([7]), like)
        assert torch.equal(whole.noise[2], part.noise[0])
        assert whole.t[2] == part.t[0]

    def test_a_device_is_not_waited_for_to_draw(self, pipeline: CasSRPipeline) -> None:
        """As of the meta device, whose values nobody can read."""
        objective = build_objective("activation", pipeline, SETTINGS)
        assert isinstance(objective, StageObjective)
        drawn = objective._draw(torch.tensor([5]), torch.zeros(1, 12, 8, 8, device="meta"))
        assert drawn.noise.is_meta and drawn.t.is_meta
        assert objective._prompts(drawn.chance)[0].shape[0] == 1

    def test_prompts_are_dropped_as_often_as_asked(self, pipeline: CasSRPipeline) -> None:
        settings = TrainingSettings(prompt_dropout=0.2, degraded_share=0.3)
        prior = build_objective("prior", pipeline, settings)
        guidance = build_objective("guidance", pipeline, settings)
        assert isinstance(prior, StageObjective)
        assert isinstance(guidance, StageObjective)
        chance = torch.linspace(0, 0.999, 1000)
        null = pipeline.embed_prompt("")
        for objective, share in ((prior, 0.3), (guidance, 0.0)):
            prompts, degraded = objective._prompts(chance)
            dropped = (prompts == null).flatten(1).all(1)
            assert abs(dropped.float().mean().item() - 0.2) < 0.01
            assert abs(degraded.float().mean().item() - share) < 0.01
            bad = (prompts == pipeline.embed_prompt(NEGATIVE_PROMPT)).flatten(1).all(1)
            assert torch.equal(bad, degraded)

    def test_time_steps_are_uniform_with_a_share_at_the_first(
        self, pipeline: CasSRPipeline
    ) -> None:
        settings = TrainingSettings(first_step_share=0.5)
        objective = build_objective("activation", pipeline, settings)
        assert isinstance(objective, StageObjective)
        t = objective._draw(torch.arange(2000), torch.zeros(1, 1, 1, 1).expand(2000, 1, 1, 1)).t
        assert abs((t == 999).float().mean().item() - 0.5) < 0.04
        others = t[t < 999].float()
        assert abs(others.mean().item() - 499.5) < 30
        assert others.min() < 20

    @pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
    def test_a_perfect_prediction_gives_the_clean_latents(self, kind: str) -> None:
        scheduler = DDIMScheduler(prediction_type=kind, beta_schedule="scaled_linear")
        clean, noise = torch.randn(2, 3, 4, 8, 8)
        t = torch.tensor([10, 500, 900])
        z_t = noised(scheduler, clean, noise, t)
        assert torch.allclose(z_t, scheduler.add_noise(clean, noise, t), atol=1e-6)
        target = training_target(scheduler, clean, noise, t)
        assert torch.allclose(predicted_clean(scheduler, z_t, t, target), clean, atol=1e-4)

    @pytest.mark.parametrize("preset", PRESETS)
    @pytest.mark.parametrize("sampled", [False, True])
    def test_noise_levels_are_those_of_ddpm(self, preset: str, sampled: bool) -> None:
        """UniPC's own `add_noise` takes other levels, and others again once it has sampled."""
        scheduler = build_scheduler(PRESETS[preset])
        if sampled:
            scheduler.set_timesteps(20)
        clean, noise = torch.randn(2, 4, 4, 8, 8)
        t = torch.tensor([0, 3, 500, 999])
        names = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
        config = {name: scheduler.config[name] for name in names}
        ddpm = DDPMScheduler(**config)
        z_t = noised(scheduler, clean, noise, t)
        assert torch.allclose(z_t, ddpm.add_noise(clean, noise, t), atol=1e-5)

    def test_the_prior_hears_its_condition_from_the_first_step(self) -> None:
        fresh = build_pipeline("mini")
        objective = build_objective("prior", fresh, replace(SETTINGS, unit_hints=True))
        hr = batch_of()["hr"]
        objective.start(hr)
        hints = embed_hint(fresh.controlnet, hr)
        assert torch.allclose(hints.std(dim=(0, 2, 3)), torch.ones(hints.shape[1]), atol=1e-3)
        outputs = [b.weight for b in fresh.controlnet.controlnet_down_blocks]
        assert all(weight.std() > 0 for weight in outputs)
        before = [weight.clone() for weight in outputs]
        objective.start(hr)
        assert all(torch.equal(a, b) for a, b in zip(before, outputs, strict=True))

    def test_every_trained_tensor_gets_a_gradient(self, pipeline: CasSRPipeline) -> None:
        for stage in ("vae", "prior", "activation", "guidance"):
            fresh = build_pipeline("mini")
            fresh.set_progress_bar_config(disable=True)
            objective = build_objective(stage, fresh, SETTINGS)
            optimizer = torch.optim.Adam(objective.trained().values(), lr=1e-3)
            for _ in range(3):
                optimizer.zero_grad()
                objective(batch_of())["loss"].backward()
                optimizer.step()
            without = [n for n, p in objective.trained().items() if not p.grad.abs().sum() > 0]  # type: ignore[union-attr]
            assert without == [], stage

    @pytest.mark.parametrize("stage", ["prior", "texture", "activation", "guidance"])
    def test_the_image_loss_reaches_the_trained_weights(self, stage: str) -> None:
        fresh = start_of(stage)
        objective = build_objective(stage, fresh, TrainingSettings(loss="image", crop=32))
        losses = objective(batch_of())
        losses["loss"].backward()
        assert {"loss", "l1", "gradient", "amplitude"} == set(losses)
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0 for p in fresh.unet.parameters()
        ) == (stage == "prior")
        assert any(p.grad is not None for p in objective.trained().values())

    def test_guidance_may_aim_at_its_reference_and_train_the_decoder(self) -> None:
        settings = TrainingSettings(loss="image", crop=32, reference_share=1.0, train_decoder=True)
        fresh = start_of("guidance")
        objective = build_objective("guidance", fresh, settings)
        assert {n for n in objective.trained() if n.startswith("decoder.")}
        batch = batch_of()
        batch["reference"] = batch["hr"].flip(2)
        aimed = objective(batch)["l1"]
        turned = objective(batch | {"hr": batch["reference"]})["l1"]
        assert torch.equal(aimed, turned)
        objective(batch)["loss"].backward()
        decoder = [p.grad for n, p in objective.trained().items() if n.startswith("decoder.")]
        assert all(gradient is not None for gradient in decoder)
        assert all(p.grad is None for p in fresh.unet.parameters())

    def test_only_guidance_aims_at_a_reference_and_only_the_miniature_trains_its_decoder(
        self,
    ) -> None:
        settings = TrainingSettings(loss="image", crop=32, reference_share=1.0)
        for stage in ("activation", "prior", "texture"):
            assert build_objective(stage, start_of(stage), settings).settings.reference_share == 0
        based = start_of("guidance")
        decoding = replace(settings, train_decoder=True)
        with pytest.raises(TrainingError, match="--train-decoder: expected --loss image and"):
            build_objective("guidance", based, replace(decoding, loss="noise"))
        based.register_to_config(base="someone/model")
        with pytest.raises(TrainingError, match="--train-decoder: expected --loss image and"):
            build_objective("guidance", based, decoding)

    def test_what_a_stage_learns_is_what_its_last_condition_image_lacks(self) -> None:
        fresh = build_pipeline("mini")
        guidance = build_objective("guidance", fresh, SETTINGS)
        activation = build_objective("activation", fresh, SETTINGS)
        batch = batch_of()
        batch["reference"] = batch["hr"]
        upscaled = upscale_bicubic(batch["lr"], 4)
        for objective, base in ((guidance, batch["hr"]), (activation, upscaled)):
            assert isinstance(objective, StageObjective)
            latents = objective._latents(batch, objective.images(batch, upscaled))
            expected = LatentCodec.untiled(fresh.vae, base).encode(base)
            assert torch.equal(latents.base, expected)
            assert torch.equal(latents.lr, LatentCodec.untiled(fresh.vae, base).encode(upscaled))


class TestLosses:
    def test_equal_images_lose_nothing(self) -> None:
        x = torch.rand(2, 3, 32, 32)
        assert image_loss(x, x, 1.0, 1.0)["loss"] == 0

    def test_gradients_ignore_brightness_and_amplitudes_ignore_small_shifts(self) -> None:
        x = torch.from_numpy(photo(64, 64).transpose(2, 0, 1)).float()[None] / 255
        assert gradient_difference(x, x + 0.1) < 1e-6
        noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
        shifted = noise.roll(1, 3)
        smooth = torch.zeros_like(noise)
        assert amplitude_difference(noise, shifted) < 0.5 * amplitude_difference(noise, smooth)

    def test_a_grid_is_seen_below_the_noise_of_images(self) -> None:
        a = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        b = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        grid = a.clone()
        grid[:, :, ::4, ::4] += 0.1
        assert grid_difference(grid, a, 4) == pytest.approx(0.1 * 2 * 15 / 256, rel=1e-4)
        assert grid_difference(a + 0.1, a, 4) < 1e-6  # brightness is no grid
        assert grid_difference(a, b, 4) < 0.02

    def test_the_right_grid_is_the_photographs(self) -> None:
        photograph = torch.rand(2, 3, 32, 32)
        target = photograph.clone()
        target[:, :, ::4, ::4] += 0.1
        weights = (0.0, 0.0, 1.0)
        parts = image_loss(target, target, *weights, period=4, photograph=photograph)
        assert parts["loss"] == pytest.approx(0.1 * 2 * 15 / 256, rel=1e-4)


class TestCritic:
    @staticmethod
    def images(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy photographs and their soft counterparts."""
        real = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return F.avg_pool2d(real, 5, 1, 2), real

    def test_each_side_learns_from_its_own_loss(self) -> None:
        critic = PatchCritic()
        soft, real = self.images()
        soft.requires_grad_(True)
        for name, learns in (("adversarial", [True, False]), ("critic", [False, True])):
            loss = adversarial_loss(critic, soft, real, soft.detach())[name]
            found = torch.autograd.grad(loss, [soft, *critic.parameters()], allow_unused=True)
            assert [found[0] is not None, any(g is not None for g in found[1:])] == learns

    def test_it_learns_to_tell_soft_images_from_real_ones(self) -> None:
        critic = PatchCritic()
        soft, real = self.images()
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
        losses = []
        for _ in range(30):
            losses.append(adversarial_loss(critic, soft, real, soft)["critic"])
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert losses[0].item() == pytest.approx(math.log(2), abs=0.2)
        assert losses[-1] < 0.3

    def test_a_stopped_run_goes_on_with_it(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path / "whole", ADVERSARIAL)
        run_here(folder, tmp_path / "parts", replace(ADVERSARIAL, steps=1))
        run_here(folder, tmp_path / "parts", ADVERSARIAL)
        whole = weights(tmp_path / "whole")
        assert equal(whole, weights(tmp_path / "parts"))
        assert any(name.startswith("critic.") for name in whole)
        assert "critic" not in (tmp_path / "whole" / "model" / "model_index.json").read_text()
        assert "adversarial" in (tmp_path / "whole" / "log.csv").read_text().splitlines()[0]


class TestPatchVae:
    def test_components_are_those_of_numpy(self) -> None:
        vae = PatchVAE(latent_channels=48)
        images = torch.rand(4, 3, 32, 32) * 2 - 1
        vae.fit_components(images)
        z = vae.encode(images).latent_dist.mode()
        assert torch.allclose(vae.decode(z).sample, images, atol=1e-4)
        rows = z.movedim(1, 3).flatten(0, 2).detach().numpy().astype(np.float64)
        covariance = np.cov(rows.T)
        off = covariance - np.diag(np.diag(covariance))
        assert np.abs(off).max() < 1e-4 * covariance.max()
        assert (np.diff(np.diag(covariance)) < 1e-6).all()

    def test_fewer_components_keep_the_most(self) -> None:
        picture = torch.from_numpy(photo(64, 64).transpose(2, 0, 1)).float()[None] / 127.5 - 1
        errors = []
        for kept in (3, 12, 24):
            vae = PatchVAE(latent_channels=kept)
            vae.fit_components(picture)
            back = vae.decode(vae.encode(picture).latent_dist.mode()).sample
            errors.append(float((back - picture).detach().square().mean()))
        assert errors[0] > errors[1] > errors[2]

    def test_texture_starts_without_effect_and_knows_no_grid(self) -> None:
        vae = PatchVAE()
        z = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(0))
        before = vae.decode(z).sample
        vae.add_texture()
        assert torch.equal(vae.decode(z).sample, before)
        layers = vae.decoder["texture"]
        torch.nn.init.normal_(layers[-1].weight)
        image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        shifted = layers(image.roll((1, 1), (2, 3)))
        inside = (slice(None), slice(None), slice(16, -16), slice(16, -16))
        assert torch.allclose(
            shifted[inside], layers(image).roll((1, 1), (2, 3))[inside], atol=1e-5
        )

    def test_texture_is_trained_on_images_of_a_patch_vae(
        self, folder: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(TrainingError, match="expected --loss image"):
            run_here(folder, tmp_path / "noise", stage="texture")
        other = build_pipeline("mini")
        other.register_modules(vae=AutoencoderKL())
        other.save_pretrained(tmp_path / "other")
        with pytest.raises(TrainingError, match="other: expected a model with a PatchVAE"):
            load_start(Start("mini", source=str(tmp_path / "other")), "texture")

    def test_training_gives_latents_unit_size(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path / "run", stage="vae")
        model = CasSRPipeline.from_pretrained(tmp_path / "run" / "model")
        images = torch.stack(
            [
                TrainingPairs(in_folders([folder]), recipe_of(SETTINGS))[i]["hr"] / 255
                for i in range(30)
            ]
        )
        z = model.vae.encode(images * 2 - 1).latent_dist.mode() * model.vae.config["scaling_factor"]
        assert 0.8 < float(z.detach().std()) < 1.25


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


class TestStart:
    def test_stage_2_goes_on_from_stage_1(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path / "one", stage="activation")
        trained = CasSRPipeline.from_pretrained(tmp_path / "one" / "model")
        source = str(tmp_path / "one" / "model")
        started = load_start(Start("mini", source), "guidance")
        assert equal(trained.activation.state_dict(), started.activation.state_dict())
        fresh = load_start(Start("mini", source, fresh=True), "activation")
        assert not equal(trained.activation.state_dict(), fresh.activation.state_dict())

    @pytest.mark.parametrize("kind", ["controlnet", "lr"])
    def test_other_kinds_of_stage_1(self, tmp_path: Path, kind: str) -> None:
        build_pipeline("mini").save_pretrained(tmp_path)
        made = load_start(Start("mini", str(tmp_path), activation=kind), "activation")  # type: ignore[arg-type]
        assert made.config["activation_kind"] == kind
        assert (made.activation is None) == (kind == "lr")
        if kind == "lr":
            with pytest.raises(TrainingError, match="has no network"):
                build_objective("activation", made, SETTINGS)

    def test_without_attention_none_is_trained(self, tmp_path: Path) -> None:
        build_pipeline("mini").save_pretrained(tmp_path)
        made = load_start(Start("mini", str(tmp_path), multiple_attention=False), "guidance")
        assert made.attention is None
        names = build_objective("guidance", made, SETTINGS).trained()
        assert not any("attention" in name.split(".")[1] for name in names)

    @pytest.mark.parametrize("attention", [True, False])
    def test_what_the_source_has_is_kept(self, tmp_path: Path, attention: bool) -> None:
        made = build_pipeline("mini", activation="controlnet", multiple_attention=attention)
        made.save_pretrained(tmp_path)
        started = load_start(Start("mini", str(tmp_path)), "guidance")
        assert started.config["activation_kind"] == "controlnet"
        assert equal(made.activation.state_dict(), started.activation.state_dict())
        assert (started.attention is not None) == attention

    def test_stage_2_is_not_trained_on_an_untrained_stage_1(self, tmp_path: Path) -> None:
        build_pipeline("mini", activation="controlnet").save_pretrained(tmp_path)
        with pytest.raises(TrainingError, match="kind 'scedit', found 'controlnet'; train it"):
            load_start(Start("mini", str(tmp_path), activation="scedit"), "guidance")
        with pytest.raises(TrainingError, match="expected --from and the model of `train act"):
            load_start(Start("sd15"), "guidance")

    def test_a_trained_vae_keeps_its_components(self, folder: Path, tmp_path: Path) -> None:
        run_here(folder, tmp_path / "run", stage="vae")
        vae = load_start(Start("mini", str(tmp_path / "run" / "model")), "vae").vae
        before = vae.analysis.weight.clone()
        objective = build_objective("vae", build_pipeline("mini"), SETTINGS)
        objective.network = vae
        objective.start(batch_of()["hr"])
        assert torch.equal(vae.analysis.weight, before)

    def test_a_stage_that_would_lose_weights_is_refused(self, tmp_path: Path) -> None:
        for stage in ("vae", "prior"):
            with pytest.raises(TrainingError, match="expected a preset without a base"):
                load_start(Start("sd15"), stage)
            with pytest.raises(TrainingError, match="leave --from out; found --fresh"):
                load_start(Start("mini", str(tmp_path), fresh=True), stage)

    def test_what_cannot_be_started_from_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match="expected one of activation"):
            load_start(Start("mini"), "decoder")
        with pytest.raises(TrainingError, match="nowhere"):
            load_start(Start("mini", str(tmp_path / "nowhere")), "guidance")


def command(folder: Path, out: Path, *more: object) -> list[str]:
    words = ("train", "activation", "--preset", "mini", "--data", folder, "--out", out, *SMALL)
    return [str(word) for word in (*words, *more)]


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
