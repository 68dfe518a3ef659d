"""Folders of reports: equal bytes, nobody's files replaced, copies where nothing changed."""

import dataclasses
import re
import shutil
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from table_example import shown

from bench.base.errors import BenchError, UnknownName
from bench.files import outputs
from bench.reports import REPORTS, Report, get_report, render_all, require_free, reuse
from bench.reports.reuse import Rendered
from bench.results.results import Results
from bench.results.view import PLAIN, View

from . import results_example as ex

pytest_plugins = ["table_example"]


@pytest.mark.parametrize("report", ex.FILES)
@pytest.mark.parametrize("make", [ex.example, ex.hostile])
def test_reports_are_equal_byte_for_byte_and_stay_in_their_folder(
    tmp_path: Path, make, report: str
) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "deep" / "out"
    first = {p: p.read_bytes() for p in get_report(report).load()(make(), folder)}
    again = {p: p.read_bytes() for p in get_report(report).load()(make(), folder)}
    assert first == again
    inside = {p for p in folder.rglob("*") if p.is_file()}
    assert inside == set(first)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p not in inside] == []
    assert not any(str(tmp_path).encode() in content for content in first.values())


def test_reports_are_listed_once_and_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    names = [report.name for report in REPORTS]
    assert len(set(names)) == len(names)
    assert all(report.means and callable(report.load()) for report in REPORTS)
    with pytest.raises(UnknownName, match="did you mean 'latex'"):
        render_all(ex.example(), tmp_path, ["markdown", "latexx"])
    assert list(tmp_path.iterdir()) == []


def pictured(folder: Path, images: str, methods: tuple[str, ...] = ("m", "n")) -> Results:
    """Results with a picture set per letter of `images`."""
    pictures = tuple(
        dataclasses.replace(ex.picture_set(folder / image, list(methods), size=24), image=image)
        for image in images
    )
    values = {
        ("clean", method, image, "psnr_y"): 20.0 + place
        for place, method in enumerate(methods)
        for image in images
    }
    return ex.results(values, [ex.PSNR], pictures=pictures)


def test_a_folder_holds_what_its_report_is_and_what_is_not_ours(
    folder_of_reports: Path, tmp_path: Path
) -> None:
    out, few = folder_of_reports, pictured(tmp_path / "few", "a", ("m",))
    render_all(pictured(tmp_path / "many", "abc"), out)
    stale = out / "panels" / "clean" / "c.png"
    edited = out / "panels" / "clean" / "b.png"
    assert stale.exists()
    edited.write_bytes(b"drawn upon")
    (out / "notes.txt").write_text("mine")
    render_all(few, tmp_path / "fresh")
    render_all(few, out)
    mine = {"notes.txt", "panels/clean/b.png"}
    assert shown(out) == shown(tmp_path / "fresh") | mine
    assert edited.read_bytes() == b"drawn upon"
    records = [(folder / ".cassr-bench" / "reports.json") for folder in (out, tmp_path / "fresh")]
    assert records[0].read_bytes() == records[1].read_bytes()


def test_other_reports_of_the_same_results_stay_and_of_others_go(
    folder_of_reports: Path, tmp_path: Path
) -> None:
    out, results = folder_of_reports, pictured(tmp_path / "in", "ab")
    render_all(results, out, ["csv", "html"])
    render_all(results, out, ["html", "markdown"], view=View(originals=False))
    assert {"scores.csv", "table.md", "html/index.html"} <= shown(out)
    assert not (out / "html" / "pictures").exists()
    render_all(pictured(tmp_path / "in", "a"), out, ["markdown"])
    assert shown(out) == {"table.md", "provenance.json"}


def test_a_zip_of_the_folder_holds_no_picture_that_is_not_published_and_no_path(
    folder_of_reports: Path, tmp_path: Path
) -> None:
    out, results = folder_of_reports, pictured(tmp_path / "in", "ab")
    full = {path.read_bytes() for path in results.files()}

    def sent(name: str) -> dict[str, bytes]:
        with zipfile.ZipFile(shutil.make_archive(str(tmp_path / name), "zip", out)) as archive:
            return {file: archive.read(file) for file in archive.namelist() if file[-1] != "/"}

    render_all(results, out)
    assert full <= set(sent("whole").values())
    render_all(results, out, view=View(originals=False))
    packed = sent("without")
    assert packed.keys() - {".cassr-bench/reports.json"} == shown(out)
    assert not full & set(packed.values())
    assert [file for file, content in packed.items() if str(tmp_path).encode() in content] == []


def test_a_file_that_was_edited_is_not_replaced(folder_of_reports: Path, tmp_path: Path) -> None:
    out, results = folder_of_reports, pictured(tmp_path / "in", "ab")
    render_all(results, out)
    full = next((out / "html" / "pictures").rglob("*.png"))
    source = full.read_bytes()
    full.write_bytes(b"damaged")
    with pytest.raises(BenchError, match=f"--out .*{re.escape(full.name)}: a file is there that"):
        render_all(results, out)
    assert full.read_bytes() == b"damaged"
    render_all(results, out, overwrite=True)
    assert full.read_bytes() == source
    (out / "table.md").write_text("of mine")
    with pytest.raises(BenchError, match=r"table\.md"):
        require_free(out)


def test_a_report_that_was_killed_is_made_again_by_another(
    folder_of_reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder_of_reports
    with monkeypatch.context() as killed:
        killed.setattr(
            outputs.Output, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            render_all(pictured(tmp_path / "many", "abc"), out)
    few = pictured(tmp_path / "few", "a")
    require_free(out)
    render_all(few, out)
    render_all(few, tmp_path / "fresh")
    assert shown(out) == shown(tmp_path / "fresh")
    assert [path.name for path in (out / ".cassr-bench").iterdir()] == ["reports.json"]


def test_reports_that_another_folder_still_holds_are_copied(
    folder_of_reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results, names = folder_of_reports, pictured(tmp_path / "in", "ab"), ["csv", "panels"]
    render_all(results, out, names)
    made: list[str] = []
    load = Report.load
    monkeypatch.setattr(Report, "load", lambda self: made.append(self.name) or load(self))
    render_all(results, tmp_path / "second", names)
    assert made == [] and shown(tmp_path / "second") == shown(out)
    for name in shown(out):
        assert (tmp_path / "second" / name).read_bytes() == (out / name).read_bytes()
    (tmp_path / "second" / "scores.csv").write_text("edited")
    render_all(results, tmp_path / "third", names)
    assert made == ["csv"]
    assert (tmp_path / "third" / "scores.csv").read_bytes() == (out / "scores.csv").read_bytes()
    render_all(pictured(tmp_path / "other", "ac"), tmp_path / "fourth", names)
    assert made == ["csv", "csv", "panels"]


def test_a_memory_that_cannot_be_kept_fails_no_report(
    folder_of_reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    render_all(ex.example(), folder_of_reports, ["markdown"])
    assert {"table.md", "provenance.json"} <= shown(folder_of_reports)


@pytest.mark.parametrize(
    "said",
    [
        "3",
        "[" * 99999,
        '{"csv": 3}',
        '{"csv": {"beside": [], "files": {}}}',
        '{"csv": {"out": 3, "beside": [], "files": []}}',
        '{"csv": {"out": "x", "beside": [], "files": [3]}}',
    ],
)
def test_a_memory_of_another_shape_is_none(
    folder_of_reports: Path, tmp_path: Path, clean_home: Path, said: str
) -> None:
    render_all(ex.example(), folder_of_reports, ["csv"])
    (memory,) = (reuse.cache_dir() / "rendered").glob("*.json")
    memory.write_text(said)
    assert Rendered(ex.example(), PLAIN, folder_of_reports).files("csv") is None
    render_all(ex.example(), tmp_path / "second", ["csv"])
    assert shown(tmp_path / "second") == shown(folder_of_reports)


@pytest.mark.parametrize("what", ["gone", "other"])
def test_a_report_that_changes_while_it_is_copied_is_made_anew(
    folder_of_reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    out, results = folder_of_reports, pictured(tmp_path / "in", "ab")
    render_all(results, out, ["csv"])
    unchanged, asked = Rendered._unchanged, []

    def before_it_changes(self: Rendered, *args: Any) -> Any:
        found = unchanged(self, *args)
        asked.append(found)
        if len(asked) == 2:  # to copy, after whether it is there already
            (out / "scores.csv").unlink()
        if len(asked) == 2 and what == "other":
            (out / "scores.csv").write_text("of other results")
        return found

    content = (out / "scores.csv").read_bytes()
    monkeypatch.setattr(Rendered, "_unchanged", before_it_changes)
    render_all(results, tmp_path / "second", ["csv"])
    assert (tmp_path / "second" / "scores.csv").read_bytes() == content


def test_what_draws_reports_is_part_of_what_they_are_made_from(
    folder_of_reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = pictured(tmp_path / "in", "ab")
    before = reuse._key(results, PLAIN)
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "matplotlib" else "1")
    assert reuse._key(results, PLAIN) != before


def test_a_copy_that_is_there_already_stays(folder_of_reports: Path, tmp_path: Path) -> None:
    results = pictured(tmp_path / "in", "ab")
    for name in ("first", "second"):
        render_all(results, tmp_path / name, ["csv"])
    before = (tmp_path / "first" / "scores.csv").stat()
    render_all(results, tmp_path / "first", ["csv"])
    assert (tmp_path / "first" / "scores.csv").stat() == before


def test_an_input_is_never_a_place_for_a_report(folder_of_reports: Path, tmp_path: Path) -> None:
    results = pictured(tmp_path / "in", "a")
    picture = results.pictures[0].sr["m"]
    folder_of_reports.mkdir()
    (folder_of_reports / "table.md").symlink_to(picture)
    before = picture.read_bytes()
    with pytest.raises(BenchError, match="inputs are never replaced"):
        render_all(results, folder_of_reports, ["markdown"], overwrite=True)
    assert picture.read_bytes() == before


def test_the_files_that_are_looked_for_are_those_that_are_written(
    folder_of_reports: Path, tmp_path: Path
) -> None:
    render_all(pictured(tmp_path / "in", "ab"), folder_of_reports, ex.FILES)
    for report in REPORTS:
        assert set(report.files) <= shown(folder_of_reports), report.name
    top = {name for name in shown(folder_of_reports) if "/" not in name}
    assert top - {name for report in REPORTS for name in report.files} == {
        "provenance.json",
        *(name for name in top if name.startswith("cost_seconds")),
    }
