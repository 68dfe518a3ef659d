"""What a method of one's own does wrong: one line with its place, and the others' images."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from PIL import Image
from run_example import means, upscaled

from bench.base.errors import Unavailable
from bench.methods.find import find as find_method
from bench.processes.foreign import each


def test_a_method_of_ones_own_sees_its_seed_and_its_errors_stay_its_own(
    cli: Cli, tmp_path: Path
) -> None:
    method = tmp_path / "mine.py"
    method.write_text(
        "def upscale(lr, *, scale, seeds):\n"
        "    if lr.mean() > 0.5:\n"
        "        raise RuntimeError('too\\nbright')\n"
        "    return lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3)\n"
    )
    bright, dark = tmp_path / "bright.png", tmp_path / "dark.png"
    Image.fromarray(np.full((16, 16, 3), 250, np.uint8)).save(bright)
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(dark)
    done = cli(
        *("upscale", "--method", method, "--input", bright, "--input", dark),
        *("--output", tmp_path / "out"),
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "too\\nbright" in line]
    assert (np.asarray(Image.open(tmp_path / "out" / "dark.png")) == 9).all()
    assert not (tmp_path / "out" / "bright.png").exists()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sys.exit(0)", "SystemExit: 0 (mine.py:6)"),
        ("raise GeneratorExit", "GeneratorExit (mine.py:6)"),
        ("raise StopIteration(3)", "StopIteration: 3 (mine.py:6)"),
        ("raise type('Odd', (BaseException,), {})('x')", "Odd: x (mine.py:6)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (mine.py:6)"),
        ("torch.zeros(2).view(3)", "is invalid for input of size 2 (mine.py:6)"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: sys.exit(0)})",
            "Mute: (its message cannot be shown) (mine.py:6)",
        ),
        ("raise ValueError('x' * 50_000)", "ValueError: " + "x" * 300 + "… (mine.py:6)"),
    ],
)
def test_whatever_a_method_raises_is_one_line_with_its_place(
    body: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = upscaled(body, tmp_path)
    assert isinstance(found, str) and found.startswith(f"method '{tmp_path}/mine.py': ")
    assert found.endswith(expected) and len(found.splitlines()) == 1


def test_what_breaks_while_a_method_is_loaded_is_told_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    for text, expected in (
        ("import sys\nsys.exit(0)\n", "SystemExit: 0 (mine.py:2)"),
        ("def upscale(:\n", "SyntaxError: invalid syntax (mine.py, line 1) (mine.py:1)"),
    ):
        file.write_text(text)
        with pytest.raises(Unavailable) as error:
            find_method("mine.py").load("cpu")
        assert str(error.value) == f"method 'mine.py': {expected}"


def test_what_breaks_between_the_images_of_a_set_is_told_likewise() -> None:
    def made() -> Iterator[int]:
        yield 1
        sys.exit(0)

    found = each("set.toml", made())
    assert next(found) == 1
    with pytest.raises(Unavailable, match=r"method 'set\.toml': SystemExit: 0 \(.*py:\d+\)"):
        next(found)


def test_ctrl_c_is_told_from_a_method_that_raises_it_and_cannot_be_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    press = "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    swallow = "    ".join(("try:\n", f"    {press}\n", "except BaseException:\n", "    pass"))
    for body in (press, swallow):
        with pytest.raises(KeyboardInterrupt):
            upscaled(body, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_method_that_changes_the_folder_moves_no_file_and_prints_beside_our_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(upscaled("os.chdir('/'); print('hello')", tmp_path), dict)
    assert (tmp_path / "out.png").is_file()
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ("None", "found None; return the upscaled image"),
        ("lr.numpy()", "found a numpy array; return torch.from_numpy(x)"),
        ("[lr]", "found list; return a torch tensor"),
        ("(lr * 255).byte()", "found torch.uint8; return x.float() / 255"),
        ("lr * 255", "; divide by 255 if white is 255"),
        ("lr[0].permute(1, 2, 0)", "found shape (6, 8, 3); return x.permute(2, 0, 1)[None]"),
        ("lr / 0", "found values that are not finite"),
    ],
)
def test_an_output_that_is_no_image_is_refused_with_its_remedy(
    returns: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = upscaled("pass", tmp_path, returns)
    assert isinstance(found, str) and expected in found
    assert f"method '{tmp_path}/mine.py': expected floats in [0, 1] of shape (1, 3, H, W)" in found
    assert not (tmp_path / "out.png").exists()


def test_an_output_that_overshoots_is_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(upscaled("pass", tmp_path, "lr * 3"), dict)


@pytest.mark.usefixtures("quick_sets")
def test_a_method_that_kills_its_process_is_named_and_costs_its_own_images(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "cwd" / "dies.py").write_text(
        "import os\n\ndef upscale(lr, *, scale, seeds):\n    os._exit(0)\n"
    )
    done = cli(
        *("run", "quick", "--methods", "dies.py,nearest", "--metrics", "psnr_y", "--limit", 2),
        *("--workers", 2, "--reports", "csv", "--out", "out"),
    )
    assert done.returncode == 1
    assert "method 'dies.py': its process ended by itself with exit code 0" in done.stderr
    assert "(dies.py:4)" in done.stderr
    found = means(tmp_path / "cwd" / "out")
    assert [bool(mean) for (_, method, _), mean in found.items() if method == "nearest"] == [
        True
    ] * (len(found) // 2)
