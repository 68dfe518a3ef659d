"""Wrong use, odd names and streams: one line, exit code 2, and nothing of anybody's lost."""

import inspect
import json
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from conftest import ROOT, Cli
from pictures import photo
from PIL import Image
from run_example import SMALL, files_of

from bench.base.lazy import resolve
from bench.cli import COMMANDS
from bench.commands.shared.output import tell

FOREIGN = {
    "upscale": (
        ("upscale", "--method", "nearest", "--input", "sr", "--output", "out"),
        ("out/a.png",),
    ),
    "score": (("score", "--sr", "sr", "--metrics", "gmsd", "--csv", "s.csv"), ("s.csv",)),
    "run": (("run", "quick", "--out", "out"), ("out/html/index.html",)),
    "report": (("report", "quick", "--out", "out"), ("out/provenance.json",)),
    "import": (("import", "quick", "theirs.json", "--out", "out"), ("out/scores.csv",)),
    "export": (("export", "quick", "--out", "out"), ("out/README.md",)),
    "export, one file": (("export", "quick", "--out", "out.json"), ("out.json",)),
    "gate --update": (
        ("gate", "quick", "--reference", "out.toml", "--update"),
        ("out.toml",),
    ),
    "gate --junit": (
        ("gate", "quick", "--reference", "some.toml", "--junit", "j.xml"),
        ("j.xml",),
    ),
    "datasets": (("datasets", "verify", "quick-bicubic", "--out", "m.json"), ("m.json",)),
    "train": (
        ("train", "vae", "--preset", "mini", "--data", "sr", "--out", "out"),
        ("out/log.csv", "out/model/model_index.json"),
    ),
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "quik"), "did you mean 'quick'?"),
        (("run", "quick", "--methods", "bicubc"), "did you mean 'bicubic'?"),
        (("run", "quick", "--methods", "bicubic,bicubic"), "'bicubic' is named twice"),
        (("run", "quick", "--shard", "3/2"), "--shard: expected i/n with 1 <= i <= n"),
        (("run", "absent.toml"), "absent.toml: cannot be read"),
        (("run", "quick", "--datasets", "folder:/nowhere"), "/nowhere: expected a folder"),
        (("upscale", "--method", "bicubic"), "give either --input with --output"),
        (("upscale", "--method", "spandrel:no.pth", "--dataset", "quick-bicubic"), "no.pth"),
        (("list", "metrcs"), "did you mean 'metrics'?"),
        (("fetch", "lpisp"), "did you mean 'lpips'?"),
        (("run", "quick", "--methods", ""), "--methods: expected a value, found an empty one"),
        (("run", "quick", "--metrics", ","), "--metrics: expected at least one name, found ','"),
        (("report", "quick", "--reports", " , "), "--reports: expected at least one name"),
        (("report", "quick", "--region="), "--region: expected a value, found an empty one"),
        (("export", "quick", "--out", "x", "--datasets", ","), "--datasets: expected at least one"),
        (("score", "--sr", "", "--metrics", "niqe"), "--sr: expected a value, found an empty one"),
        (("score", "--sr", ".", "--metrics", ","), "--metrics: expected at least one name"),
        (("score", "--sr", ".", "--csv", "-"), "--csv: expected a value, found '-'"),
        (
            ("run", "quick", "--datasets", "quick-bicubic,folder:"),
            "--datasets: expected a value, found 'folder:' without a path",
        ),
        (("upscale", "--dataset=folder:"), "--dataset: expected a value, found 'folder:' without"),
        (
            ("datasets", "verify", "quick-bicubic", "--against", "/dev/zero"),
            "/dev/zero: expected a file, found a pipe or device",
        ),
        (("export", "quick", "--out=-"), "--out: expected a value, found '-'"),
        (("train", "guidance", "--data", ","), "--data: expected at least one name"),
        (("train", "guidance", "--degradation", ","), "--degradation: expected at least one name"),
        (("run", "quick", "--methods", '"a'), "--methods: expected names with commas between"),
        (("report", "quick", "--seed=1" + "0" * 400), "--seed: expected a number of at most 18"),
        (("import", "quick", "x", "--label", "a\nb"), "--label: expected one line of at most 200"),
        (
            ("import", "quick", "x", "--label", "a" * 201),
            "--label: expected one line of at most 200",
        ),
        (("cut", ".", "--out", "x", "--side", "9" * 19), "--side: expected a number of at most 18"),
        (("train", "vae", "--batch-size", "9" * 19), "--batch-size: expected a number of at most"),
        (
            ("score", "--sr", "20240101123000123456", "--metrics", "niqe"),
            "123456: expected a folder",
        ),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    cli: Cli, arguments: tuple[str, ...], expected: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout
    assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_more_parts_than_any_scheduler_takes_are_refused_before_the_first_is_sent(cli: Cli) -> None:
    done = cli("submit", "quick", "--parts", 10_001, "--to", "local")
    assert done.returncode == 2 and "--parts" in done.stderr.splitlines()[-1]
    assert "less than or equal to 10000" in done.stderr.splitlines()[-1]


def test_a_verdict_is_appended_to_nothing_but_text(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "cwd" / "a.png"
    Image.fromarray(photo(16, 16)).save(picture)
    before = picture.read_bytes()
    done = cli("gate", "quick", "--reference", "some.toml", "--markdown", "a.png")
    assert done.returncode == 2 and done.stderr.startswith("error: a.png: is not UTF-8 (byte 0)")
    assert picture.read_bytes() == before


@pytest.mark.parametrize("command", FOREIGN)
def test_no_command_replaces_somebody_elses_file(cli: Cli, tmp_path: Path, command: str) -> None:
    words, places = FOREIGN[command]
    folder = tmp_path / "cwd"
    (folder / "sr").mkdir()
    Image.fromarray(photo(16, 16)).save(folder / "sr" / "a.png")
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("somebody else's")
    before = files_of(folder)
    done = cli(*words)
    assert done.returncode == 2, done.stderr
    assert places[0] in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert files_of(folder) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">/dev/full", 2, "error: standard output: cannot be written (no space left on device); "),
        ("2>/dev/full", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_a_standard_stream_that_cannot_be_written_costs_no_work(
    clean_home: Path, image_folders: tuple[Path, Path], streams: str, code: int, said: str
) -> None:
    sr, hr = image_folders
    rest = f"--sr {sr} --hr {hr} --metrics psnr_y --csv {sr.parent}/x.csv {streams}"
    command = f"{sys.executable} -m bench score {rest}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if not line.startswith("scores: ")]
    assert done.returncode == code, done.stderr
    assert len(told) == (1 if said else 0) and done.stderr.count(said)
    assert len((sr.parent / "x.csv").read_text().splitlines()) == 4


def test_what_an_encoding_has_not_is_shown_as_escapes(cli: Cli) -> None:
    done = cli("list", "metrics", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u25cf psnr_y" in done.stdout


@pytest.mark.usefixtures("quick_sets")
def test_a_terminal_without_width_or_of_one_column_costs_no_table(cli: Cli) -> None:
    words = ("run", "quick", "--methods", "nearest", "--metrics", "psnr_y", "--limit", 1)
    usual = cli(*words, "--reports", "csv")
    assert usual.returncode == 0, usual.stderr
    assert cli(*words, "--reports", "csv", COLUMNS="0").stdout == usual.stdout
    narrow = cli(*words, "--reports", "csv", COLUMNS="1")
    assert narrow.returncode == 0 and "Reports: " in narrow.stdout, narrow.stderr


def test_a_current_folder_that_was_deleted_is_said(clean_home: Path, tmp_path: Path) -> None:
    command = f"mkdir x; cd x; rmdir ../x; PYTHONPATH={ROOT} {sys.executable} -m bench"
    words = ["bash", "-c", f"{command} export quick --out x.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "error: the folder that you are in is there no longer" in done.stderr


def test_a_name_with_a_comma_is_quoted_in_a_list() -> None:
    from bench.commands.shared import options

    given = ['"folder:a,b@C", bicubic,', "lanczos"]
    assert options.names("--methods", given) == ["folder:a,b@C", "bicubic", "lanczos"]
    assert options.names("--methods", None) == []


def test_store_that_cannot_be_used_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli(*SMALL, "--store", tmp_path / "file" / "store")
    assert (
        done.returncode == 2
        and "file/store: cannot be made (Not a directory); choose" in done.stderr
    )


def test_a_name_that_is_not_unicode_is_refused_and_the_others_go_on(
    cli: Cli, tmp_path: Path
) -> None:
    for folder, side in (("lr", 16), ("hr", 64)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for name in (b"good.png", b"bad\xff.png"):
            Image.fromarray(photo(side, side)).save(tmp_path / "set" / folder / os.fsdecode(name))
    done = cli(
        *("run", "quick", "--datasets", f"folder:{tmp_path / 'set'}", "--methods", "bicubic"),
        *("--metrics", "psnr_y", "--out", tmp_path / "out", "--no-fetch"),
    )
    assert done.returncode == 1, done.stderr
    assert "its name is not valid Unicode; rename it" in done.stderr
    assert "n = 1" in done.stdout


def test_json_has_texts_for_infinity_and_null_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    tell(True, {"a": [math.inf, -math.inf], "b": math.nan, "c": 0.1})
    expected = {"a": ["Infinity", "-Infinity"], "b": None, "c": 0.1}
    assert json.loads(capsys.readouterr().out) == expected


def test_in_a_terminal_prose_is_wrapped_between_words_and_what_is_copied_stays_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    whole = ("Reports: /mnt/my own disk/out", "2 are missing: cassr-bench fetch quick")
    tell(False, None, "2 images of it were upscaled\n", *whole)
    told = ["2 images of it were", "    upscaled", "", *whole]
    assert capsys.readouterr().out.splitlines() == told


def test_a_missing_file_without_a_name_is_not_the_current_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench import cli as command_line

    with pytest.raises(SystemExit):
        command_line._stop_unexpected(FileNotFoundError("no such device"))
    assert capsys.readouterr().err == "error: no such device\n"


def test_only_options_of_the_command_are_proposed_for_several_values(cli: Cli) -> None:
    hint = "repeated for each: "
    assert f"{hint}--sr A --sr B" in cli("score", "--sr", "a", "b").stderr
    done = cli("export", "quick", "b")
    assert done.returncode == 2 and "--input" not in done.stderr


def _tables(package: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(package).joinpath("options.toml").read_text("utf-8"))


def _commands() -> Iterator[Callable[..., None]]:
    for told in COMMANDS.values():
        found = resolve(f"bench.commands.{told['code']}")
        of_group = getattr(found, "registered_commands", None)
        yield from [each.callback for each in of_group] if of_group else [found]


def test_no_option_is_described_that_no_command_has() -> None:
    shared = "bench.commands.shared"
    used: set[tuple[str, str]] = set()
    for command in (inspect.unwrap(each) for each in _commands()):
        hints = get_type_hints(command)
        groups = [each for each in hints.values() if is_dataclass(each)]
        plain = [name for name, each in hints.items() if name != "return" and each not in groups]
        owners: list[tuple[Any, list[str]]] = [(command, plain)]
        owners += [(group, [each.name for each in fields(group)]) for group in groups]
        for owner, names in owners:
            package = owner.__module__.rpartition(".")[0]
            own = _tables(package).get(owner.__name__, {})
            for name in (name.replace("_", "-") for name in names):
                used.add((package, f"{owner.__name__}.{name}") if name in own else (shared, name))
    told = set()
    for package in (shared, "bench.commands", "bench.commands.train"):
        for name, table in _tables(package).items():
            names = [name] if "help" in table else [f"{name}.{option}" for option in table]
            told |= {(package, each) for each in names}
    assert told == used
