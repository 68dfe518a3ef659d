"""Official repositories: set up, run, and every sin of theirs caught by name."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from conftest import Cli
from pictures import ODD_NAMES, photo
from PIL import Image
from stand_in import make_repository, write_card

from baselines.official_run import Program
from bench.base.errors import CardError, Unavailable, WeightsError
from bench.base.lazy import TRUST
from bench.base.progress import Progress
from bench.base.types import SetImage, SetMethod
from bench.methods import environment, lock
from bench.methods.find import find as find_method
from bench.methods.installation import Installation, ask, runs_on
from bench.methods.setup import SetupOptions, link, setup
from bench.running.cell import UpscaleTask
from bench.running.fill import _store
from bench.store.images import ImageStore


def test_a_program_is_shown_the_gpu_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES counts anew: cuda:1 may be any GPU of the machine."""
    where = Installation(find_method("seesr").card)
    for shown, expected in (("", "1"), ("4,5,6", "5"), ("GPU-a,GPU-b", "GPU-b")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        given = Program(where, "cuda:1").environment({"repo": "r"})
        assert given["CUDA_VISIBLE_DEVICES"] == expected


AS_IS = SetupOptions(python=Path(sys.executable), as_is=True)


@dataclass
class StandIn:
    """A repository with one commit, set up once for all, and a folder of three inputs."""

    folder: Path
    origin: Path
    commit: str
    inputs: Path
    installed: Path

    def card(self, sin: str = "", more: str = "") -> Path:
        return write_card(self.folder / "card.toml", self.origin, self.commit, sin, more)


@pytest.fixture(autouse=True)
def _trusted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "stand_in" in request.fixturenames:  # whose card is a program
        monkeypatch.setenv(TRUST, "1")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """The repository, its commit, and what `setup` makes of a card without more of its own."""
    folder = tmp_path_factory.mktemp("origin")
    commit = make_repository(folder / "origin")
    card = write_card(folder / "card.toml", folder / "origin", commit)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(TRUST, "1")
        patched.setenv("CASSR_BENCH_CACHE", str(folder / "cache"))
        setup(str(card), AS_IS, Progress(quiet=True))
    return folder / "origin", commit, folder / "cache" / "methods"


@pytest.fixture
def stand_in(clean_home: Path, tmp_path: Path, origin: tuple[Path, str, Path]) -> StandIn:
    folder = tmp_path / "stand-in"
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    for index, name in enumerate(("first", "second", "third")):
        Image.fromarray(photo(24, 32, index)).save(inputs / f"{name}.png")
    repository, commit, installed = origin
    return StandIn(folder, repository, commit, inputs, installed)


def ready(stand_in: StandIn, sin: str = "", more: str = "") -> Path:
    card = stand_in.card(sin, more)
    if more:
        setup(str(card), AS_IS, Progress(quiet=True))
    else:
        here = Path(os.environ["CASSR_BENCH_CACHE"]) / "methods"
        shutil.copytree(stand_in.installed, here, dirs_exist_ok=True)
    return card


def upscale(cli: Cli, stand_in: StandIn, card: Path) -> tuple[int, dict, Path]:
    output = stand_in.folder / "output"
    done = cli(
        *("upscale", "--method", card, "--input", stand_in.inputs, "--output", output),
        *("--device", "cpu", "--json"),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout), output


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
    assert log.stat().st_size < 3 << 20 and "bytes left out ...]" in text
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


def test_paths_written_into_foreign_code_are_replaced(stand_in: StandIn) -> None:
    change = '[[official.replacements]]\nfile = "run.py"\nold = "loading"\nnew = "LOADING"\n'
    card = ready(stand_in, more=change)
    where = Installation(find_method(str(card)).card)
    assert where.problem() == ""
    assert 'print("LOADING"' in (where.repo / "run.py").read_text()
    setup(str(card), AS_IS, Progress(quiet=True))
    assert where.problem() == ""
    (where.repo / "run.py").unlink()
    assert "repository: [Errno 2]" in where.problem() and "run.py" in where.problem()
    setup(str(card), AS_IS, Progress(quiet=True))
    assert where.problem() == ""
    card.write_text(card.read_text().replace('"loading"', '"never there"').replace("LOAD", "L0AD"))
    assert "run.py is not adapted" in Installation(find_method(str(card)).card).problem()
    with pytest.raises(Unavailable, match="expected the text 'never there' once"):
        setup(str(card), AS_IS, Progress(quiet=True))


def test_archives_of_weights_are_unpacked_inside_the_clone(stand_in: StandIn) -> None:
    for member, message in (("net/a.bin", ""), ("../a.bin", "leaves the archive")):
        archive = stand_in.folder / "net.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(member, "weights")
        more = 'unpack = { "net.zip" = "runs" }\n[[weights]]\nname = "net.zip"\n'
        target = Path(os.environ["CASSR_BENCH_CACHE"]) / "weights" / "net.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(archive, target)
        (target.parents[1] / "weights.json").unlink(missing_ok=True)
        where = Installation(find_method(str(stand_in.card(more=more))).card)
        if message:
            with pytest.raises(WeightsError, match=message):
                ready(stand_in, more=more)
            assert not (where.root / "a.bin").exists()
        else:
            ready(stand_in, more=more)
            (where.repo / ".git" / "HEAD").unlink()
            ready(stand_in, more=more)
            assert (where.repo / "runs" / "net" / "a.bin").read_text() == "weights"
            assert where.problem() == ""


# -- setup and doctor ----------------------------------------------------------------------------


def test_what_is_missing_is_said_with_the_command(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    done = cli("doctor", card)
    assert done.returncode == 1
    assert "repository: not cloned" in done.stdout and "cassr-bench setup stand-in" in done.stdout
    refused = cli("upscale", "--method", card, "--input", stand_in.inputs, "--output", "out")
    assert refused.returncode == 2
    assert "not cloned" in refused.stderr and "cassr-bench setup" in refused.stderr


def test_setup_is_done_once_and_then_found(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    first = cli("setup", card, "--python", sys.executable, "--as-is")
    assert first.returncode == 0, first.stderr
    assert f"repository: cloned, at {stand_in.commit[:12]}" in first.stdout
    second = cli("setup", card, "--python", sys.executable, "--as-is")
    assert "repository: is there" in second.stdout
    assert cli("doctor", card).returncode == 0


@pytest.mark.slow
def test_setup_builds_an_environment_of_its_own(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('modules = ["PIL"]', "modules = []"))
    done = cli("setup", card, "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    where = Installation(find_method(str(card)).card)
    assert where.python == where.root / "environment" / "bin" / "python"
    assert where.record()["packages_installed"] is True
    assert cli("doctor", card).returncode == 0


@pytest.mark.parametrize("change", ["commit", "file", "module", "damage", "no git", "gone"])
def test_a_changed_installation_is_noticed(
    stand_in: StandIn, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ready(stand_in)
    where = Installation(find_method(str(card)).card)
    assert where.problem() == ""
    if change == "commit":
        make = ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty"]
        subprocess.run(["git", "-C", str(where.repo), *make, "-m", "x"], check=True)
        assert f"expected {stand_in.commit[:12]}" in where.problem()
        setup(str(card), AS_IS, Progress(quiet=True))
        assert where.problem() == ""
    elif change == "file":
        (where.repo / "run.py").write_text("print('tampered')")
        assert "run.py was changed" in where.problem()
    elif change == "module":
        card.write_text(card.read_text().replace('["PIL"]', '["PIL", "no_such_module"]'))
        problem = Installation(find_method(str(card)).card).problem()
        assert "No module named 'no_such_module'" in problem
    elif change == "damage":
        (where.repo / ".git" / "HEAD").unlink()
        assert "repository: git " in where.problem() and "; run: cassr-bench" in where.problem()
        setup(str(card), AS_IS, Progress(quiet=True))
        assert where.problem() == ""
    elif change == "no git":
        monkeypatch.setenv("PATH", str(stand_in.folder))
        assert "repository: git is not installed" in where.problem()
    else:
        (where.root / "setup.json").unlink()
        assert "environment: not built" in where.problem()


def test_a_commit_that_is_not_there_leaves_no_half_clone(stand_in: StandIn) -> None:
    card = write_card(stand_in.folder / "card.toml", stand_in.origin, "0" * 40)
    with pytest.raises(Unavailable, match=r"git .*checkout"):
        setup(str(card), AS_IS, Progress(quiet=True))
    where = Installation(find_method(str(card)).card)
    assert not where.repo.exists()
    assert [path.name for path in where.root.iterdir()] == ["setup.log"]


def test_setup_says_which_interpreter_it_wants(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('python = "3.11"', 'python = "3.4"'))
    monkeypatch.setattr("shutil.which", lambda name, **where: None)
    with pytest.raises(Unavailable, match=r"Python 3.4 is needed.*--python FILE, or use --conda"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    with pytest.raises(Unavailable, match="no conda, mamba or micromamba"):
        setup(str(card), SetupOptions(conda=True), Progress(quiet=True))


def test_an_interpreter_is_tried_before_it_is_taken(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = stand_in.folder / "pyenv" / "shims" / "python3.4"
    shim.parent.mkdir(parents=True)
    said = "pyenv: python3.4: command not found\n\nversions to be found at the same time."
    shim.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 127\n")
    shim.chmod(0o755)
    card = stand_in.card()
    card.write_text(card.read_text().replace('python = "3.11"', 'python = "3.4"'))
    monkeypatch.setenv("PATH", f"{shim.parent}:{stand_in.folder}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match=r"3.4: pyenv: python3.4: command not found; install it"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    # What the shim refuses to start is there all the same, beside it.
    real = shim.parents[1] / "versions" / "3.4.10" / "bin" / "python3.4"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\n[ $1 = -c ] && echo 3.4 && exit\necho made with $0\nexit 1\n")
    real.chmod(0o755)
    with pytest.raises(Unavailable, match=r"made with .*/versions/3.4.10/bin/python3.4"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    real.write_text("#!/bin/sh\necho Warning: added a host >&2\necho fatal: no right >&2\nexit 1\n")
    assert ask(real, "")[1] == "fatal: no right"
    real.unlink()
    uv = stand_in.folder / "uv"
    uv.write_text("#!/bin/sh\necho asked: $@\nexit 1\n")
    uv.chmod(0o755)
    with pytest.raises(Unavailable, match=r"asked: venv --seed --python 3.4"):
        setup(str(card), SetupOptions(), Progress(quiet=True))


def test_a_script_is_started_by_setup(stand_in: StandIn) -> None:
    lines = setup(str(stand_in.card()), AS_IS, Progress(quiet=True))
    assert any(line.startswith("start: run.py prints its help: usage: run.py") for line in lines)
    named = [line for line in lines if "not installed" in line]
    assert len(named) == 1 and "logger_of_theirs, named in run.py, line" in named[0]
    with pytest.raises(Unavailable, match=r"run.py does not start: .*module_of_theirs"):
        setup(str(stand_in.card("does not start")), AS_IS, Progress(quiet=True))


def test_a_script_that_asks_for_a_gpu_is_started_so_far(stand_in: StandIn) -> None:
    card = stand_in.card("asks for a GPU")
    with pytest.raises(Unavailable, match="does not start: ValueError: Currently support CUDA"):
        setup(str(card), AS_IS, Progress(quiet=True))
    card.write_text(card.read_text().replace("gpu = false", "gpu = true"))
    lines = setup(str(card), AS_IS, Progress(quiet=True))
    assert any("run.py starts until it asks for a GPU" in line for line in lines)


def test_a_lock_is_installed_as_it_is_what_builds_first(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Installation(find_method(str(stand_in.card())).card)
    where.root.mkdir(parents=True)
    hashed = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
    text = "".join(f"{line}{hashed}" for line in ("pip-net==1.0", "setuptools==69.5.1"))
    monkeypatch.setattr(lock, "read", lambda card: lock.head(card) + text)
    monkeypatch.setattr(environment, "_as_locked", lambda where: True)
    called: list[list[str]] = []
    run = "bench.methods.environment.call"
    monkeypatch.setattr(run, lambda command, *rest: called.append(command))
    monkeypatch.setattr("shutil.which", lambda name, **where: None)
    with stand_in.folder.joinpath("log").open("w") as log:
        assert environment.install(where, log) == "packages: 2 installed as locked"
    assert all({"--require-hashes", "--no-deps"} <= set(command) for command in called)
    first, then = (Path(command[-1]).read_text(encoding="utf-8") for command in called)
    assert first == f"setuptools==69.5.1{hashed}" and then.endswith(text)


def test_a_card_that_was_changed_has_no_lock() -> None:
    card = find_method("seesr").card
    assert card.official is not None and lock.read(card)
    other = card.official.model_copy(update={"packages": ["torch==2.1"]})
    assert lock.read(card.model_copy(update={"official": other})) == ""


@pytest.mark.parametrize(
    ("kernels", "runs"),
    [
        (["sm_80", "sm_86"], {(8, 0): True, (8, 9): True, (9, 0): False, (7, 5): False}),
        (["sm_70", "compute_70"], {(9, 0): True, (7, 0): True, (6, 1): False}),
        (["sm_90a", "sm_100"], {(9, 0): True, (10, 0): True, (12, 0): False}),
    ],
)
def test_kernels_say_on_which_gpus_they_run(
    kernels: list[str], runs: dict[tuple[int, int], bool]
) -> None:
    assert {gpu: runs_on(kernels, gpu) for gpu in runs} == runs


def test_an_unknown_placeholder_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('"{seed}"', '"{sead}"'))
    setup(str(card), AS_IS, Progress(quiet=True))
    method = find_method(str(card)).load("cpu")
    inputs = {path.stem: path for path in stand_in.inputs.iterdir()}
    with pytest.raises(CardError, match=r"unknown placeholder \{sead\}"):
        list(method.upscale_set(inputs, tmp_path / "w", scale=4, seed=0, watch=print))  # type: ignore[union-attr]


def test_links_stay_inside_the_clone(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "w").write_text("x")
    for outside in (tmp_path / "elsewhere", tmp_path / "repo" / ".." / "w2"):
        with pytest.raises(Unavailable, match="expected a path inside"):
            link(tmp_path / "w", outside, tmp_path / "repo")
    link(tmp_path / "w", tmp_path / "repo" / "a" / "w", tmp_path / "repo")
    assert (tmp_path / "repo" / "a" / "w").read_text() == "x"


def test_packages_are_installed_anew_when_the_card_wants_others(stand_in: StandIn) -> None:
    card = ready(stand_in)
    where = Installation(find_method(str(card)).card)
    assert environment.are_there(where)
    card.write_text(card.read_text().replace("modules =", 'packages = ["numpy<2"]\nmodules ='))
    changed = Installation(find_method(str(card)).card)
    assert not environment.are_there(changed)
    card.write_text(card.read_text().replace('packages = ["numpy<2"]\n', "").replace("PIL", "P1L"))
    assert not environment.are_there(Installation(find_method(str(card)).card))


def test_a_model_folder_without_its_weights_is_not_taken_for_whole(stand_in: StandIn) -> None:
    more = '[[official.snapshots]]\nrepository = "them/model"\ninto = "model"\n'
    card = stand_in.card(more=more + 'files = ["config.json", "unet/*"]\n')
    setup(str(card), replace(AS_IS, weights=False), Progress(quiet=True))
    where = Installation(find_method(str(card)).card)
    assert "expected at model in the clone; run: cassr-bench setup" in where.problem()
    (where.repo / "model" / "unet").mkdir(parents=True)
    (where.repo / "model" / "config.json").write_text("{}")
    assert "expected at model in the clone, where unet/* is missing" in where.problem()
    (where.repo / "model" / "unet" / "weights.bin").write_text("x")
    assert where.problem() == ""


def test_what_a_build_imports_is_installed_first(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = 'build = ["torch"]\nrequirements = ["r.txt"]\npackages = ["extra"]\nmodules ='
    card = stand_in.card()
    card.write_text(card.read_text().replace("modules =", lists))
    called: list[list[str]] = []
    run = "bench.methods.environment.call"
    monkeypatch.setattr(run, lambda command, *rest: called.append(command))
    with stand_in.folder.joinpath("log").open("w") as log:
        found = environment.install(Installation(find_method(str(card)).card), log)
    assert found == "packages: installed"
    assert [command[-1] for command in called] == ["torch", "r.txt", "extra"]


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
