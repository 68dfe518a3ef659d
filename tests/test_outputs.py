"""What commands write replaces nobody's file, and removes what they wrote themselves alone."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.base.errors import BenchError
from bench.base.hashing import file_sha256
from bench.base.records import is_as_written, write_atomic
from bench.files.image_folders import RECORDS
from bench.files.outputs import Output, SingleFile, files_in


def write(out: Path, *names: str, of: str = "", text: str = "ours", **how: bool) -> Output:
    """Files of one part each, named after them, as a command makes them."""
    output = Output(out, "made", "--out", **how)
    with output.writing():
        for name in names:
            write_atomic(out / name, text)
    output.finish({name: [out / name] for name in names}, of)
    return output


def there(out: Path) -> set[str]:
    files = (path for path in out.rglob("*") if path.is_file() and RECORDS not in path.parts)
    return {path.relative_to(out).as_posix() for path in files}


def refused(out: Path, name: str, words: str, inputs: Iterable[Path] = (), **how: bool) -> None:
    """Refused before work, and when it is written all the same."""
    output = Output(out, "made", "--out", inputs=inputs, **how)
    with pytest.raises(BenchError, match=words) as before:
        output.check([name])
    assert str(before.value).startswith(f"--out {out / name}: ")
    with pytest.raises(BenchError, match=words), output.writing():
        write_atomic(out / name, "ours")


def test_what_was_written_is_replaced_and_what_was_edited_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "a", "b")
    write(out, "a", "b", text="ours too")
    (out / "a").write_text("edited")
    refused(out, "a", "a file is there that was not written by this command, or was changed")
    assert (out / "a").read_text() == "edited" and (out / "b").read_text() == "ours too"
    write(out, "a", "b", text="asked for", overwrite=True)
    assert (out / "a").read_text() == "asked for"


def test_a_foreign_file_of_the_very_content_is_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("ours")
    write(tmp_path, "a")
    assert there(tmp_path) == {"a"}


@pytest.mark.parametrize("way", ["itself", "link", "hard link", "case", "around"])
def test_an_input_is_no_output_by_any_name(tmp_path: Path, way: str) -> None:
    (tmp_path / "in").mkdir()
    given = tmp_path / "in" / "a"
    given.write_text("precious")
    name = {"itself": "a", "case": "A", "around": "../in/a"}.get(way, "other")
    if way == "link":
        (tmp_path / "in" / "other").symlink_to(given)
    if way == "hard link":
        os.link(given, tmp_path / "in" / "other")
    refused(tmp_path / "in", name, "one of the inputs", [given], overwrite=True)
    assert given.read_text() == "precious"


def test_an_input_that_is_not_there_yet_is_none_either(tmp_path: Path) -> None:
    refused(tmp_path, "a", "one of the inputs", [tmp_path / "a"], overwrite=True)
    assert there(tmp_path) == set()


@pytest.mark.parametrize("what", ["folder", "pipe", "link to nothing"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, what: str) -> None:
    {
        "folder": lambda path: path.mkdir(),
        "pipe": os.mkfifo,
        "link to nothing": lambda path: path.symlink_to("nowhere"),
    }[what](tmp_path / "a")
    before = os.lstat(tmp_path / "a")
    refused(tmp_path, "a", "found a folder, a device or a broken link", overwrite=True)
    after = os.lstat(tmp_path / "a")
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_file_is_no_folder_of_outputs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("foreign")
    for folder in (tmp_path / "a", tmp_path / "a" / "b" / "c"):
        with pytest.raises(BenchError, match=r"expected a folder, found the file .*/a;"):
            Output(folder, "made", "--out").check([])


def test_parts_stay_while_they_are_of_the_same_and_go_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "deep/er/a", "b", of="1")
    write(out, "c", of="1")
    assert there(out) == {"deep/er/a", "b", "c"}
    write(out, "c", of="2")
    assert there(out) == {"c"} and not (out / "deep").exists()


def test_what_goes_is_ours_unedited_and_its_folder_empty(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "deep/a", "deep/b", "c", of="1")
    (out / "deep" / "b").write_text("edited")
    (out / "deep" / "mine").write_text("foreign")
    write(out, "c", of="2")
    assert there(out) == {"c", "deep/b", "deep/mine"}


def test_a_part_that_is_made_again_loses_the_files_that_it_has_no_longer(tmp_path: Path) -> None:
    output = Output(tmp_path, "made", "--out")
    with output.writing():
        for name in "ab":
            write_atomic(tmp_path / name, "ours")
    output.finish({"part": [tmp_path / "a", tmp_path / "b"]}, "1")
    Output(tmp_path, "made", "--out").finish({"part": [tmp_path / "a"]}, "1")
    assert there(tmp_path) == {"a"}


def test_what_a_killed_command_wrote_is_known_as_ours(tmp_path: Path) -> None:
    killed = Output(tmp_path, "made", "--out")
    with killed.writing():
        write_atomic(tmp_path / "a", "half of it")
        write_atomic(tmp_path / "b", "ours")
        assert is_as_written(tmp_path / "a")
    again = Output(tmp_path, "made", "--out")
    again.check(["a", "b"])
    assert again.is_ours(tmp_path / "a") and not again.is_ours(tmp_path / "c")
    write(tmp_path, "b")
    assert there(tmp_path) == {"b"}
    assert [path.name for path in (tmp_path / RECORDS).iterdir()] == ["made.json"]


@pytest.mark.parametrize("name", ["../mine", "link/mine", "{}/mine"])
def test_a_list_from_elsewhere_removes_nothing_outside(tmp_path: Path, name: str) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    write(out, "a")
    mine.write_text("foreign")
    (out / "link").symlink_to(tmp_path)
    told = {"files": {name.format(tmp_path): {"of": "", "part": "", "sha256": file_sha256(mine)}}}
    (out / RECORDS / "made.json").write_text(json.dumps(told))
    write(out, "b", of="2")
    assert mine.read_text() == "foreign"


@pytest.mark.parametrize("told", ["", "[]", '{"files": 1}', '{"files": {"a": {"of": ""}}}', "{}"])
def test_a_damaged_list_makes_no_file_ours(tmp_path: Path, told: str) -> None:
    write(tmp_path, "a")
    (tmp_path / RECORDS / "made.json").write_text(told)
    with pytest.raises(BenchError, match="was not written by this command"):
        write(tmp_path, "a", text="other")
    assert (tmp_path / "a").read_text() == "ours"


def test_one_file_has_a_list_of_its_own(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        SingleFile(tmp_path / name, "--out").write(name)
    SingleFile(tmp_path / "a.json", "--out").write("again")
    assert there(tmp_path) == {"a.json", "b.json"}
    (tmp_path / "c.json").write_text("foreign")
    with pytest.raises(BenchError, match=r"--out .*c\.json: a file is there"):
        SingleFile(tmp_path / "c.json", "--out")


def test_files_of_folders_that_are_there(tmp_path: Path) -> None:
    write(tmp_path / "x", "a")
    found = files_in([tmp_path / "x", tmp_path / "y"])
    assert {path.name for path in found} == {"a", RECORDS}


def test_what_another_process_wrote_meanwhile_is_known_as_ours(tmp_path: Path) -> None:
    write(tmp_path / "out", "a")
    mine = Output(tmp_path / "out", "made", "--out")
    mine.check(["a"])
    write(tmp_path / "out", "b", text="of another")
    mine.check(["a", "b"])
    (tmp_path / "out" / "b").write_text("edited")
    with pytest.raises(BenchError, match="was changed since"):
        mine.check(["b"])
