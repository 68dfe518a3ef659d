"""The list of metrics: names, directions, availability, fingerprints, sizes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import photo
from scipy.io import loadmat, savemat

from bench import metrics
from bench.base.errors import CardError, ImageError, Unavailable, UnknownName
from bench.base.registry import Registry
from bench.base.types import MetricSpec
from bench.metrics import pyiqa_names
from bench.metrics.catalogue import MEANT, REFUSED
from bench.metrics.niqe import _parameters
from bench.metrics.pyiqa_names import SET_METRICS, bare
from bench.remote import weights

NO_DOWNLOAD = [
    "psnr_y",
    "ssim_y",
    "psnr",
    "ssim",
    "ms_ssim",
    "fsim",
    "gmsd",
    "nlpd",
    "vif",
    "piqe",
    "lr_psnr",
]
PUBLISHED = ["fid", "lpips", "dists", "musiq", "maniqa", "clipiqa", "niqe", "psnr_y", "ssim_y"]


def tensor(pixels: object) -> torch.Tensor:
    return torch.as_tensor(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def with_niqe(clean_home: Path, real_weights: Path) -> None:
    folder = clean_home / "torch/hub/pyiqa"
    folder.mkdir(parents=True)
    shutil.copy(real_weights / "niqe_modelparameters.mat", folder)


def test_published_metrics_are_there() -> None:
    assert set(PUBLISHED) | {"kid"} <= set(metrics.names())


@pytest.mark.parametrize("spec", metrics.METRICS, ids=lambda spec: spec.name)
def test_every_metric_is_described(spec: MetricSpec) -> None:
    assert spec.title
    assert spec.means
    assert spec.source
    assert spec.licence
    assert spec.range
    assert spec.arrow in "↑↓"
    assert spec.parity > 0
    assert metrics.find(spec.name) is spec


def test_a_metric_file_that_cannot_be_looked_for_is_an_error_of_ours() -> None:
    with pytest.raises(CardError, match="cannot read one"):
        metrics.find(f"{'a' * 300}.py")


def test_no_two_share_a_name() -> None:
    spec = metrics.find("psnr_y")
    with pytest.raises(CardError, match="metric 'psnr_y' is registered twice; rename one"):
        Registry("metric", [spec, replace(spec)])


@pytest.mark.parametrize(
    ("name", "hint"),
    [("psnry", "psnr_y"), ("pyiqa:gmsdd", "pyiqa:gmsd"), ("zzz", "cassr-bench list metrics")],
)
def test_unknown_names_get_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=hint):
        metrics.find(name)


@pytest.mark.parametrize("name", SET_METRICS)
def test_folder_metrics_of_pyiqa_are_ours(name: str) -> None:
    with pytest.raises(UnknownName, match="use 'fid' or 'kid'"):
        metrics.find(f"pyiqa:{name}")


def test_directions_of_pyiqa_are_taken_from_pyiqa() -> None:
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    for own, config in DEFAULT_CONFIGS.items():
        if own in SET_METRICS:
            continue
        spec = metrics.find(f"pyiqa:{own}")
        assert spec.better == ("lower" if config.get("lower_better") else "higher")
        assert spec.reference == (config["metric_mode"] == "FR")


def test_ours_point_where_pyiqa_does() -> None:
    for spec in metrics.METRICS:
        if spec.pyiqa_name and spec.kind == "image":
            theirs = metrics.find(f"pyiqa:{spec.pyiqa_name}")
            assert (spec.better, spec.reference) == (theirs.better, theirs.reference)


@pytest.mark.parametrize("name", [*NO_DOWNLOAD, "pyiqa:vsi", "pyiqa:gmsd"])
def test_runs_without_any_download(clean_home: Path, name: str) -> None:
    assert metrics.unavailable(metrics.find(name), "cpu") == ""


@pytest.mark.parametrize("name", sorted({spec.name for spec in metrics.METRICS} - {*NO_DOWNLOAD}))
def test_missing_weights_are_said_with_the_command_that_mends_it(
    clean_home: Path, name: str
) -> None:
    reason = metrics.unavailable(metrics.find(name), "cpu")
    assert "is not on this machine" in reason
    assert reason.endswith(f"run: cassr-bench fetch {name}")
    assert "\n" not in reason
    with pytest.raises(Unavailable, match="cassr-bench fetch"):
        metrics.load(metrics.find(name))


def test_a_metric_whose_files_are_not_listed_says_what_it_wants(clean_home: Path) -> None:
    reason = metrics.unavailable(metrics.find("pyiqa:arniqa"), "cpu")
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in reason
    assert "cassr-bench fetch pyiqa:arniqa" in reason


def test_missing_packages_are_said(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "clip" else find(name)
    )
    assert "pip install openai-clip" in metrics.unavailable(metrics.find("clipiqa"), "cpu")


def test_planning_imports_neither_torch_nor_pyiqa(with_niqe: None) -> None:
    script = (
        "import sys, json; from bench import metrics\n"
        "specs = [*metrics.METRICS, metrics.find('pyiqa:gmsd')]\n"
        "usable = [s for s in specs if not metrics.unavailable(s, 'cpu')]\n"
        "prints = {s.name: metrics.fingerprint(s) for s in usable}\n"
        "heavy = {'torch', 'pyiqa', 'numpy', 'requests', 'huggingface_hub'} & set(sys.modules)\n"
        "print(json.dumps([sorted(heavy), prints]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    heavy, prints = json.loads(done.stdout)
    assert heavy == []
    assert {"psnr_y", "niqe", "pyiqa:gmsd"} <= set(prints)
    for name in ("psnr_y", "niqe", "pyiqa:gmsd"):
        assert metrics.fingerprint(metrics.find(name)) == prints[name]


def test_scoring_folders_starts_without_what_it_rarely_needs() -> None:
    script = (
        "import sys; from bench.running import score_folders, score_job\n"
        "rare = {'torch', 'pandas', 'scipy', 'huggingface_hub', 'bench.methods.find'}\n"
        "print(sorted(rare & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_classic_metrics_need_no_torch_nor_scipy_and_see_pixels_as_they_see_tensors(
    with_niqe: None, tmp_path: Path
) -> None:
    np.savez(tmp_path / "pair.npz", sr=photo(192, 201, 1), hr=photo(192, 201, 2))
    script = (
        "import sys, json, numpy as np; from bench import metrics\n"
        "from bench.running.score_job import value_of\n"
        "from bench.metrics.filters import Pixels; from bench.data.likeness import LOOK\n"
        "from bench.results.bootstrap import bootstrap\n"
        "with np.load(sys.argv[1]) as held: sr, hr = Pixels(held['sr']), Pixels(held['hr'])\n"
        "specs = map(metrics.find, ['psnr_y', 'ssim_y', 'ms_ssim', 'gmsd', 'niqe', 'psnr',\n"
        "                          'ssim_y(crop_border=4)'])\n"
        "values = {s.name: value_of(s, 'cpu', sr, hr if s.reference else None) for s in specs}\n"
        "value_of(LOOK, 'cpu', sr, hr), bootstrap(np.ones((30, 1)), 0).half_width()\n"
        "print(json.dumps([sorted({'torch', 'pyiqa', 'scipy'} & set(sys.modules)), values]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "pair.npz")]
    heavy, values = json.loads(subprocess.check_output(command, text=True))
    assert heavy == []
    sr, hr = (tensor(photo(192, 201, seed)) for seed in (1, 2))
    for name, value in values.items():
        metric = metrics.load(metrics.find(name))
        assert value == pytest.approx(metric.score(sr, hr, metric.prepare(hr)), abs=1e-6), name


def test_fingerprints_hold_what_a_score_depends_on(with_niqe: None) -> None:
    niqe = metrics.fingerprint(metrics.find("niqe"))
    assert niqe["weights"]["niqe_modelparameters.mat"].startswith("fa2aa4d12dd9")
    assert "pyiqa" not in niqe
    nlpd = metrics.fingerprint(metrics.find("nlpd"), "cuda:1")
    assert nlpd["pyiqa"]
    assert nlpd["device"] == "cuda"
    assert nlpd["precision"] == "float32, TF32 off"
    assert "pyiqa" not in metrics.fingerprint(metrics.find("gmsd"))


def test_two_metrics_never_share_a_fingerprint(clean_home: Path) -> None:
    prints = [json.dumps(metrics.fingerprint(metrics.find(name))) for name in NO_DOWNLOAD]
    assert len(set(prints)) == len(prints)


SMALLEST = [spec for spec in metrics.METRICS if spec.name in [*NO_DOWNLOAD, "niqe"]]


@pytest.mark.parametrize("spec", SMALLEST, ids=lambda spec: spec.name)
def test_the_smallest_size_works_and_less_is_refused(with_niqe: None, spec: MetricSpec) -> None:
    metric = metrics.load(spec)
    side = spec.min_size
    hr, sr = (tensor(photo(side, side + 7, seed)) for seed in (1, 2))
    assert isinstance(metric.score(sr, hr, metric.prepare(hr)), float)
    if side > 1:
        small = sr[..., : side - 1]
        with pytest.raises(ImageError, match=f"too small for {spec.name}, which needs {side} px"):
            metric.score(small, small, None)


def test_niqes_parameters_are_the_same_in_both_files(real_weights: Path) -> None:
    (published,) = metrics.find("niqe").weights
    other = published.others[0]
    if weights.find(other) is None:
        pytest.skip(f"{other.name} is not here; `cassr-bench fetch niqe` gets it without the hub")
    ours = _parameters(weights.locate(other))
    for own, theirs in zip(ours, _parameters(real_weights / published.name), strict=True):
        assert own.dtype == theirs.dtype and np.array_equal(own, theirs)


def test_niqes_parameters_are_read_as_scipy_reads_them(real_weights: Path, tmp_path: Path) -> None:
    published = real_weights / metrics.find("niqe").weights[0].name
    model = loadmat(str(published))
    expected = model["mu_prisparam"], model["cov_prisparam"]
    kept = {name: model[name] for name in ("cov_prisparam", "mu_prisparam")}
    for compressed in (False, True):
        savemat(tmp_path / f"{compressed}.mat", kept, do_compression=compressed)
    for file in (published, *tmp_path.glob("*.mat")):
        for own, theirs in zip(_parameters(file), expected, strict=True):
            assert own.dtype == theirs.dtype and np.array_equal(own, theirs), file.name


def test_names_that_people_type_lead_on() -> None:
    meant = {
        "q-align": "pyiqa:qalign",
        "ARNIQA": "pyiqa:arniqa",
        "maniqa-pipal": "maniqa",
        "CLIPIQA+": "clipiqa_plus",
        "A-FINE": "afine",
        "musiq-koniq": "musiq",
        "LPIPS-Alex": "lpips",
        "lpips-vgg": "lpips_vgg",
        "ssim-rgb": "ssim",
        "PSNR-Y": "psnr_y",
        "fid-inception": "fid",
        "clip-iqa+": "clipiqa_plus",
        "niqe-matlab": "pyiqa:niqe_matlab",
        "dists-pyiqa": "dists",
        "DeQA-Score": "deqa",
        "clip-i": "clip_similarity",
        "Ma": "pyiqa:nrqm",
    }
    for name, other in meant.items():
        with pytest.raises(UnknownName, match=f"did you mean '{other}'"):
            metrics.find(name)
    for name in ("", "---"):
        with pytest.raises(UnknownName, match="cassr-bench list metrics"):
            metrics.find(name)
    for name, why in (("rmse", "use psnr"), ("CMMD", "kid and dino_fd"), ("VMAF", "not here")):
        with pytest.raises(UnknownName, match=f"metric '{name}': .*{why}"):
            metrics.find(name)


def test_what_else_metrics_are_called_is_no_metrics_own_name() -> None:
    known = {bare(spec.name) for spec in metrics.every()}
    known |= {bare(name) for name in pyiqa_names.names()}
    for called, name in MEANT.items():
        assert bare(called) == called and metrics.find(name).name == name
    # That of pyiqa scores folders, which is told where it is asked for by its full name.
    assert (MEANT.keys() | REFUSED.keys()) & known <= {"fiddinov2", "inceptionscore", "sfid"}
    assert not MEANT.keys() & REFUSED.keys()
