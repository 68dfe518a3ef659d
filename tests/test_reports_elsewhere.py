"""Reports that leave the machine: no path of it in them, and scores that were made elsewhere."""

import dataclasses
import json
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import bench
from bench.base.errors import BenchError
from bench.base.hashing import json_sha256
from bench.base.progress import Progress
from bench.base.text import printable, without_folders
from bench.reports import get_report, render_all
from bench.reports.leaderboard import Leaderboard
from bench.running.execute import stored
from bench.running.options import RunOptions
from bench.running.plan import make_plan
from bench.suites.find import chosen, find_suite

from . import results_example as ex

BROKEN = """
from pathlib import Path

def upscale(lr, *, scale, seeds):
    open(Path(__file__).parent / "no such place" / "w.pth")
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Leaderboard]:
    """A run over a folder with a space in its name, in which a method and images fail."""
    place = tmp_path_factory.mktemp("home") / "my place"
    rng = np.random.default_rng(0)
    for name in "ab":
        hr = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        ex.write_picture(place / "set" / "hr" / f"{name}.png", hr)
        ex.write_picture(place / "set" / "lr" / f"{name}.png", hr[::4, ::4])
    ex.write_picture(place / "sr" / "b.png", hr)
    for file in ("set/lr/c.png", "set/hr/c.png", "sr/a.png"):
        (place / file).write_bytes(b"no image")
    (place / "mine.py").write_text(BROKEN)
    found = bench.run(
        "quick",
        methods=["bicubic", f"folder:{place / 'sr'}@Finished", str(place / "mine.py")],
        datasets=f"folder:{place / 'set'}",
        metrics=["psnr_y", "ssim_y"],
        store=place / "store",
        fetch=False,
        device="cpu",
        workers=1,
    )
    return place, found


def test_no_report_names_a_folder_of_this_machine(
    failing: tuple[Path, Leaderboard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "cache"))
    place, found = failing
    assert len(found.failures) == 3
    files = found.report(tmp_path / "out", ex.FILES)
    texts = {path: path.read_bytes() for path in files}
    for path in [path for path in files if path.suffix == ".xlsx"]:
        with zipfile.ZipFile(path) as book:
            texts |= {path / name: book.read(name) for name in book.namelist()}
    for folder in (b"my place", str(place.parent).encode(), str(tmp_path).encode()):
        assert [path for path, text in texts.items() if folder in text] == []
    scores = (tmp_path / "out" / "scores.csv").read_text()
    assert "folder:set,mine,a,psnr_y,," in scores and "no such place/w.pth" in scores


def test_folders_are_cut_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / "two words" / "deep").mkdir(parents=True)
    for told, kept in {
        f"{tmp_path}/two words/deep/a.png: broken": "a.png: broken",
        f"see '{tmp_path}/two words/x.py' and {tmp_path}/y.py:4": "see 'x.py' and y.py:4",
        "from https://example.org/a/b or n/a, 3/4": "from https://example.org/a/b or n/a, 3/4",
        "/not/here/w.pth is absent": "w.pth is absent",
        f"{tmp_path}/not/here/w.pth is absent": "w.pth is absent",
        f"{tmp_path}/two words/not here/w.pth": "not here/w.pth",
        r"C:\Users\bob smith\x.png: broken, see \\server\share\y.py:4": "x.png: broken, see y.py:4",
        r"found \\n and C:\n": r"found \\n and n",
        r"\\server\My Share\bob\x.png or \\nas\home": "x.png or home",
    }.items():
        assert without_folders(told) == kept


PROVENANCE = {
    "suite": {"name": "quick"},
    "versions": {"cassr-bench": "9.8"},
    "seed": 3,
    "limit": None,
    "datasets": {"clean": {"images": 2, "manifest_sha256": "ab" * 32}},
    "methods": {"net": {"sha256": "cd" * 32, "weights": ["ef" * 32]}},
}


def test_a_table_says_how_it_is_made_again(tmp_path: Path) -> None:
    page, paper = get_report("reproduce").load()(ex.example(provenance=PROVENANCE), tmp_path)
    command = (
        "cassr-bench run quick --methods near,cubic,net --datasets clean,real "
        "--metrics psnr_y,lpips,niqe,fid --seed 3"
    )
    assert f"    pip install cassr-bench==9.8\n    {command}\n\n" in page.read_text()
    in_latex = command.replace("--", "-{}-").replace("_", r"\_").replace(",", r",\allowbreak{}")
    assert in_latex in paper.read_text()
    for digest in ("ab" * 32, "cd" * 32, "ef" * 32):
        assert digest in page.read_text() and digest[:16] in paper.read_text()
    more = {**PROVENANCE, "seeds": [3, 4], "scale": 2, "modcrop": True}
    for told in get_report("reproduce").load()(ex.example(provenance=more), tmp_path):
        assert "--seed 3 --seeds 2 --scale 2 --modcrop" in told.read_text().replace("{}", "")
    suite = {"name": "quick", "methods": ["near", "folder:out@net"], "metrics": ["psnr_y"]}
    page, _ = get_report("reproduce").load()(
        ex.example(provenance={**PROVENANCE, "suite": suite}), tmp_path
    )
    assert "run quick --methods near,folder:out@net --datasets clean,real " in page.read_text()
    for results in (ex.example(), ex.hostile(provenance=PROVENANCE)):
        page, paper = get_report("reproduce").load()(results, tmp_path)
        assert "<script>" not in page.read_text().replace("    ", "").split("Made on")[-1]
    (line,) = [line for line in page.read_text().splitlines() if line.startswith("    cassr-bench")]
    options = dict(zip(shlex.split(line)[3::2], shlex.split(line)[4::2], strict=True))
    assert options["--methods"] == ",".join(map(printable, ex.HOSTILE))


def test_a_report_is_a_static_space_and_its_title_cannot_change_that(tmp_path: Path) -> None:
    title = 'x\nsdk: docker # "'
    results = dataclasses.replace(ex.example(), title=title)
    files = render_all(results, tmp_path / "out", ["space", "html"])
    assert {"README.md", "html"} <= {path.relative_to(tmp_path / "out").parts[0] for path in files}
    front = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert front["sdk"] == "static" and front["title"] == printable(title)
    assert (tmp_path / "out" / front["app_file"]).is_file()


def test_means_are_logged_a_run_per_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    results = ex.example()
    theirs = tmp_path / "out" / "tensorboard" / "net" / "events.out.tfevents.1.of-theirs"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"")
    for title in ("Before", "Now"):
        render_all(dataclasses.replace(results, title=title), tmp_path / "out", ["tensorboard"])
    assert theirs.exists() and len(list(theirs.parent.iterdir())) == 2, "theirs, and ours of now"
    log = EventAccumulator(str(tmp_path / "out" / "tensorboard" / "net")).Reload()
    assert set(log.Tags()["scalars"]) == {
        f"{dataset}/{metric}"
        for dataset, metric in [("clean", "psnr_y"), ("clean", "lpips"), ("clean", "niqe"),
                                ("real", "psnr_y"), ("real", "niqe")]
    }, "and none for a mean that is missing"  # fmt: skip
    (mean,) = log.Scalars("clean/psnr_y")
    assert mean.value == pytest.approx(27.625)
    logged: dict[str, dict[str, float]] = {}

    class Run:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> "Run":
            return self

        def __exit__(self, *_: object) -> None: ...

        def log(self, values: dict[str, float]) -> None:
            logged[self.name] = values

    client = SimpleNamespace(init=lambda *, name, **_: Run(name))
    monkeypatch.setitem(sys.modules, "wandb", client)
    assert get_report("wandb").load()(results, tmp_path) == []
    assert list(logged) == ["near", "cubic", "net"] and logged["net"]["clean/niqe"] == 5.4321
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BenchError, match=r"--reports wandb: .*pip install 'cassr-bench\[wandb\]'"):
        get_report("wandb").load()(results, tmp_path)


def test_a_tracker_that_lacks_a_package_of_its_own_names_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("import its_own_need.sdk\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(BenchError, match=r"wandb: .* found: No module named 'its_own_need'; pip "):
        get_report("wandb").load()(ex.example(), tmp_path)


def remade_on_cuda(store: Path, metric: str) -> None:
    """Make the store say that the scores of a metric were computed on CUDA, with other versions."""
    (folder,) = (store / "scores").glob(f"{metric}-*")
    marker = folder / "fingerprint.json"
    told = {**json.loads(marker.read_text()), "device": "cuda", "pyiqa": "0.0.1"}
    marker.write_text(json.dumps(told))
    folder.rename(folder.with_name(f"{metric}-{json_sha256(told)[:12]}"))


def test_scores_of_another_device_are_reported_without_it(
    failing: tuple[Path, Leaderboard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, before = failing
    store = tmp_path / "store"
    shutil.copytree(place / "store", store)
    suite = chosen(find_suite("quick"), ["bicubic"], [f"folder:{place / 'set'}"], ["psnr_y"])
    both = suite.model_copy(update={"metrics": ["psnr_y", "ssim_y"]})
    options = RunOptions(store)

    remade_on_cuda(store, "psnr_y")
    found = stored(make_plan(both, options, Progress(True))).results
    expected = before.frame[before.frame["method"] == "bicubic"]
    assert found.scores["value"].tolist() == expected["value"].tolist()
    assert found.provenance["device"] == "cpu, cuda"
    assert found.provenance["metrics"]["psnr_y"]["pyiqa"] == "0.0.1"
    assert found.provenance["methods"]["bicubic"]["made_on"][0].startswith("cpu: ")
    assert "PSNR-Y on cuda" in found.notes[-1] and "SSIM-Y on cpu" in found.notes[-1]
    files = render_all(found, tmp_path / "out", ["markdown"])
    assert found.notes[-1] in files[0].read_text().replace("<br>", "")

    own = stored(make_plan(both, options, Progress(True)), "cpu").results
    assert own.scores["value"].isna().tolist() == [True, False] * 2

    far = stored(make_plan(both, options, Progress(True)), "cuda").results
    assert far.scores["value"].isna().tolist() == [False, True] * 2

    remade_on_cuda(store, "ssim_y")
    only = stored(make_plan(both, options, Progress(True)), "cuda").results
    assert only.provenance["device"] == "cuda" and not only.notes
    assert only.scores["value"].notna().all()
