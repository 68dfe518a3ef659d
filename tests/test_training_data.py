"""Training samples: a function of seed and number, whoever makes them, whatever lies in between."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import photo
from PIL import Image
from torch import Tensor

from cassr.base.errors import TrainingError, UnreadableImage
from cassr.build import build_pipeline
from cassr.config import TrainingSettings
from cassr.degradation import degrade
from cassr.photographs.read import (
    Stream,
    digest,
    in_dataset,
    in_folders,
    open_hub,
)
from cassr.photographs.sets import photographs, problem, training_sets
from cassr.sampling.loop import LatentCodec
from cassr.training.samples.data import Share, TrainingPairs, loader
from cassr.training.samples.prepared import Hands, prepare
from cassr.training.samples.recipe import Recipe, degraded, make_sample, recipe_of
from cassr.training.samples.references import External, Stage1

RECIPE = Recipe(crop=32, degradations=("full", "mild"), shrink=2.0, rotate=True, seed=5)


@pytest.mark.parametrize("suffix", ["jfif", "dib", "jpx", "pnm", "TIF", "avif"])
def test_photographs_of_every_kind_that_pillow_reads_are_found(tmp_path: Path, suffix: str) -> None:
    kind = {"jfif": "JPEG", "dib": "DIB", "jpx": "JPEG2000", "pnm": "PPM", "TIF": "TIFF"}
    Image.fromarray(photo(64, 64, 0)).save(tmp_path / f"a.{suffix}", kind.get(suffix, "AVIF"))
    (tmp_path / "notes.txt").write_text("no photograph")
    (tmp_path / "depth.pfm").write_bytes(b"Pf\n1 1\n-1.0\n" + bytes(4))
    [found] = in_folders([tmp_path])
    assert found.name == str(tmp_path / f"a.{suffix}") and found.read().shape == (64, 64, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photographs"
    (place / "deep").mkdir(parents=True)
    for index in range(5):
        where = place / "deep" if index % 2 else place
        Image.fromarray(photo(60 + index, 90, index)).save(where / f"{index}.png")
    return place


def take(pairs: object, share: Share, count: int, first_step: int = 0, workers: int = 0) -> list:
    made = loader(pairs, RECIPE, share, first_step=first_step, workers=workers)  # type: ignore[arg-type]
    return list(islice(iter(made), count))


def same(a: dict, b: dict) -> bool:
    names = ("hr", "lr", "seed", "index")
    return all(torch.equal(torch.as_tensor(a[n]), torch.as_tensor(b[n])) for n in names)


@pytest.mark.parametrize(("name", "least"), [("tries", 1), ("samples", 0), ("warmup", 0)])
def test_settings_that_make_no_sense_are_refused(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name}={least - 1}: expected at least {least}"):
        TrainingSettings(**{name: least - 1})  # type: ignore[arg-type]


class TestDegradingOnADevice:
    def test_a_batch_without_lr_images_gets_them_where_it_lies(self, folder: Path) -> None:
        whole = replace(RECIPE, degradations=("clean",))
        bare = replace(whole, degrade=False)
        photographs = in_folders([folder])
        (batch,), (other,) = (
            take(TrainingPairs(photographs, r), Share(4), 1) for r in (bare, whole)
        )
        assert "lr" not in batch
        made = degraded(batch, bare)
        assert torch.equal(made["hr"], other["hr"])
        assert torch.equal(made["seed"], other["seed"])
        # "clean" draws no noise: the same decisions in other arithmetic.
        torch.testing.assert_close(made["lr"], other["lr"], atol=2.5 / 255, rtol=0)
        alone = degraded({name: batch[name][2:3] for name in ("hr", "index")}, bare)
        assert torch.equal(alone["lr"], made["lr"][2:3])
        assert degraded(other, whole) is other

    def test_what_is_prepared_is_called_the_same(self) -> None:
        assert repr(replace(RECIPE, degrade=False)) == repr(RECIPE)


class TestSamples:
    def test_a_sample_is_a_crop_and_its_degraded_twin(self, folder: Path) -> None:
        sample = TrainingPairs(in_folders([folder]), RECIPE)[7]
        hr = sample["hr"].permute(1, 2, 0).numpy()
        seed = RECIPE.seed_of(7, "degradation")
        made = [degrade(hr, seed=seed, preset=p, exact=False) for p in RECIPE.degradations]
        assert any(np.array_equal(sample["lr"].permute(1, 2, 0).numpy(), lr) for lr in made)

    def test_without_shrinking_and_turning_a_crop_is_pixels_of_the_photograph(self) -> None:
        pixels = photo(40, 50)
        hr = make_sample(pixels, Recipe(crop=32), 3, "x")["hr"].permute(1, 2, 0).numpy()
        windows = [
            pixels[top : top + 32, left : left + 32] for top in range(9) for left in range(19)
        ]
        assert any(np.array_equal(hr, w) or np.array_equal(hr, w[:, ::-1]) for w in windows)

    def test_numbers_give_other_crops_and_epochs_another_order(self, folder: Path) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE)
        assert len({pairs[i]["hr"].numpy().tobytes() for i in range(40)}) == 40
        orders = [[pairs.photograph(e * 5 + i) for i in range(5)] for e in range(6)]
        assert all(sorted(order) == list(range(5)) for order in orders)
        assert len({tuple(order) for order in orders}) > 1

    def test_a_limited_number_of_pairs_comes_again_with_other_noise(self, folder: Path) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=4)
        first, again = pairs[1], pairs[5]
        assert torch.equal(first["hr"], again["hr"])
        assert torch.equal(first["lr"], again["lr"])
        assert first["seed"] != again["seed"]

    def test_all_presets_and_flips_occur(self) -> None:
        seeds = [RECIPE.seed_of(i, "preset") % 2 for i in range(400)]
        assert 150 < sum(seeds) < 250
        pixels = photo(32, 32)
        turned = {
            make_sample(pixels, Recipe(crop=32, rotate=True), i, "")["hr"].numpy().tobytes()
            for i in range(60)
        }
        assert len(turned) == 8

    def test_more_tries_give_more_detail(self) -> None:
        pixels = np.concatenate([np.full((64, 400, 3), 90, np.uint8), photo(64, 100)], axis=1)

        def detail(tries: int) -> float:
            recipe = Recipe(crop=32, tries=tries)
            crops = [make_sample(pixels, recipe, i, "")["hr"].float() for i in range(40)]
            return float(np.mean([float(c.std()) for c in crops]))

        assert detail(4) > 1.5 * detail(1)

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"crop": 30}, "multiple of 4"),
            ({"degradations": ("strong",)}, "full, mild, light, clean"),
            ({"degradations": ()}, "found none"),
            ({"shrink": 0.5}, "at least 1"),
        ],
    )
    def test_impossible_recipes_are_refused(self, change: dict, word: str) -> None:
        with pytest.raises(TrainingError, match=word):
            Recipe(**change)

    def test_settings_name_the_recipe(self) -> None:
        assert recipe_of(TrainingSettings()) == Recipe()


class TestSharing:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_resumed_loader_goes_on_where_it_was(self, folder: Path, workers: int) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE)
        share = Share(batch=2, accumulation=2)
        whole = take(pairs, share, 8)
        resumed = take(pairs, share, 4, first_step=2, workers=workers)
        assert all(same(a, b) for a, b in zip(whole[4:], resumed, strict=True))

    def test_two_processes_see_what_one_sees(self, folder: Path) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE)
        one = take(pairs, Share(batch=4), 3)
        parts = [take(pairs, Share(2, 1, process, 2), 3) for process in (0, 1)]
        for whole, left, right in zip(one, *parts, strict=True):
            assert torch.equal(whole["hr"], torch.cat([left["hr"], right["hr"]]))
            assert torch.equal(whole["seed"], torch.cat([left["seed"], right["seed"]]))

    def test_accumulation_sees_what_a_larger_batch_sees(self, folder: Path) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE)
        large = take(pairs, Share(batch=4), 2)
        small = take(pairs, Share(batch=2, accumulation=2), 4)
        indices = torch.cat([b["index"] for b in small])
        assert torch.equal(torch.cat([b["index"] for b in large]), indices)


class TestUnreadable:
    def test_bad_photographs_are_named_and_passed_over(self, folder: Path) -> None:
        (folder / "a-bad.png").write_bytes(b"<html>not found</html>")
        Image.fromarray(photo(20, 200)).save(folder / "b-small.png")
        pairs = TrainingPairs(in_folders([folder]), RECIPE)
        skipped = dict(pair for i in range(7) for pair in pairs[i]["skipped"])
        assert {Path(name).name for name in skipped} == {"a-bad.png", "b-small.png"}
        assert "at least 32 pixels, found 200x20" in skipped[str(folder / "b-small.png")]

    def test_nothing_but_bad_photographs_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "x.png").write_bytes(b"")
        with pytest.raises(TrainingError, match="none of 1 photographs can be used"):
            TrainingPairs(in_folders([tmp_path]), RECIPE)[0]

    def test_an_empty_or_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match="expected images"):
            in_folders([tmp_path])
        with pytest.raises(TrainingError, match="found nothing"):
            in_folders([tmp_path / "no"])
        (tmp_path / "empty").mkdir()
        Image.fromarray(photo(40, 80)).save(tmp_path / "x.png")
        with pytest.raises(TrainingError, match="empty: expected images"):
            in_folders([tmp_path, tmp_path / "empty"])

    def test_photographs_are_turned_as_their_exif_says(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(photo(40, 80)).save(tmp_path / "x.jpg", exif=exif)
        assert in_folders([tmp_path])[0].read().shape == (80, 40, 3)


@pytest.fixture
def rows(tmp_path: Path) -> object:
    import datasets

    cells: list = [Image.fromarray(photo(48, 48, i)) for i in range(6)]
    table = datasets.Dataset.from_dict({"image": cells}).cast_column("image", datasets.Image())
    broken = table.cast_column("image", datasets.Image(decode=False)).to_list()
    broken[2]["image"]["bytes"] = b"nonsense"
    broken[3]["image"]["bytes"] = b"nonsense"
    features = datasets.Features({"image": datasets.Image()})
    return datasets.Dataset.from_list(broken, features=features)


class TestHub:
    def test_a_column_is_read_by_number(self, rows: object) -> None:
        found = in_dataset(rows, None, "hf:x")
        assert len(found) == len(rows)  # type: ignore[arg-type]
        assert np.array_equal(found[1].read(), photo(48, 48, 1))
        with pytest.raises(UnreadableImage, match=r"hf:x\[2\]"):
            found[2].read()

    def test_a_folder_dataset_loads_and_joins(self, folder: Path, tmp_path: Path) -> None:
        both = [*open_hub(f"{folder}#train"), *in_folders([folder])]  # type: ignore[misc]
        assert len(both) == 10
        assert both[9].read().shape == both[4].read().shape
        with pytest.raises(TrainingError, match="cannot be loaded"):
            open_hub(str(tmp_path / "none"))
        with pytest.raises(TrainingError, match="image column 'label'"):
            open_hub(f"{folder}:label")

    def test_a_stream_gives_sample_i_from_the_first_usable_row_from_i_on(
        self, rows: object
    ) -> None:
        stream = Stream(rows.to_iterable_dataset(), None, "hf:x")  # type: ignore[attr-defined]
        share = Share(batch=2)
        recipe_rows = [0, 1, 4, 4, 4, 5, 0, 1, 4]
        batches = take(stream, share, 4)
        made = torch.cat([b["hr"] for b in batches])
        for index, (hr, row) in enumerate(zip(made, recipe_rows, strict=False)):
            expected = make_sample(photo(48, 48, row), RECIPE, index, "")["hr"]
            assert torch.equal((hr * 255).round().to(torch.uint8), expected)
        assert [name for name, _ in batches[1]["skipped"]] == ["hf:x[2]", "hf:x[3]"]

    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_a_stream_resumes_and_is_shared(self, rows: object, workers: int) -> None:
        stream = Stream(rows.to_iterable_dataset(), None, "hf:x")  # type: ignore[attr-defined]
        whole = take(stream, Share(batch=2), 6)
        later = take(stream, Share(batch=2), 3, first_step=3, workers=workers)
        assert all(same(a, b) for a, b in zip(whole[3:], later, strict=True))
        right = take(stream, Share(1, 1, 1, 2), 6)
        assert [int(b["index"]) for b in right] == [1, 3, 5, 7, 9, 11]
        assert torch.equal(right[2]["hr"][0], whole[2]["hr"][1])

    def test_a_stream_of_damaged_rows_is_given_up(self) -> None:
        import datasets

        features = datasets.Features({"image": datasets.Image()})
        cells = [{"image": {"bytes": b"x", "path": None}}] * 3
        rows = datasets.Dataset.from_list(cells, features=features).to_iterable_dataset()
        with pytest.raises(TrainingError, match="none of 1000 rows"):
            take(Stream(rows, None, "hf:x"), Share(batch=1), 1)


class TestPrepared:
    def test_prepared_samples_equal_those_made_on_the_fly(
        self, folder: Path, tmp_path: Path
    ) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=10)
        pipeline = build_pipeline("mini")
        pipeline.set_progress_bar_config(disable=True)
        ready = prepare(pairs, tmp_path / "cache", pipeline=pipeline, references=Stage1(pipeline))
        for index in (0, 9, 13):
            assert same(ready[index], pairs[index])
        batch = take(ready, Share(batch=2), 1)[0]
        with torch.no_grad():
            z = LatentCodec.untiled(pipeline.vae, batch["hr"]).encode(batch["hr"])
        assert torch.allclose(batch["z_hr"], z, atol=1e-5)
        seeds = [RECIPE.seed_of(i, "noise") for i in (0, 1)]
        reference = Stage1(pipeline).make(batch["lr"], 4, seeds)
        assert torch.allclose(batch["reference"], reference, atol=1.01 / 255)

    def test_a_killed_preparation_goes_on(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=40)
        monkeypatch.setattr("cassr.training.samples.prepared.CHUNK_BYTES", 16 * 3 * 32**2)
        told: list[int] = []

        def stop_after_two(layer: str, done: int, total: int) -> None:
            told.append(done)
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(pairs, tmp_path, hands=Hands(report=stop_after_two))
        hands = Hands(report=lambda layer, done, total: told.append(done))
        ready = prepare(pairs, tmp_path, hands=hands)
        assert told == [1, 2, 3]
        assert same(ready[39], pairs[39])

    @pytest.mark.parametrize("workers", [0, 1])
    def test_what_cannot_be_written_is_one_line_that_all_processes_are_told(
        self, folder: Path, tmp_path: Path, workers: int
    ) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=2)
        (tmp_path / "cache").write_text("a file in the way")
        told: list[str] = []

        def exchange(mine: list[str]) -> list[str]:
            told.extend(mine)
            return mine

        with pytest.raises(TrainingError, match=r"cannot be written \(.*\); make room"):
            prepare(pairs, tmp_path / "cache", hands=Hands(workers=workers, exchange=exchange))
        assert len(told) == 1
        assert "\n" not in told[0]

    def test_other_recipes_have_other_folders(self, folder: Path, tmp_path: Path) -> None:
        for recipe in (Recipe(crop=32), Recipe(crop=16)):
            pairs = TrainingPairs(in_folders([folder]), recipe, size=2)
            prepare(pairs, tmp_path / "cache")
        assert len(list((tmp_path / "cache").iterdir())) == 2

    def test_other_photographs_of_the_same_names_have_other_folders(
        self, folder: Path, tmp_path: Path
    ) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=2)
        before = prepare(pairs, tmp_path / "cache")[0]
        for file in folder.rglob("*.png"):
            Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file)
        after = prepare(pairs, tmp_path / "cache")[0]
        assert len(list((tmp_path / "cache").iterdir())) == 2
        assert not torch.equal(before["hr"], after["hr"])

    def test_a_moved_folder_has_the_same_photographs(self, folder: Path, tmp_path: Path) -> None:
        before = digest(in_folders([folder]))
        folder.rename(tmp_path / "moved")
        assert digest(in_folders([tmp_path / "moved"])) == before

    def test_a_photograph_that_cannot_be_used_is_told_once_and_remembered(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "bad.png").write_bytes(b"no")
        monkeypatch.setattr("cassr.training.samples.prepared.CHUNK_BYTES", 16 * 3 * 32**2)
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=40)
        told: list[str] = []
        for _ in range(2):
            hands = Hands(skip=lambda name, reason: told.append(name))
            ready = prepare(pairs, tmp_path, hands=hands)
            assert [Path(name).name for name in ready.skipped] == ["bad.png"]
        assert [Path(name).name for name in told] == ["bad.png"]

    def test_references_depend_on_all_that_makes_them(self) -> None:
        pipeline = build_pipeline("mini")
        seen = [Stage1(pipeline).identity()]
        pipeline.register_to_config(latent_sigma=0.5)
        seen.append(Stage1(pipeline).identity())
        pipeline.scheduler.register_to_config(timestep_spacing="leading")
        seen.append(Stage1(pipeline).identity())
        pipeline.prompt_embeddings.table.data.add_(1)
        seen.append(Stage1(pipeline).identity())
        assert all(a != b for a, b in pairwise(seen))

    def test_endless_pairs_cannot_be_prepared(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match="limited number"):
            prepare(TrainingPairs(in_folders([folder]), RECIPE), tmp_path)


class TestTrainingSets:
    def test_the_papers_sets_have_cards(self) -> None:
        cards = training_sets()
        assert {"div2k", "div8k", "flickr2k", "ost", "ffhq10k", "free"} == set(cards)
        assert cards["ffhq10k"].limit == 10_000
        assert all(card.licence and card.source and card.layout for card in cards.values())

    def test_no_photograph_is_one_of_the_evaluation(self) -> None:
        from bench.data.from_card import photo_collections

        evaluated = {p.sha256 for photos in photo_collections().values() for p in photos.images}
        trained = {listed.sha256 for card in training_sets().values() for listed in card.files}
        assert trained
        assert not trained & evaluated

    def test_the_miniatures_licences_let_its_weights_be_shared(self) -> None:
        licences = {listed.licence for listed in training_sets()["free"].files}
        attribution = {"CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0"}
        alike = {"CC-BY-SA-3.0", "CC-BY-SA-4.0"}
        assert licences <= {"public domain", "CC0-1.0"} | attribution | alike

    def test_a_missing_set_says_where_it_is_had(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASSR_TRAINING_DATA", str(tmp_path))
        with pytest.raises(TrainingError, match=r"expected 800 images of DIV2K.*found 0; get it"):
            photographs("div2k")
        with pytest.raises(TrainingError, match=r"expected one of .*div2k"):
            photographs("div3k")

    def test_a_complete_set_is_found_in_order_and_up_to_its_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASSR_TRAINING_DATA", str(tmp_path))
        card = training_sets()["div2k"]
        place = tmp_path / "div2k" / "DIV2K_train_HR"
        place.mkdir(parents=True)
        for index in range(1, 801):
            (place / f"{index:04d}.png").touch()
        assert problem(card) == ""
        found = photographs("div2k")
        assert [p.name for p in found[:2]] == ["0001.png", "0002.png"]
        (place / "0800.png").unlink()
        assert "found 799" in problem(card)

    def test_a_changed_photograph_of_a_package_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASSR_TRAINING_DATA", str(tmp_path))
        card = training_sets()["free"]
        (tmp_path / "free").mkdir()
        for listed in card.files:
            (tmp_path / "free" / listed.name).write_bytes(b"another picture")
        assert "missing, or not the file that" in problem(card)

    def test_hands_write_together_what_one_writes_alone(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "bad.png").write_bytes(b"no")
        monkeypatch.setattr("cassr.training.samples.prepared.CHUNK_BYTES", 16 * 3 * 32**2)
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=60)
        pipeline = build_pipeline("mini")
        pipeline.set_progress_bar_config(disable=True)
        asked = {"pipeline": pipeline, "references": Stage1(pipeline)}
        prepare(pairs, tmp_path / "one", **asked)
        monkeypatch.setattr("cassr.training.samples.prepared._write_layer", lambda *a: None)
        for process in (1, 0):
            ready = prepare(pairs, tmp_path / "two", **asked, hands=Hands(process, 2, workers=1))
        pairs_of = [next((tmp_path / run).glob("pairs-*")) for run in ("one", "two")]
        files = [{p.name: p.read_bytes() for p in place.iterdir()} for place in pairs_of]
        assert files[0] == files[1]
        assert len(list(pairs_of[1].glob("*.safetensors"))) == 4
        assert [Path(name).name for name in ready.skipped] == ["bad.png"]

    def test_what_fails_in_one_process_fails_in_all(self, folder: Path, tmp_path: Path) -> None:
        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=8)
        elsewhere = Hands(exchange=lambda mine: [*mine, "disk full there"])
        with pytest.raises(TrainingError, match="disk full there"):
            prepare(pairs, tmp_path, hands=elsewhere)

    def test_references_of_another_method(self, folder: Path, tmp_path: Path) -> None:
        def nearest(lr: Tensor, scale: int, seeds: Sequence[int]) -> Tensor:
            return lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3) * 1.5

        pairs = TrainingPairs(in_folders([folder]), RECIPE, size=4)
        method = External(nearest, {"name": "nearest"})
        ready = prepare(pairs, tmp_path, references=method)
        sample = ready[1]
        expected = nearest(sample["lr"][None] / 255.0, 4, [0])[0].clamp(0, 1)
        assert torch.equal(sample["reference"], (expected * 255).round().to(torch.uint8))
        other = External(nearest, {"name": "nearest", "version": 2})
        prepare(pairs, tmp_path, references=other)
        assert len(list(tmp_path.glob("references-*"))) == 2
