"""What training minimises, stage by stage."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler
from pictures import photo
from training_example import SETTINGS, batch_of, equal, run_here, start_of, weights

from cassr.base.errors import TrainingError
from cassr.build import build_pipeline, build_scheduler
from cassr.config import NEGATIVE_PROMPT, PRESETS, TrainingSettings, get_preset
from cassr.controlnet import embed_hint
from cassr.patch_vae import PatchVAE
from cassr.photographs.read import in_folders
from cassr.pipeline import CasSRPipeline
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import LatentCodec, noised, predicted_clean, training_target
from cassr.training.adversarial import PatchCritic, adversarial_loss
from cassr.training.losses import (
    amplitude_difference,
    gradient_difference,
    grid_difference,
    image_loss,
)
from cassr.training.objectives import StageObjective
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.recipe import recipe_of
from cassr.training.stages import build_objective
from cassr.training.start import Start, load_start

pytest_plugins = ["training_example"]
pytestmark = pytest.mark.usefixtures("few_first_images")

ADVERSARIAL = replace(SETTINGS, steps=3, loss="image", adversarial_weight=0.1)


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    made = build_pipeline("mini")
    made.set_progress_bar_config(disable=True)
    return made


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
