"""What a stage of training starts from."""

from pathlib import Path

import pytest
import torch
from training_example import SETTINGS, batch_of, equal, run_here

from cassr.base.errors import TrainingError
from cassr.build import build_pipeline
from cassr.pipeline import CasSRPipeline
from cassr.training.stages import build_objective
from cassr.training.start import Start, load_start

pytest_plugins = ["training_example"]
pytestmark = pytest.mark.usefixtures("few_first_images")


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
