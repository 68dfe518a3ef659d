"""`prepare` and `run --prepare`: the plan and its totals, what comes, what fails on the way."""

import json
import os
import re
import signal
import site
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import hub_anew
import pytest
from conftest import ROOT, Cli
from loopback import Loopback
from pictures import photo
from PIL import Image
from stand_in import CARD, make_repository
from test_remote import pack

from bench.base.lazy import TRUST
from bench.base.text import in_words
from bench.methods.find import all_methods
from bench.suites.find import suite_cards

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """All that a suite's files are fetched from: a mirror of files, and the hub's own addresses."""

    def __init__(self) -> None:
        self.empty()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = Loopback(Handler)
        self.address = self.http.address
        self.around = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HF_HUB_OFFLINE"), "")
        self.around["HF_ENDPOINT"] = self.address

    def empty(self) -> None:
        self.files: dict[str, bytes] = {}
        self.folders: dict[str, dict[str, bytes]] = {}
        self.given: Counter[str] = Counter()
        self.drops = False

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = request.path.partition("?")[0].strip("/").split("/")
        content = self.files.get(parts[-1])
        if "/".join(parts[2:4]) in self.folders:
            owned = self.folders["/".join(parts[2:4])]
            files = [
                {"rfilename": name, "path": name, "size": len(data), "type": "file", "oid": "1"}
                for name, data in owned.items()
            ]
            told = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": files}
            content = json.dumps(files if "tree" in parts else told).encode()
        elif "resolve" in parts:
            content = self.folders["/".join(parts[:2])]["/".join(parts[4:])]
        if content is None:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("ETag", '"1"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.end_headers()
        if request.command == "GET":
            self.given[parts[-1]] += 1
            half = self.drops and self.given[parts[-1]] % 2 and parts[0] != "api"
            request.wfile.write(content[: len(content) // 2] if half else content)


@pytest.fixture(scope="module")
def open_hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.http.server_close()


@pytest.fixture
def hub(open_hub: Hub) -> Hub:
    open_hub.empty()
    return open_hub


@pytest.fixture
def bench(clean_home: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> partial:
    """The command line, which finds the hub on loopback, and its own interpreter on the PATH."""
    for name, value in hub.around.items():
        monkeypatch.setenv(name, value)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cli = partial(Cli(clean_home, tmp_path / "cwd"), script=Path(hub_anew.__file__))
    return partial(cli, CASSR_BENCH_MIRROR=hub.address, PATH=path, **{TRUST: "1"})


@pytest.fixture
def table1(hub: Hub, tmp_path: Path) -> SimpleNamespace:
    """Table 1 with stand-ins: each method's files, of a few bytes, and a program that enlarges."""
    card, commit = suite_cards()["table1"], make_repository(tmp_path / "origin")
    pictures = {}
    for k in range(2):
        Image.fromarray(photo(64, 64, k)).save(tmp_path / "one.png")
        pictures |= {f"{name}/{k}.png": (tmp_path / "one.png").read_bytes() for name in "ab"}
    hub.files["both.tar.gz"] = pack("gz", pictures)
    methods = [_method(name, tmp_path, commit, hub) for name in card.methods if name != "cassr"]
    sets = [_dataset(name, tmp_path) for name in "ab"]
    suite = tmp_path / "table1.toml"
    suite.write_text(
        'name = "table1"\ntitle = "One"\nsummary = "stand-ins"\nmetrics = ["psnr_y"]\n'
        f"methods = {json.dumps([*map(str, methods), 'cassr'])}\n"
        f"datasets = {json.dumps([*map(str, sets)])}\n"
    )
    folders = sum(len(data) for files in hub.folders.values() for data in files.values())
    files = sum(map(len, hub.files.values()))
    return SimpleNamespace(suite=suite, methods=methods, sets=sets, bytes=files + folders)


def _method(name: str, folder: Path, commit: str, hub: Hub) -> Path:
    card, more = all_methods()[name], ""
    for weight in card.weights:
        content = f"\x80\x02{weight.name}".encode("latin-1")
        hub.files[weight.name] = content if ".zip" not in weight.name else pack("zip", {"a": b"1"})
        more += f'[[weights]]\nname = "{weight.name}"\nurl = "http://127.0.0.1:9/{weight.name}"\n'
    for each in card.official.snapshots if card.official else ():
        wanted = {name.replace("*", "model.bin"): name.encode() for name in each.files}
        hub.folders[each.repository] = wanted
        more += f'[[official.snapshots]]\nrepository = "{each.repository}"\ninto = "{each.into}"\n'
        more += f"files = {json.dumps(each.files)}\n"
    known = {"repository": folder / "origin", "commit": commit, "marker": "", "more": more}
    text = CARD.format(sin="", patience=120, **known)
    paths = json.dumps(os.pathsep.join(site.getsitepackages()))
    text = text.replace("SIN =", f"PYTHONPATH = {paths}, SIN =")
    text = text.replace('"3.11"', f'"{sys.version_info[0]}.{sys.version_info[1]}"')
    text = text.replace('"stand-in"', f'"stand-in-{name}"')
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def _dataset(name: str, folder: Path) -> Path:
    path = folder / f"set-{name}.toml"
    path.write_text(
        f'name = "set-{name}"\ntitle = "Set {name}"\nsummary = "two"\nlicence = "MIT"\n'
        f'images = 2\nmegapixels = 0.004\nhr = {{ files = "**/{name}/*" }}\n[degradation]\n'
        'function = "bench.data:downscale"\noptions = { filter = "bicubic" }\n'
        '[archive]\nname = "both.tar.gz"\nurl = "http://127.0.0.1:9/both.tar.gz"\n'
    )
    return path


def test_the_plan_names_everything_once_with_its_size(
    bench: partial, hub: Hub, table1: SimpleNamespace
) -> None:
    done = bench("prepare", table1.suite, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["needs"]
    assert max(Counter(row["file"] for row in rows).values()) == 1
    assert next(row for row in rows if row["file"] == "both.tar.gz")["for"] == [
        str(path) for path in table1.sets
    ]
    environments = [row for row in rows if row["file"].startswith("environment")]
    assert len(environments) == len(table1.methods)
    assert sum(row["size"] for row in rows) == table1.bytes
    assert next(row for row in rows if row["file"] == "model cassr")["state"].endswith(
        "--data paper"
    )
    shown = bench("run", table1.suite, "--dry-run", "--prepare").stdout
    assert (
        f"to download: {in_words(table1.bytes)}, plus {len(environments)} of unknown size" in shown
    )
    assert re.search(r"time to upscale +set-a +set-b", shown) and "2 in ?" in shown
    assert not list(Path(os.environ["CASSR_BENCH_CACHE"]).rglob("*.pth"))  # nothing was fetched


def test_what_cannot_be_had_is_exit_code_2_and_no_obstacle(
    bench: partial, hub: Hub, table1: SimpleNamespace
) -> None:
    card = table1.methods[0]
    card.write_text(card.read_text().replace("gpu = false", "gpu = true"))
    other = table1.methods[1]
    other.write_text(other.read_text().replace('python = "3.', 'python = "3.9'))
    methods = ("--methods", f"{card},{other},bicubic,cassr")
    plan = bench("run", table1.suite, *methods, "--dry-run", "--prepare", "--json")
    assert plan.returncode == 2
    rows = {row["file"]: row for row in json.loads(plan.stdout)["needs"]}
    assert "GPU: no CUDA device" in rows["environment stand-in-bsrgan"]["problem"]
    assert "is needed, found no python3.9" in rows["environment stand-in-femasr"]["problem"]
    assert not {"BSRGAN.pth", "FeMaSR_SRX4_model_g.pth"} & rows.keys()
    refused = bench("run", table1.suite, *methods, "--prepare")
    assert refused.returncode == 2 and "give --yes" in refused.stderr
    done = bench("run", table1.suite, *methods, "--prepare", "--yes", "--out", "out")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("not ready: environment") == 2
    assert hub.given["BSRGAN.pth"] == 0
    assert "no trained CasSR" in done.stdout
    told = bench("prepare", table1.suite, "--methods", "bicubic", "--yes", "--json")
    assert told.returncode == 0 and json.loads(told.stdout)["failures"] == []
    assert bench("prepare", table1.suite, "--methods", "bicubic", "--dry-run").returncode == 0


def test_an_archive_is_named_once(bench: partial, table1: SimpleNamespace) -> None:
    done = bench("run", table1.suite, "--methods", "bicubic")
    assert done.returncode == 2 and done.stderr.count("both.tar.gz") == 1, done.stderr


def test_a_disk_that_is_too_small_is_said_first(
    bench: partial, hub: Hub, table1: SimpleNamespace
) -> None:
    hub.files["huge.pth"] = b""
    card = table1.methods[0]
    card.write_text(
        f'{card.read_text()}[[weights]]\nname = "huge.pth"\nsize = {10**16}\n'
        'url = "http://127.0.0.1:9/huge.pth"\n'
    )
    done = bench("prepare", table1.suite, "--yes")
    assert done.returncode == 2 and f"{10**16 / 1e9:.1f} GB are wanted" in done.stderr, done.stderr
    assert not hub.given["BSRGAN.pth"] > 1
    assert bench("prepare", table1.suite, "--dry-run").returncode == 2


def test_a_disk_is_too_small_for_what_is_unpacked(
    bench: partial, hub: Hub, table1: SimpleNamespace, tmp_path: Path
) -> None:
    one, two = table1.sets
    one.write_text(one.read_text().replace("megapixels = 0.004", "megapixels = 1e9"))
    plan = ("prepare", table1.suite, "--methods", "bicubic", "--store", tmp_path / "store")
    shown = bench(*plan, "--dry-run", "--json")
    assert shown.returncode == 2
    archive = next(r for r in json.loads(shown.stdout)["needs"] if r["file"] == "both.tar.gz")
    twice = [2 * int(3 * 2 * pixels * (1 + 1 / 16)) for pixels in (1e15, 4000)]
    assert archive["unpacked"] == sum(twice)
    done = bench(*plan, "--yes")
    assert done.returncode == 2 and "GB are wanted" in done.stderr, done.stderr
    assert hub.given["both.tar.gz"] <= 2  # its size was asked
    size = len(hub.files["both.tar.gz"])
    two.write_text(two.read_text().replace("megapixels = 0.004\n", ""))  # as large as the archive
    text = bench(*plan, "--datasets", two, "--dry-run").stdout
    assert f"to {in_words(2 * size)} " in text and f"{in_words(3 * size)} are wanted" in text


@pytest.mark.slow
def test_table_1_from_nothing_with_kills_and_a_network_that_drops(
    bench: partial, hub: Hub, table1: SimpleNamespace, tmp_path: Path
) -> None:
    hub.drops = True
    command = [sys.executable, "-m", "bench", "run", str(table1.suite), "--prepare", "--yes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **bench.keywords}
    del environment["script"]
    for word in ("packages", "BSRGAN", "environment", "first start", "set-a"):
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL, start_new_session=True,
        ) as begun:  # fmt: skip
            next((line for line in begun.stderr or () if word in line), "")
            os.killpg(begun.pid, signal.SIGKILL)
    done = bench("run", table1.suite, "--prepare", "--yes", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["summary"]
    assert len(rows) == (len(table1.methods) + 1) * 2
    dashes = {row["method"] for row in rows if row["mean"] is None}
    assert dashes == {"cassr"}, rows
    again = bench("prepare", table1.suite, "--dry-run", "--json")
    assert all(row["here"] for row in json.loads(again.stdout)["needs"] if row["sources"])


def test_the_memory_that_table_1_needs_is_on_its_cards() -> None:
    assert all_methods()["stablesr"].needs.endswith("16 GB")
