"""`import bench`: the values of the commands, images in any form, functions as methods."""

import csv
import dataclasses
import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import results_example
import torch
import torch.nn.functional as F
from conftest import ROOT, Cli
from pictures import photo
from PIL import Image

import bench
from bench.exchange.bundle import of_run, to_results
from bench.files.images import read_rgb, to_tensor
from bench.methods import own_function
from bench.results.results import summarize

CHOSEN = (
    *("--methods", "bicubic,nearest", "--metrics", "psnr_y,ssim_y"),
    *("--datasets", "quick-bicubic", "--limit", "2"),
)
REPORTS = ("csv", "latex", "statistics")


def script(file: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, file]
    return subprocess.run(
        command, cwd=file.parent, env=environment, capture_output=True, text=True, timeout=300
    )


def doubled(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
    return F.interpolate(lr, scale_factor=scale, mode="nearest")


def bent(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
    raise ValueError("bent on failing")


# -- score and metric ----------------------------------------------------------------------------


def test_scores_are_those_of_the_command(cli: Cli, image_folders: tuple[Path, Path]) -> None:
    sr, hr = image_folders
    (sr / "broken.png").write_bytes(b"no picture")
    Image.fromarray(photo(64, 64, 9)).save(hr / "broken.png")
    Image.fromarray(photo(64, 64, 9)).save(sr / "alone.png")
    done = cli("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y,ssim_y", "--csv", "s.csv")
    assert done.returncode == 1
    with (sr.parent / "cwd" / "s.csv").open(newline="") as file:
        told = {(r["image"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    table = bench.score(sr, hr, metrics=["psnr_y", "ssim_y"])
    assert list(table) == ["image", "metric", "value", "reason"]
    found = {
        (i, m): repr(v) for i, m, v in table[table["value"].notna()].iloc[:, :3].to_numpy().tolist()
    }
    assert found == {key: value for key, value in told.items() if value}
    lost = table[table["value"].isna()].set_index("image")["reason"]
    assert "cannot be decoded" in lost["broken.png"].iloc[0]
    assert set(lost.index) == {"broken.png", "alone.png"} and all(lost)


def test_several_folders_and_a_set_metric_without_weights(
    clean_home: Path, image_folders: tuple[Path, Path]
) -> None:
    sr, hr = image_folders
    table = bench.score([str(sr), hr], hr, metrics=["psnr_y", "fid"], limit=1)
    assert next(iter(table)) == "folder" and len(table) == 4
    whole = table[table["image"] == ""]
    assert list(whole["metric"]) == ["fid", "fid"] and "fetch fid" in whole["reason"].iloc[0]
    assert not clean_home.exists()


FORMS: dict[str, Callable[[Path], object]] = {
    "path": lambda path: path,
    "text": str,
    "pillow": Image.open,
    "uint8": read_rgb,
    "float": lambda path: read_rgb(path).astype(np.float32) / 255,
    "tensor": lambda path: to_tensor(read_rgb(path))[0],
    "batch of one": lambda path: to_tensor(read_rgb(path)),
    "list": lambda path: [path],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_metric_gives_the_files_value_for_every_form(
    form: str, image_folders: tuple[Path, Path]
) -> None:
    sr, hr = image_folders
    table = bench.score(sr, hr, metrics="ssim_y").set_index("image")["value"]
    given = [FORMS[form](folder / "img1.png") for folder in (sr, hr)]
    value = bench.metric("ssim_y")(*given)
    many = form in ("batch of one", "list")
    assert isinstance(value, np.ndarray if many else float)
    assert (value[0] if many else value) == table["img1.png"]


def test_images_in_memory_are_read_as_files_are(tmp_path: Path) -> None:
    deep, moving, part = io.BytesIO(), io.BytesIO(), io.BytesIO()
    _, encoded = cv2.imencode(".png", GREY.astype(np.uint16) * 257)
    deep.write(encoded)
    first, second = (Image.fromarray(photo(48, 48, seed)) for seed in (0, 1))
    first.save(moving, "GIF", save_all=True, append_images=[second])
    first.save(part, "JPEG")
    part.truncate(len(part.getvalue()) * 3 // 4)
    ended = io.BytesIO(part.getvalue() + b"\xff\xd9")
    known = (deep, "16 bits"), (moving, "2 frames"), (part, "cannot be"), (ended, "ends early")
    for file, told in known:
        image = Image.open(file)
        for _ in range(2):
            with pytest.raises(bench.BenchError, match=f"the image given: .*{told}"):
                bench.metric("psnr_y")(image, GREY)
    (tmp_path / "short.jpg").write_bytes(ended.getvalue())
    with pytest.raises(bench.BenchError, match=r"short\.jpg: ends early"):
        bench.upscale("bicubic", Image.open(tmp_path / "short.jpg"))
    swapped = (GREY / 255).astype(">f4")
    assert bench.metric("psnr_y")(swapped, GREY) == bench.metric("psnr_y")(GREY, GREY)


def test_a_batch_gives_an_array(image_folders: tuple[Path, Path]) -> None:
    sr, hr = (torch.cat([to_tensor(read_rgb(f)) for f in sorted(d.iterdir())])
              for d in image_folders)  # fmt: skip
    values = bench.metric("psnr_y")(sr, hr)
    assert values.shape == (3,) and len(set(values)) == 3
    arrays = (np.stack([read_rgb(f) for f in sorted(d.iterdir())]) for d in image_folders)
    assert list(bench.metric("psnr_y")(*arrays)) == list(values)


GREY = np.full((48, 48, 3), 99, np.uint8)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: bench.metric("psnr_z"), "did you mean 'psnr_y'"),
        (lambda: bench.metric("fid"), "use bench.score"),
        (lambda: bench.metric("psnr_y")(GREY), "give hr too"),
        (lambda: bench.metric("psnr_y")(GREY, GREY[:40]), "image 0: is 48x48, its HR image is"),
        (lambda: bench.metric("psnr_y")([GREY], [GREY, GREY]), "found 2 for 1"),
        (lambda: bench.metric("psnr_y")(GREY[:, :, 0], GREY), "found an array (48, 48)"),
        (lambda: bench.metric("psnr_y")(GREY / 1.0, GREY), "divide by 255"),
        (lambda: bench.metric("psnr_y")(GREY / 127.5 - 1.5, GREY), "(x + 1) / 2"),
        (lambda: bench.metric("psnr_y")(3, 3), "found int"),
        (lambda: bench.metric("psnr_y")([[GREY]], GREY), "found list"),
        (lambda: bench.metric("psnr_y")([np.stack([GREY])], GREY), "a list with a batch in it"),
        (lambda: bench.metric("psnr_y")("none.png", GREY), "none.png: does not exist"),
        (lambda: bench.upscale("bicubic", Image.new("CMYK", (9, 9))), "is CMYK"),
        (lambda: bench.upscale("bicubik", GREY), "did you mean 'bicubic'"),
        (lambda: bench.upscale(bent, GREY), "ValueError: bent on failing"),
        (lambda: bench.upscale(eval("lambda lr, **_: lr"), GREY), "its source is not known"),
        (lambda: bench.upscale(print, GREY), "expected a Python function"),
        (lambda: bench.run("quik"), "quick"),
        (lambda: bench.load("."), "expected an exported"),
        (lambda: bench.score(".", metrics=[]), "expected at least one name"),
    ],
)
def test_what_cannot_be_is_one_line(
    call: Callable[[], object], told: str, clean_home: Path
) -> None:
    with pytest.raises(bench.BenchError) as error:
        call()
    assert told in str(error.value) and "\n" not in str(error.value)


def test_threads_are_left_as_they_were(image_folders: tuple[Path, Path]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        bench.score(*image_folders, metrics="psnr_y", limit=1)
        bench.metric("psnr_y")(GREY, GREY + 1)
        bench.upscale(doubled, GREY)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# -- upscale -------------------------------------------------------------------------------------


def test_upscaled_as_the_command_writes_in_the_form_given(cli: Cli, tmp_path: Path) -> None:
    lr = tmp_path / "0.png"
    Image.fromarray(photo(24, 20, 3)).save(lr)
    cli("upscale", "--method", "bicubic", "--input", lr, "--output", "big")
    told = read_rgb(tmp_path / "cwd" / "big" / "0.png")
    rgb = read_rgb(lr)
    for given in (lr, str(lr), Image.open(lr)):
        made = bench.upscale("bicubic", given)
        assert isinstance(made, Image.Image) and np.array_equal(np.asarray(made), told)
    assert np.array_equal(bench.upscale("bicubic", rgb), told)
    floats = bench.upscale("bicubic", rgb.astype(np.float32) / 255)
    assert floats.dtype == np.float32 and np.array_equal((floats * 255).round(), told)
    batch = bench.upscale("bicubic", torch.cat([to_tensor(rgb)] * 2))
    assert batch.dtype == torch.float32 and torch.equal(batch[1:], to_tensor(told))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    Image.fromarray(photo(24, 20, 5)).save(tmp_path / "a" / "0.png")
    Image.fromarray(rgb).save(tmp_path / "b" / "0.png")
    files = [tmp_path / "a" / "0.png", tmp_path / "b" / "0.png", lr]
    other, *same = map(np.asarray, bench.upscale("bicubic", files))
    assert not np.array_equal(other, told) and all(np.array_equal(one, told) for one in same)
    assert torch.equal(bench.upscale("bicubic", to_tensor(rgb)[0]), batch[0])
    both = bench.upscale("bicubic", [rgb, Image.fromarray(rgb)])
    assert np.array_equal(both[0], told) and isinstance(both[1], Image.Image)


def test_a_methods_file_and_a_function_upscale_alike(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch.nn.functional as F\n\ndef upscale(lr, *, scale, seeds):\n"
        "    return F.interpolate(lr, scale_factor=scale, mode='nearest')\n"
    )
    made = bench.upscale(str(tmp_path / "mine.py"), GREY, scale=2)
    assert np.array_equal(made, bench.upscale(doubled, GREY, scale=2))
    assert made.shape == (96, 96, 3)


def test_images_of_one_name_are_drawn_alike_by_a_method_that_is_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import os, torch\n\nwith open(__file__ + '.log', 'a') as log:\n"
        "    log.write(f'{os.getpid()}\\n')\n\ndef upscale(lr, *, scale, seeds):\n"
        "    shape = (1, 3, *(side * scale for side in lr.shape[2:]))\n"
        "    return torch.rand(shape, generator=torch.Generator().manual_seed(seeds[0]))\n"
    )
    files = [tmp_path / folder / "0.png" for folder in "abc"]
    loaded = []
    for file in files:
        file.parent.mkdir()
        Image.fromarray(GREY).save(file)
    for given in (files[:1], files):
        first, *others = bench.upscale(str(tmp_path / "mine.py"), given, scale=2)
        assert all(np.array_equal(first, other) for other in others)
        loaded.append((tmp_path / "mine.py.log").read_text().count("\n"))
    assert loaded[1] == 2 * loaded[0]


# -- run and load --------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_sets")
def test_a_run_is_that_of_the_command(cli: Cli, clean_home: Path, tmp_path: Path) -> None:
    done = cli("run", "quick", *CHOSEN, "--reports", ",".join(REPORTS), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = bench.run(
        "quick",
        methods=["bicubic", "nearest"],
        datasets="quick-bicubic",
        metrics=["psnr_y", "ssim_y"],
        limit=2,
    )
    assert not found.failures and not found.absent
    again = found.report(tmp_path / "again", REPORTS)
    for name in ("scores.csv", "summary.csv", "table.tex", "statistics.csv", "provenance.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
        assert tmp_path / "again" / name in again
    assert found.latex() == (tmp_path / "out" / "table.tex").read_text()
    assert set(found.table["method"]) == {"bicubic", "nearest"} and len(found.table) == 4
    assert len(found.statistics().pairs) == 2
    assert "<td>Bicubic" in found._repr_html_() or "<th>Bicubic" in found._repr_html_()
    assert "Bicubic" in repr(found)

    cli("export", "quick", *CHOSEN, "--out", tmp_path / "all.json")
    for path, absent in ((tmp_path / "out", 3), (tmp_path / "all.json", 2)):
        loaded = bench.load(path)
        assert loaded.frame.equals(found.frame.drop(columns="kind"))
        assert loaded.table.equals(found.table)
        assert len(loaded.absent) == absent and "pictures" in loaded._repr_html_()
        assert loaded.statistics().cells.equals(found.statistics().cells)
    assert bench.load(tmp_path / "all.json").latex() == found.latex()
    assert loaded.report(tmp_path / "from_file", "csv")
    assert (tmp_path / "from_file" / "scores.csv").read_bytes() == (
        tmp_path / "out" / "scores.csv"
    ).read_bytes()


def test_a_file_gives_back_sets_reasons_and_titles() -> None:
    own = results_example.example()
    told = {
        "suite": {"name": "own"},
        "seed": 0,
        "limit": None,
        "datasets": {d.name: {"manifest_sha256": "0" * 64, "images": 2} for d in own.datasets},
        "methods": {m.name: {"sha256": "1" * 64} for m in own.methods},
        "metrics": {m.name: {} for m in own.metrics},
    }
    back = to_results(of_run(dataclasses.replace(own, provenance=told)))
    assert summarize(back).equals(summarize(own))
    assert (back.title, back.notes, back.datasets) == (own.title, own.notes, own.datasets)
    assert [m.title for m in back.methods] == [m.title for m in own.methods]
    assert back.scores["image"].iloc[-1] == "" and len(back.scores) == len(own.scores)


def run_of(*methods: object, **options: object) -> bench.Leaderboard:
    return bench.run(
        "quick", methods=methods, datasets="quick-bicubic", metrics="psnr_y",
        fetch=False, **{"limit": 1, **options},
    )  # fmt: skip


def test_a_function_takes_part_beside_a_card(clean_home: Path) -> None:
    found = run_of("nearest", doubled, bent)
    means = found.table.set_index("method")["mean"]
    assert means["doubled"] == means["nearest"] and np.isnan(means["bent"])
    assert len(found.failures) == 1 and "bent on failing" in found.failures[0][1]


def test_two_functions_of_one_name_are_told(clean_home: Path) -> None:
    def doubled(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
        return lr

    with pytest.raises(bench.BenchError, match="'doubled' is named twice"):
        run_of(doubled, globals()["doubled"])


def made_by(gain: object) -> Callable[..., torch.Tensor]:
    def brighter(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
        factor = gain if isinstance(gain, float) else gain.weight.flatten()[0]  # type: ignore
        return F.interpolate(lr, scale_factor=scale) * factor

    return brighter


def test_a_function_is_what_it_reads_too(clean_home: Path) -> None:
    """Images of a network that was trained on, or of another constant, are not taken for its."""
    net = torch.nn.Linear(1, 1)
    values = []
    for factor in (0.5, 0.25, 0.5):
        torch.nn.init.constant_(net.weight, factor)
        values.append([run_of(made_by(g)).table["mean"].iloc[0] for g in (net, factor)])
    assert values[0] == values[2] != values[1]
    assert all(one == other for one, other in values)


def test_what_a_function_is() -> None:
    def hash_of(function: Callable[..., torch.Tensor]) -> str:
        return own_function.registered(own_function.register(function))[1]

    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    assert hash_of(doubled) == hash_of(doubled)
    assert hash_of(made_by(net)) == hash_of(made_by(net))
    known = hash_of(made_by(net))
    assert hash_of(made_by(net.eval())) != known
    assert hash_of(made_by(np.zeros(3))) != hash_of(made_by(np.ones(3)))
    unknown = object()
    assert hash_of(made_by(unknown)) != hash_of(made_by(unknown))


@pytest.mark.parametrize("inside", [False, True])
def test_a_function_is_the_modules_of_the_users_own_that_it_reads_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    (tmp_path / "own_layers.py").write_text("GAIN = 1\n")
    (tmp_path / "own_net.py").write_text("import own_layers\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_net", "own_layers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    net = None if inside else importlib.import_module("own_net")

    def reading(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
        return net.own_layers.GAIN * F.interpolate(lr, scale_factor=scale)

    def importing(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
        import own_net  # type: ignore[import-not-found]

        return own_net.own_layers.GAIN * F.interpolate(lr, scale_factor=scale)

    upscale = importing if inside else reading
    name = own_function.register(upscale)
    first = own_function.registered(name)[1]
    assert own_function.register(upscale) == name and own_function.registered(name)[1] == first
    (tmp_path / "own_layers.py").write_text("GAIN = 2\n")
    own_function.register(upscale)
    assert own_function.registered(name)[1] != first


def test_a_function_is_the_packages_without_an_init_that_it_reads_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_space").mkdir()
    (tmp_path / "own_space" / "net.py").write_text("GAIN = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    net = importlib.import_module("own_space.net")

    def upscale(lr: torch.Tensor, *, scale: int, seeds: list[int]) -> torch.Tensor:
        return net.GAIN * F.interpolate(lr, scale_factor=scale)

    name = own_function.register(upscale)
    first = own_function.registered(name)[1]
    assert own_function.register(upscale) == name and own_function.registered(name)[1] == first
    (tmp_path / "own_space" / "net.py").write_text("GAIN = 2\n")
    own_function.register(upscale)
    assert own_function.registered(name)[1] != first


def test_numbers_that_are_out_of_range_are_refused_as_options_are() -> None:
    for name, wrong in (("limit", -1), ("scale", 2.5), ("workers", 0), ("seed", -1)):
        with pytest.raises(
            bench.BenchError, match=rf"^{name}: expected .* from \d on, found {wrong}"
        ):
            run_of("bicubic", **{name: wrong})
    with pytest.raises(bench.BenchError, match=r"every: expected .* found 0"):
        bench.Evaluator("quick", every=0)
    with pytest.raises(bench.BenchError, match="found one without pixels"):
        bench.upscale("bicubic", np.zeros((0, 8, 3), np.uint8))


def test_a_function_of_another_process_is_refused(cli: Cli) -> None:
    done = cli("run", "quick", "--methods", "python:m.f", "--metrics", "psnr_y", "--limit", "1")
    assert done.returncode == 2 and "is a function of another process" in done.stderr


def test_a_script_needs_no_guard(image_folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Its workers do not run it again."""
    sr, hr = map(str, image_folders)
    (tmp_path / "script.py").write_text(
        "import bench\nprint('begun')\n"
        f"t = bench.score({sr!r}, {hr!r}, metrics='psnr_y', workers=2)\n"
        "print(len(t), t['value'].notna().all())\n"
    )
    done = script(tmp_path / "script.py")
    assert (done.stdout.split(), done.stderr) == (["begun", "3", "True"], "")


# -- training ------------------------------------------------------------------------------------


class Twice(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.0))
        self.frozen = torch.nn.BatchNorm2d(3).eval()

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return F.interpolate(lr, scale_factor=2) * self.gain


def test_an_evaluator_scores_a_network_as_it_is_now(clean_home: Path, tmp_path: Path) -> None:
    for side, size in (("lr", 32), ("hr", 64)):
        (tmp_path / "val" / side).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(photo(size, size, index)).save(tmp_path / "val" / side / f"{index}.png")
    evaluate = bench.Evaluator(tmp_path / "val", ["psnr_y", "ssim_y"], every=10, scale=2)
    net = Twice().train()
    net.frozen.eval()
    assert evaluate(9, net) is None
    first = evaluate(10, net)
    net.gain.data.fill_(0.5)
    second = evaluate(20, net)
    assert first and second and list(first) == ["psnr_y", "ssim_y"]
    assert first["psnr_y"] > second["psnr_y"] and net.training
    assert not net.frozen.training, "what does not train goes on as it was"
    with pytest.raises(bench.BenchError, match="bent on failing"):
        evaluate(30, bent)
    assert not clean_home.joinpath("store").exists()
    with pytest.raises(bench.BenchError, match=r"^vall is no folder; unknown suite 'vall'"):
        bench.Evaluator("vall")


# -- the page -----------------------------------------------------------------------------------


@pytest.fixture
def page_folder(quick_sets: None, tmp_path: Path) -> Path:
    """A folder with the images that the page speaks of."""
    sizes = {"my_output": 64, "ground_truth": 64, "photos": 16}
    for name, size in (sizes | {"validation/lr": 16, "validation/hr": 64}).items():
        (tmp_path / "cwd" / name).mkdir(parents=True, exist_ok=True)
        for index in range(2):
            pixels = photo(size, size, index + (7 if name == "my_output" else 0))
            Image.fromarray(pixels).save(tmp_path / "cwd" / name / f"{index}.png")
    return tmp_path / "cwd"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)


def test_the_pages_code_runs_as_a_script(cli: Cli, page_folder: Path) -> None:
    (page_folder / "page.py").write_text("\n".join(blocks()))
    done = cli(script=page_folder / "page.py")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "(16, 16) (64, 64)" in done.stdout and "True (" in done.stdout
    assert re.search(r"^200 \{'psnr_y': ", done.stdout, re.M)
    assert (page_folder / "reports" / "table.tex").is_file()


def test_the_pages_code_runs_in_a_notebook(
    page_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    cells = [*map(nbformat.v4.new_code_cell, blocks()), nbformat.v4.new_code_cell("results")]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, resources={"metadata": {"path": str(page_folder)}}).execute()
    assert "<table>" in book.cells[-1].outputs[0]["data"]["text/html"]


# -- the module ----------------------------------------------------------------------------------


def test_only_what_is_told_is_reached() -> None:
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        bench.scores  # noqa: B018
    assert json.dumps(bench.__version__)
