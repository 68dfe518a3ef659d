"""Options of metrics in parentheses, and metrics in a file of the user's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import photo
from PIL import Image

import bench
from bench import metrics
from bench.base.errors import BenchError, CardError, UnknownName
from bench.commands.shared.options import names


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def score(name: str, sr: np.ndarray, hr: np.ndarray) -> float:
    metric = metrics.load(metrics.find(name))
    return metric.score(tensor(sr), tensor(hr), metric.prepare(tensor(hr)))  # type: ignore[union-attr]


SR, HR = photo(120, 97, 1), photo(120, 97, 2)


def test_a_border_of_four_is_that_of_a_few_lines_by_hand() -> None:
    y = [16 + image[4:-4, 4:-4] / 255 @ [65.481, 128.553, 24.966] for image in (SR, HR)]
    by_hand = 10 * np.log10(1 / (np.mean((y[0] / 255 - y[1] / 255) ** 2) + 1e-8))
    assert score("psnr_y(crop_border=4)", SR, HR) == pytest.approx(by_hand, abs=1e-6)
    assert score("psnr(channels=y,crop_border=4)", SR, HR) == pytest.approx(by_hand, abs=1e-6)
    assert abs(score("psnr_y", SR, HR) - by_hand) > 1e-3


def test_every_metric_of_images_takes_a_border() -> None:
    inner = [image[8:-8, 8:-8] for image in (SR, HR)]
    for name in ("gmsd", "ssim", "piqe", "pyiqa:vsi"):
        assert score(f"{name}(crop_border=8)", SR, HR) == score(name, inner[0], inner[1])
    with pytest.raises(BenchError, match=r"97x120 px is too small .*, which needs 111 px"):
        score("ssim(crop_border=50)", SR, HR)


def test_options_of_pyiqa_reach_its_network(clean_home: Path) -> None:
    import pyiqa

    name = "pyiqa:ssim(downsample=true,test_y_channel=false)"
    assert not metrics.unavailable(metrics.find(name), "cpu")
    theirs = pyiqa.create_metric("ssim", downsample=True, test_y_channel=False)
    sr, hr = photo(600, 520, 1), photo(600, 520, 2)
    assert score(name, sr, hr) == pytest.approx(float(theirs(tensor(sr), tensor(hr))), abs=1e-6)


def test_without_options_nothing_is_other_than_it_was() -> None:
    for said in ("psnr_y()", "psnr_y(crop_border=0)", "psnr(channels=rgb)"):
        assert metrics.find(said) is metrics.find(said.partition("(")[0])
    assert metrics.fingerprint(metrics.find("psnr_y")) == {
        "metric": "psnr_y",
        "options": {},
        "version": 1,
        "weights": {},
        "device": "cpu",
    }


def test_a_variant_is_told_apart_everywhere() -> None:
    variant = metrics.find("psnr( crop_border=4, channels=y )")
    assert variant.name == "psnr(channels=y,crop_border=4)"
    assert variant.title == "PSNR (channels=y, crop_border=4)"
    print_ = metrics.fingerprint(variant)
    assert print_["options"] == {"channels": "y", "crop_border": 4}
    assert metrics.find(variant.name) == variant == metrics.registered(variant.name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("psnr_y(crop=4)", "unknown option 'crop'; expected crop_border: a whole number from 0"),
        ("psnr_y(crop_border=-1)", "crop_border: expected a whole number from 0, found '-1'"),
        (f"psnr_y(crop_border={'9' * 5000})", "expected a whole number"),
        ("psnr(channels=bgr)", "channels: expected rgb or y, found 'bgr'"),
        ("psnr_y(4)", r"expected NAME\(option=value, ...\)"),
        ("psnr_y(crop_border=4", r"expected NAME\(option=value, ...\)"),
        ("psnr_y(crop_border=4,crop_border=4)", "each option once"),
        ("fid(crop_border=4)", "unknown option 'crop_border'; it has none"),
        ("pyiqa:lpips(net=../vgg)", "net: expected a word"),
        ("pyiqa:musiq(pretrained_model_path=x)", "unknown option"),
        ("pyiqa:ssim(downsample=2)", "downsample: expected true or false, found '2'"),
    ],
)
def test_what_no_metric_takes_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message) as caught:
        metrics.find(name)
    assert "\n" not in str(caught.value)
    assert metrics.registered(name) is None


def test_commas_in_parentheses_do_not_end_a_name() -> None:
    assert names("--metrics", ['a(x=1, y=2),b,"c,d"', "e"]) == ["a(x=1, y=2)", "b", "c,d", "e"]
    assert names("--methods", ["folder:a (b,c"]) == ["folder:a (b", "c"]


# -- a metric in a file --------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, shift in (("sr", 0), ("hr", 5)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(photo(24, 24, i + shift)).save(tmp_path / name / f"{i}.png")
    return tmp_path


def written(text: str, name: str = "mine.py") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def values(metric: str, **options: object) -> pd.DataFrame:
    return bench.score("sr", "hr", metrics=metric, device="cpu", **options)  # type: ignore[arg-type]


FAR = '''def score(sr, hr):
    """Mean distance; lower is better."""
    return (sr - hr).abs().mean()
'''


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_in_a_file_is_a_metric(folders: Path, workers: int) -> None:
    found = values(written(FAR), workers=workers)
    by_hand = [
        np.abs(photo(24, 24, i).astype(float) - photo(24, 24, i + 5)).mean() / 255 for i in range(2)
    ]
    assert list(found["value"]) == pytest.approx(by_hand, abs=1e-6)
    assert set(found["metric"]) == {"mine.py"}
    spec = metrics.find("mine.py")
    assert (spec.better, spec.reference, spec.means) == (
        "lower",
        True,
        "Mean distance; lower is better.",
    )


def test_a_changed_file_is_another_metric(folders: Path) -> None:
    before = values(written(FAR), store=folders / "store")
    after = values(written(FAR.replace("mean()", "max()")), store=folders / "store")
    again = values(written(FAR), store=folders / "store")
    assert list(before["value"]) == list(again["value"]) != list(after["value"])
    assert len(list((folders / "store" / "scores").glob("mine.py-*"))) == 2


def test_it_is_one_whatever_its_folder_and_follows_what_is_beside_it(folders: Path) -> None:
    (folders / "far").mkdir()
    (folders / "far" / "mine.py").write_text(FAR)
    here, there = metrics.find(written(FAR)), metrics.find("far/mine.py")
    assert metrics.fingerprint(here) == metrics.fingerprint(there)
    written("POWER = 2\n", "beside.py")
    name = written(f"from beside import POWER\n{FAR.replace('.mean()', '.mean() ** POWER')}")
    squared, spec = values(name), metrics.find(name)
    written("POWER = 1\n", "beside.py")
    assert metrics.fingerprint(metrics.find(name)) != metrics.fingerprint(spec)
    assert list(values(name)["value"] ** 2) == pytest.approx(list(squared["value"]), rel=1e-5)


def test_without_reference_it_gets_the_sr_image_alone(folders: Path) -> None:
    name = written('def score(sr, hr=None):\n    """higher is better"""\n    return sr.mean()\n')
    found = bench.score("sr", metrics=name, device="cpu")
    assert found["value"].notna().all()
    assert bench.metric(name, device="cpu")(photo(24, 24, 0)) == found["value"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\ndef score(sr):\n    return 1\n",
            r"mine.py:2: expected 'higher is better' or .*neither",
        ),
        ('def score(sr, hr, k):\n    "lower is better"', r"mine.py:1: .* found score\(sr, hr, k\)"),
        ("x = 1\n", r"mine.py: expected a function score\(sr, hr\) or score\(sr\), found none"),
        ("x = 1\ndef score(:\n", "mine.py:2: is not valid Python"),
    ],
)
def test_a_file_that_is_no_metric_is_refused_in_one_line(
    folders: Path, text: str, message: str
) -> None:
    with pytest.raises(CardError, match=message):
        values(written(text))
    with pytest.raises(CardError, match=r"absent.py: .*No such file"):
        values("absent.py")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("return 1 / 0", r"ZeroDivisionError: division by zero \(mine.py:3\)"),
        ("import sys; sys.exit(3)", r"SystemExit: 3 \(mine.py:3\)"),
        ("return '12'", "mine.py:1: expected a number from score, found str"),
        ("return 10**400", "mine.py:1: expected a number from score, found int"),
        ("return float('nan')", "is not a finite number"),
        ("return 1e300", r"is not a finite number below 1e\+100"),
    ],
)
def test_what_the_function_does_wrong_costs_its_own_scores(
    folders: Path, line: str, reason: str
) -> None:
    name = written(f'def score(sr, hr):\n    """lower is better"""\n    {line}\n')
    found = bench.score("sr", "hr", metrics=[name, "psnr_y"], device="cpu", workers=1)
    own = found["metric"] == name
    assert found["reason"][own].str.contains(reason).all()
    assert found["value"][~own].notna().all()


def test_it_cannot_change_the_images_of_others(folders: Path) -> None:
    name = written(FAR.replace("    return", "    sr.zero_(), hr.zero_()\n    return"))
    together = bench.score("sr", "hr", metrics=[name, "psnr_y"], device="cpu", workers=1)
    alone = values("psnr_y")
    assert list(together["value"][together["metric"] == "psnr_y"]) == list(alone["value"])


def test_reports_tell_variants_apart_and_are_read_without_the_file(folders: Path) -> None:
    asked = [written(FAR), "psnr_y", "psnr_y(crop_border=4)"]
    options = {"datasets": "quick-bicubic", "limit": 1, "device": "cpu", "store": folders / "store"}
    found = bench.run("quick", methods="bicubic", metrics=asked, fetch=False, **options)  # type: ignore[arg-type]
    found.report(folders / "out", ["csv", "latex", "markdown"])
    assert "PSNR-Y (crop" in (folders / "out" / "table.md").read_text()
    Path("mine.py").unlink()
    read = bench.load(folders / "out")
    assert list(read.table["metric"]) == asked
    assert read.table["mean"].nunique() == 3
    assert [spec.better for spec in read.results.metrics] == ["lower", "higher", "higher"]
