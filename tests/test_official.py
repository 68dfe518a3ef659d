"""Official repositories: set up, run, and every sin of theirs caught by name."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from conftest import Cli, plant_quick_sets
from official_example import AS_IS, StandIn, ready, upscale
from pictures import ODD_NAMES, photo
from PIL import Image

from baselines.official_run import Job, OfficialRun, Program
from baselines.process import LOG_BYTES
from bench.base.progress import Progress
from bench.base.types import SetImage, SetMethod
from bench.methods.card import Outputs
from bench.methods.find import find as find_method
from bench.methods.installation import Installation
from bench.methods.setup import setup
from bench.running.cell import UpscaleTask
from bench.running.fill import _store
from bench.store.images import ImageStore

pytest_plugins = ["official_example"]
pytestmark = pytest.mark.usefixtures("trusted")


def test_a_program_is_shown_the_gpu_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES counts anew: cuda:1 may be any GPU of the machine."""
    where = Installation(find_method("seesr").card)
    for shown, expected in (("", "1"), ("4,5,6", "5"), ("GPU-a,GPU-b", "GPU-b")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        given = Program(where, "cuda:1").environment({"repo": "r"})
        assert given["CUDA_VISIBLE_DEVICES"] == expected


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def reasons(found: dict) -> dict[str, str]:
    return dict(found["failures"])


def processes(stand_in: StandIn) -> list[str]:
    """Processes that were given a path of the stand-in's."""
    found = subprocess.run(
        ["pgrep", "-a", "-f", str(stand_in.folder)], capture_output=True, text=True
    )
    return found.stdout.splitlines()


ALL = ["first.png", "second.png", "third.png"]


def test_a_well_behaved_repository(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in))
    assert code == 0 and found["failures"] == []
    assert names(output) == ALL
    lr = Image.open(stand_in.inputs / "second.png")
    expected = np.asarray(lr.resize((128, 96), Image.Resampling.NEAREST))
    assert np.array_equal(np.asarray(Image.open(output / "second.png")), expected)
    record = next(iter((output / ".cassr-bench").glob("*.jsonl"))).read_text().splitlines()[0]
    assert json.loads(record)["commit"] == stand_in.commit
    (run,) = (output / "runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["run-1.json", "run-1.log"]
    described = json.loads((run / "run-1.json").read_text())
    assert described["inputs"] == ALL and described["commit"] == stand_in.commit
    assert "processing third.png" in (run / "run-1.log").read_text()


def test_a_run_with_seeds_runs_the_program_whole_with_each(
    cli: Cli, stand_in: StandIn, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    plant_quick_sets(store)
    done = cli(
        *("run", "quick", "--methods", f"bicubic,{ready(stand_in, 'noise from order')}"),
        *("--metrics", "psnr_y", "--datasets", "quick-bicubic", "--limit", 2, "--seeds", 2),
        *("--device", "cpu", "--workers", 1, "--store", store, "--out", out, "--reports", "seeds"),
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(path.read_text()) for path in store.glob("images/*/*/runs/*/run-1.json")]
    given = [run["command"][run["command"].index("--seed") + 1] for run in runs]
    assert sorted(given) == ["0", "1"] and {len(run["inputs"]) for run in runs} == {2}
    rows = list(csv.DictReader((out / "seeds.csv").read_text().splitlines()))
    spread = {(row["method"], row["metric"]): row["g_std"] or row["mean"] for row in rows}
    assert float(spread["stand-in", "psnr_y"]) > 0 and spread["bicubic", "psnr_y"] == "0"
    assert float(spread["stand-in", "l_std"]) > 0
    (ranked,) = csv.DictReader((out / "seeds_ranks.csv").read_text().splitlines())
    assert (ranked["a"], ranked["b"], ranked["changes"]) == ("bicubic", "stand-in", "0")


def test_paths_may_be_relative(cli: Cli, stand_in: StandIn) -> None:
    """The program runs in its clone: what is relative to our folder is nothing there."""
    folder = stand_in.folder.parent / "cwd"
    shutil.copytree(stand_in.inputs, folder / "in")
    card = stand_in.card(more='[[weights]]\nname = "net.ckpt"\n')
    text = card.read_text().replace('"--seed", "{seed}"]', '"--ckpt", "{weight:net.ckpt}"]')
    (folder / "card.toml").write_text(text)
    (folder / "mirror").mkdir()
    (folder / "mirror" / "net.ckpt").write_bytes(b"\x80\x02some weights")
    around = {"CASSR_BENCH_CACHE": "cache", "CASSR_BENCH_MIRROR": "mirror"}
    made = cli("setup", "card.toml", "--python", sys.executable, "--as-is", **around)
    assert made.returncode == 0, made.stderr
    arguments = ("--method", "card.toml", "--input", "in", "--output", "out", "--device", "cpu")
    done = cli("upscale", *arguments, **around)
    assert done.returncode == 0, done.stderr
    assert names(folder / "out") == ALL
    log = next((folder / "out" / "runs").glob("*/run-1.log")).read_text()
    assert "loading some weights" in log


def test_a_second_call_does_nothing(cli: Cli, stand_in: StandIn) -> None:
    card = ready(stand_in)
    upscale(cli, stand_in, card)
    code, found, _ = upscale(cli, stand_in, card)
    assert (code, found["made"], found["known"]) == (0, 0, 3)


def test_noise_on_standard_error_is_no_failure(cli: Cli, stand_in: StandIn) -> None:
    code, _, output = upscale(cli, stand_in, ready(stand_in, "stderr"))
    assert code == 0 and names(output) == ALL
    log = next((output / "runs").glob("*/run-1.log"))
    assert "Warning: half of this" in log.read_text()


def test_a_silently_skipped_image_is_named(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "skips"))
    assert code == 1 and names(output) == ["first.png", "third.png"]
    assert list(reasons(found)) == ["second"]
    assert "wrote no sample00/second.png" in reasons(found)["second"]


def test_files_that_belong_to_no_input_are_named_and_not_used(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "extra"))
    assert code == 1 and names(output) == ALL
    assert (found["made"], found["todo"]) == (3, 0)
    (why,) = reasons(found).values()
    assert "belongs to no input" in why and "sample00/first_lq.png" in why
    assert "prompts.txt" not in why


def test_outputs_are_never_matched_by_position(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "numbers its outputs"))
    assert code == 1 and names(output) == []
    assert set(reasons(found)) == {"first", "second", "third", "output/"}
    assert "sample00/0000.png" in reasons(found)["output/"]


def test_a_wrong_size_is_refused_by_name(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "wrong size"))
    assert code == 1 and names(output) == ["first.png", "third.png"]
    assert reasons(found)["second"] == "second.png: is 124x96, expected 128x96"


def test_a_crash_costs_nothing_that_was_made(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "dies once"))
    assert code == 0, found
    assert names(output) == ALL
    runs = next((output / "runs").iterdir())
    second = json.loads((runs / "run-2.json").read_text())
    assert second["inputs"] == ["second.png", "third.png"]
    assert "CUDA out of memory" in (runs / "run-1.log").read_text()


def test_an_image_that_kills_the_program_does_not_stop_the_others(
    cli: Cli, stand_in: StandIn
) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "dies at second"))
    assert code == 1 and names(output) == ["first.png", "third.png"]
    assert "killed by signal 6" in reasons(found)["second"]
    assert "processing second.png" in reasons(found)["second"]


def test_a_program_that_never_works_is_given_up(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "dies at once"))
    assert code == 1 and names(output) == []
    assert set(reasons(found)) == {"first", "second", "third"}
    assert all("No module named 'xformers'" in why for why in reasons(found).values())
    assert len(list((output / "runs").glob("*/run-*.log"))) == 5


def test_the_image_that_kills_is_found_whatever_the_order(cli: Cli, stand_in: StandIn) -> None:
    for name in ("fourth", "fifth"):
        Image.fromarray(photo(24, 32)).save(stand_in.inputs / f"{name}.png")
    code, found, output = upscale(cli, stand_in, ready(stand_in, "own order, dies at second"))
    assert code == 1 and list(reasons(found)) == ["second"]
    assert names(output) == ["fifth.png", "first.png", "fourth.png", "third.png"]


def test_what_is_passed_over_is_tried_once_more_by_itself(cli: Cli, stand_in: StandIn) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, "skips in company"))
    assert code == 0, found
    assert names(output) == ALL
    runs = next((output / "runs").iterdir())
    inputs = [json.loads((runs / f"run-{i}.json").read_text())["inputs"] for i in (2, 3)]
    assert inputs == [["second.png"], ["third.png"]]


def images_of(stand_in: StandIn, card: Path, work: Path) -> Iterator[SetImage]:
    method = cast(SetMethod, find_method(str(card)).load("cpu"))
    inputs = {path.stem: path for path in stand_in.inputs.iterdir()}
    return method.upscale_set(inputs, work, scale=4, seed=0, watch=lambda line: None)


def test_an_image_that_is_written_anew_counts_as_it_is_at_the_end(
    stand_in: StandIn, tmp_path: Path
) -> None:
    card = ready(stand_in, "placeholder first")
    marker, seen = card.with_suffix(".marker"), []
    for image in images_of(stand_in, card, tmp_path / "work"):
        assert image.file is not None, image.reason
        seen.append((image.id, bool(np.asarray(Image.open(image.file)).any())))
        marker.touch()
    assert seen[0] == ("first", False) and ("first", True) in seen
    assert dict(seen) == {"first": True, "second": True, "third": True}


def test_the_store_holds_what_came_last(cli: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    black, sr = tmp_path / "black.png", tmp_path / "sr.png"
    Image.new("RGB", (32, 32)).save(black)
    Image.fromarray(photo(32, 32)).save(sr)
    lr = tmp_path / "lr.png"
    Image.fromarray(photo(8, 8)).save(lr)
    task = UpscaleTask(
        "m", "cpu", "a", lr, 4, 0, "k" * 64, tmp_path / "store" / "a-kkkkkkkkkkkk.png"
    )
    store = ImageStore(tmp_path / "store")
    for file in (black, sr):
        assert _store(SetImage("a", file), task, store) == ""
    kept = store.get(task.key, task.image_id)
    assert kept is not None and np.asarray(Image.open(kept.path)).any()
    assert _store(SetImage("a", None, "is 8x8"), task, store) == "is 8x8"
    assert store.get(task.key, task.image_id) is None


def test_a_long_log_keeps_its_ends(cli: Cli, stand_in: StandIn) -> None:
    code, _, output = upscale(cli, stand_in, ready(stand_in, "endless log"))
    assert code == 0
    log = next((output / "runs").glob("*/run-1.log"))
    text = log.read_text()
    assert log.stat().st_size <= LOG_BYTES and "bytes left out ...]" in text  # of 15 MB
    assert "processing first.png" in text and text.rstrip().endswith("step")


def test_lossy_outputs_are_said_to_be(stand_in: StandIn, tmp_path: Path) -> None:
    made = list(images_of(stand_in, ready(stand_in, "writes JPEG"), tmp_path / "work"))
    assert [image.record["lossy"] for image in made] == ["JPEG"] * 3
    honest = next(images_of(stand_in, ready(stand_in), tmp_path / "other"))
    assert honest.record["lossy"] == ""


def test_loading_is_told_apart_from_upscaling(stand_in: StandIn, tmp_path: Path) -> None:
    made = list(images_of(stand_in, ready(stand_in, "keeps time"), tmp_path / "work"))
    assert made[0].record["first"] >= 7 and "seconds" not in made[0].record
    assert [image.record["seconds"] for image in made[1:]] == [0.1, 0.1]


@pytest.mark.parametrize("sin", ["hangs", "child of its own"])
def test_a_hanging_program_is_stopped_with_all_its_children(
    cli: Cli, stand_in: StandIn, sin: str
) -> None:
    code, found, output = upscale(cli, stand_in, ready(stand_in, sin))
    # It hangs at the second file of each run: the third is then done first, the second alone.
    assert code == 0, found
    assert names(output) == ALL
    log = next((output / "runs").glob("*/run-1.log")).read_text()
    assert "processing second.png" in log
    assert processes(stand_in) == []


def test_an_image_that_may_yet_be_refused_is_waited_on_from_its_first_sight(tmp_path: Path) -> None:
    run = OfficialRun.__new__(OfficialRun)
    run.jobs = {"a": Job("a", "a", (4, 4), (4, 4), 4)}
    run.root, run.official = tmp_path, SimpleNamespace(outputs=Outputs())  # type: ignore[assignment]
    run.refused, run._states, run._taken, run._since = {}, {}, {}, 0.0
    Image.fromarray(photo(8, 8)).save(tmp_path / "a.png")
    assert list(run._finished(final=False)) == []
    seen = run._since
    assert seen > 0.0
    assert list(run._finished(final=False)) == [] and run._since == seen


def test_order_dependence_is_found_by_a_trial(cli: Cli, stand_in: StandIn) -> None:
    honest = cli("doctor", ready(stand_in), "--try", "--device", "cpu")
    assert honest.returncode == 0, honest.stdout
    assert "images do not affect each other" in " ".join(honest.stdout.split())
    sinner = cli("doctor", ready(stand_in, "noise from order"), "--try", "--device", "cpu")
    assert "images affect each other, as expected" in " ".join(sinner.stdout.split())
    assert sinner.returncode == 0
    card = ready(stand_in, "noise from order")
    card.write_text(card.read_text().replace('seeding = "run"', 'seeding = "image"'))
    liar = cli("doctor", card, "--try", "--device", "cpu")
    assert liar.returncode == 1 and 'says seeding = "image"' in " ".join(liar.stdout.split())
    unseeded = cli("doctor", ready(stand_in, "noise from nothing"), "--try", "--device", "cpu")
    assert unseeded.returncode == 1
    assert "gave other pixels" in " ".join(unseeded.stdout.split())


def test_inputs_with_odd_names_get_plain_ones(cli: Cli, stand_in: StandIn) -> None:
    taken = [*ODD_NAMES, "image-00000", "image-00001"]
    for index, name in enumerate(taken):
        Image.fromarray(photo(8, 8, index)).save(stand_in.inputs / f"{name}.png")
    code, found, output = upscale(cli, stand_in, ready(stand_in))
    assert code == 0, found
    assert names(output) == sorted([*ALL, *(f"{name}.png" for name in taken)])
    for index, name in enumerate(taken):
        expected = Image.fromarray(photo(8, 8, index)).resize((32, 32), Image.Resampling.NEAREST)
        found_pixels = np.asarray(Image.open(output / f"{name}.png"))
        assert np.array_equal(found_pixels, np.asarray(expected)), name


def test_an_image_below_the_minimum_is_refused_before_anything_runs(
    cli: Cli, stand_in: StandIn
) -> None:
    Image.fromarray(photo(3, 9)).save(stand_in.inputs / "tiny.png")
    code, found, output = upscale(cli, stand_in, ready(stand_in))
    assert code == 1 and names(output) == ALL
    assert reasons(found) == {"tiny": "is 9x3; Stand-in needs 4 or more"}


def test_the_program_dies_with_the_runner(cli: Cli, stand_in: StandIn) -> None:
    card, output = ready(stand_in, "hangs"), stand_in.folder / "output"
    arguments = ("upscale", "--method", card, "--input", stand_in.inputs, "--output", output)
    runner = cli.start(*arguments, "--device", "cpu")
    runner.until(lambda: names(output))
    assert any("run.py" in line for line in processes(stand_in))
    runner.kill()
    runner.wait()
    deadline = time.monotonic() + 60
    while (left := processes(stand_in)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []
    assert names(output) == ["first.png"]


def test_weights_are_given_by_path_and_recorded(cli: Cli, stand_in: StandIn) -> None:
    weights = stand_in.folder / "net.ckpt"
    weights.write_bytes(b"\x80\x02some weights")
    more = f'[[weights]]\nname = "net.ckpt"\nurl = "{weights.as_uri()}"\n'
    card = stand_in.card(more=more)
    text = card.read_text().replace('"--seed", "{seed}"]', '"--ckpt", "{weight:net.ckpt}"]')
    card.write_text(text)
    (Path(os.environ["CASSR_BENCH_CACHE"]) / "weights").mkdir(parents=True)
    (Path(os.environ["CASSR_BENCH_CACHE"]) / "weights" / "net.ckpt").write_bytes(
        b"\x80\x02some weights"
    )
    setup(str(card), AS_IS, Progress(quiet=True))
    code, found, output = upscale(cli, stand_in, card)
    assert code == 0, found
    log = next((output / "runs").glob("*/run-1.log"))
    assert "loading some weights" in log.read_text()
    record = json.loads(log.with_suffix(".json").read_text())
    assert len(record["weights"]["net.ckpt"]) == 64


def test_odd_sizes_are_mirrored_up_and_cropped_back(cli: Cli, stand_in: StandIn) -> None:
    for name, size in (("first", (25, 31)), ("second", (24, 32))):
        Image.fromarray(photo(*size)).save(stand_in.inputs / f"{name}.png")
    card = stand_in.card()
    card.write_text(card.read_text().replace("min_size = 4", "multiple = 8"))
    setup(str(card), AS_IS, Progress(quiet=True))
    code, found, output = upscale(cli, stand_in, card)
    assert code == 0, found
    expected = Image.fromarray(photo(25, 31)).resize((124, 100), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(Image.open(output / "first.png")), np.asarray(expected))


def test_other_sizes_go_through_the_other_command(cli: Cli, stand_in: StandIn) -> None:
    Image.fromarray(photo(16, 16)).save(stand_in.inputs / "square.png")
    card = stand_in.card()
    other = 'only_size = 16\ncommand_else = ["run.py", "--input", "{input}", "--outdir", '
    other += '"{output}", "--upscale", "{scale}", "--seed", "77"]\n'
    card.write_text(card.read_text().replace("outputs =", f"{other}outputs ="))
    setup(str(card), AS_IS, Progress(quiet=True))
    code, found, output = upscale(cli, stand_in, card)
    assert code == 0, found
    runs = next((output / "runs").iterdir())
    first, second = (json.loads((runs / f"run-{i}.json").read_text()) for i in (1, 2))
    assert first["inputs"] == ["square.png"] and "77" not in first["command"]
    assert second["inputs"] == ALL and "77" in second["command"]


def test_a_config_file_is_written_for_each_run(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    text = card.read_text().replace('"--seed", "{seed}"]', '"--ckpt", "{config}"]')
    config = 'config = """\nlr: {input}\nrun: {run}\n"""\noutputs ='
    card.write_text(text.replace("outputs =", config))
    setup(str(card), AS_IS, Progress(quiet=True))
    code, found, output = upscale(cli, stand_in, card)
    assert code == 0, found
    log = next((output / "runs").glob("*/run-1.log")).read_text()
    assert "run-1-input" in log and "run: cassr-bench-" in log


def test_reasons_in_reports_hold_no_path_of_this_machine(
    cli: Cli, stand_in: StandIn, tmp_path: Path
) -> None:
    hr = Image.fromarray(photo(96, 96))
    for side, image in (("lr", hr.resize((24, 24), Image.Resampling.BICUBIC)), ("hr", hr)):
        (tmp_path / "cwd" / "own" / side).mkdir(parents=True)
        image.save(tmp_path / "cwd" / "own" / side / "a.png")
    broken = "def upscale(lr, *, scale, seeds):\n    "
    methods = [ready(stand_in, "dies at once")]
    for name, line in (
        ("missing", f"open({str(tmp_path / 'no such' / 'net.pth')!r})"),
        ("says", f"raise RuntimeError({str(tmp_path)!r} + '/a.bin: damaged, log:' + __file__)"),
        ("wrong_size", "return lr"),
    ):
        methods.append(tmp_path / f"{name}.py")
        methods[-1].write_text(f"{broken}{line}\n")
    absent = tmp_path / "absent.toml"
    absent.write_text(
        'name = "absent"\ntitle = "Absent"\nlicence = "none"\n'
        'factory = "baselines.spandrel_models:SpandrelNetwork"\n'
        '[[weights]]\nname = "no.pth"\nurl = "https://localhost:1/no.pth"\n'
    )
    done = cli(
        *("run", "quick", "--datasets", "folder:own", "--metrics", "psnr_y,fid", "--no-fetch"),
        *("--methods", ",".join(map(str, ["bicubic", *methods, absent])), "--out", "reports"),
        *("--device", "cpu", "--workers", 1),
    )
    assert done.returncode == 1, done.stderr
    for path in (tmp_path / "cwd" / "reports").rglob("*"):
        contents = [path.read_bytes()] if path.is_file() else []
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        assert not any(str(tmp_path).encode() in content for content in contents), path
    scores = (tmp_path / "cwd" / "reports" / "scores.csv").read_text()
    assert "net.pth" in scores and "a.bin: damaged" in scores and "run-1.log" in scores
