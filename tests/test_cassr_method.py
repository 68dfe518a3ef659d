"""CasSR as a method of the harness: cards, models by name, kept references."""

from pathlib import Path

import pytest
import torch

from baselines import cassr_files
from baselines.cassr_files import find_model
from baselines.cassr_method import CasSR
from bench.base.errors import Unavailable, UnknownName
from bench.methods.entry import Entry
from bench.methods.find import all_methods, find, matching
from cassr.build import build_pipeline

CARDS = Path(cassr_files.__file__).parent / "cards"
BLIP = "Salesforce/blip-image-captioning-base"


@pytest.fixture
def model(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a saved miniature with random weights."""
    models = clean_home / "models"
    monkeypatch.setenv("CASSR_MODELS", str(models))
    build_pipeline("mini").save_pretrained(models / "tiny")
    return "tiny"


LR = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def test_a_variant_is_its_card_but_for_what_it_names():
    cassr, caption = all_methods()["cassr"], all_methods()["cassr-caption"]
    assert caption.options == {"model": "cassr-sd15-text", "caption": BLIP}
    assert all_methods()["cassr-null-cfg"].options == {**cassr.options, "sampling": {"prompt": ""}}
    same = {"title", "summary", "name", "options", "parameters", "variants"}
    assert cassr.model_dump(exclude=same) == caption.model_dump(exclude=same)


def test_each_training_of_a_variant_is_a_method():
    names = matching("mini-null-cfg-*")
    assert names == ["mini-null-cfg-0", "mini-null-cfg-1", "mini-null-cfg-2"]
    found = [all_methods()[name] for name in names]
    assert [card.options["model"] for card in found] == [f"mini-scedit-{n}" for n in range(3)]
    assert [card.training_seed for card in found] == [0, 1, 2]
    assert "{seed}" not in repr(found)
    assert {"mini", "mini-null-cfg"}.isdisjoint(all_methods())
    with pytest.raises(UnknownName, match="no method is called 'mini-null-\\*-7'"):
        matching("mini-null-*-7")


def test_a_missing_model_says_where_and_what_to_do(clean_home: Path):
    with pytest.raises(Unavailable, match="no trained CasSR called cassr-sd15"):
        find("cassr").load("cpu")
    with pytest.raises(Unavailable, match="cannot be had from the hub"):
        find_model("nobody/nothing", "main")


def test_a_card_with_a_typo_is_refused(model: str, tmp_path: Path):
    with pytest.raises(ValueError, match="unknown option 'guidence_scale'"):
        CasSR(model, sampling={"guidence_scale": 2})
    with pytest.raises(ValueError, match="dtype='fp16': expected one of float32"):
        CasSR(model, dtype="fp16")


def test_upscaling_through_a_card(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    text = (CARDS / "cassr.toml").read_text(encoding="utf-8").replace("cassr-sd15", model)
    (tmp_path / "mine.toml").write_text(text)
    method = find(str(tmp_path / "mine.toml")).load("cpu")
    sr = method.upscale(LR, scale=4, seeds=[1, 2])
    assert tuple(sr.shape) == (2, 3, 24, 32)
    swapped = method.upscale(LR.flip(0), scale=4, seeds=[2, 1])
    assert torch.equal(swapped.flip(0), sr)
    assert "%|" not in capfd.readouterr().err  # a progress bar of a part that has no name here


def test_references_are_kept_and_change_nothing(model: str, clean_home: Path, monkeypatch):
    method = CasSR(model)
    first = method.upscale(LR, scale=2, seeds=[1, 2])
    assert len(list((clean_home / "bench" / "references").rglob("*.png"))) == 2
    without_stage_1 = CasSR(model, sampling={"multiple_attention": False})
    for each in (method, without_stage_1):
        monkeypatch.setattr(each.pipeline, "activation_stage", None)
    assert torch.equal(method.upscale(LR, scale=2, seeds=[1, 2]), first)
    without_stage_1.upscale(LR, scale=2, seeds=[1, 2])
    with pytest.raises(TypeError):
        method.upscale(LR, scale=2, seeds=[3, 4])


def test_a_reference_of_another_size_of_process_is_another(model: str, clean_home: Path):
    enlarged = CasSR(model, sampling={"process_size": 64})
    alone = enlarged.upscale(LR[:1], scale=2, seeds=[1])
    CasSR(model).upscale(LR[:1], scale=2, seeds=[1])
    kept = len(list((clean_home / "bench" / "references").rglob("*.png")))
    assert kept == 2 and torch.equal(enlarged.upscale(LR[:1], scale=2, seeds=[1]), alone)


def test_another_method_as_reference(model: str):
    method = CasSR(model, reference_method="bicubic", sampling={"activation": "external"})
    assert tuple(method.upscale(LR[:1], scale=2, seeds=[0]).shape) == (1, 3, 12, 16)


def test_a_card_can_be_judged_without_loading(model: str, clean_home: Path):
    assert "no trained CasSR" in cassr_files.unavailable({"model": "absent"})
    assert cassr_files.unavailable({"model": model}) == ""
    found = cassr_files.fingerprint({"model": model})
    assert found["files"] == CasSR(model).files


def test_another_methods_weights_are_part_of_what_is_known(model: str, clean_home: Path):
    options = {"model": model, "reference_method": "realesrgan-x4plus"}
    found = cassr_files.fingerprint(options)["reference"]
    assert found == find("realesrgan-x4plus").fingerprint() and found["weights"]
    assert "reference" not in cassr_files.fingerprint({"model": model})
    built, other = find("cassr-mini-realesrgan"), find("realesrgan-x4plus")
    assert built.all_weights() == other.all_weights() and other.all_weights()
    assert built.stand_ins() == other.stand_ins()
    assert built.card.scales == other.card.scales == [4]
    absent = cassr_files.unavailable({"model": model, "reference_method": "hat"})
    assert absent == f"its reference images: {find('hat').unavailable()}"
    circle = {"model": model, "reference_method": "cassr-mini-realesrgan"}
    assert "needs no reference, found another" in cassr_files.unavailable(circle)
    assert cassr_files.fingerprint(circle) == {}


def test_a_retrained_model_under_the_same_name_is_another_method(model: str, clean_home: Path):
    card = find("cassr").card
    entry = Entry("cassr", card.model_copy(update={"options": {"model": model}}))
    before = entry.fingerprint()
    assert entry.unavailable() == "" and entry.fingerprint() == before
    build_pipeline("mini", seed=1).save_pretrained(clean_home / "models" / "tiny")
    assert entry.fingerprint() != before


def test_adapters_in_a_folder_are_a_model(model: str, clean_home: Path):
    build_pipeline("mini").save_adapters(clean_home / "models" / "adapters")
    assert find_model("adapters", "main") == clean_home / "models" / "adapters"
