"""Test sets that are fetched: bad servers, archives by hand, the hub."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import Cli
from loopback import Loopback
from toy_sets import nothing, pairs, png, scene, zipped
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NewConnectionError

from bench.base.errors import DataError, WeightsError
from bench.base.remote_file import Archive
from bench.base.types import Manifest
from bench.data import find as data
from bench.data import from_hub as hub_sets
from bench.files import images
from bench.remote import hub, weights
from bench.remote.fetch import fetch_file


@dataclass
class Server:
    address: str = ""
    content: bytes = b""
    others: dict[str, bytes] = field(default_factory=dict)
    kind: str = "application/zip"
    drops: int = 0
    asked: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            state.asked.append(self.path)
            state.starts.append(start)
            if "gone" in self.path:
                self.send_error(404)
                return
            content = state.others.get(self.path, state.content)
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", state.kind)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = len(content)
            if state.drops:
                state.drops -= 1
                stop = start + (stop - start) * 6 // 10
            self.wfile.write(content[start:stop])

        def log_message(self, *_: object) -> None:
            pass

    with Loopback(Handler) as http:
        state.address = http.address
        yield state


def served(server: Server, tmp_path: Path, **fields: object) -> Archive:
    server.content = zipped(tmp_path / "served", pairs(4, 128)).read_bytes()
    known = {
        "name": "toy.zip",
        "url": f"{server.address}/toy.zip",
        "sha256": hashlib.sha256(server.content).hexdigest(),
        "size": len(server.content),
    }
    return Archive(**{**known, **fields})  # type: ignore[arg-type]


def test_a_dropped_connection_is_resumed(clean_home: Path, server: Server, tmp_path: Path) -> None:
    archive = served(server, tmp_path)
    server.drops = 1
    path = fetch_file(archive)
    assert path.read_bytes() == server.content
    assert server.starts[0] == 0 and 0 < server.starts[1] <= len(server.content) * 6 // 10
    assert fetch_file(archive) == path and len(server.starts) == 2


@pytest.mark.parametrize("sin", ["hash", "size", "web page", "always drops", "gone"])
def test_a_bad_server_leaves_no_archive(
    clean_home: Path, server: Server, tmp_path: Path, sin: str
) -> None:
    archive = served(server, tmp_path)
    if sin == "hash":
        archive = replace(archive, sha256="0" * 64)
    elif sin == "size":
        archive = replace(archive, size=12)
    elif sin == "web page":
        server.kind, server.content = "text/html; charset=utf-8", b"<html>Virus scan warning</html>"
    elif sin == "always drops":
        server.drops = 99
    else:
        archive = replace(archive, url=f"{server.address}/gone.zip")
    message = {
        "hash": "is not the expected file",
        "size": "expected 12",
        "web page": "web page",
        "always drops": "could not be fetched",
        "gone": "404",
    }[sin]
    with pytest.raises(WeightsError, match=message):
        fetch_file(archive)
    assert not weights.home(archive).exists()


def test_mirrors_are_tried_in_order(clean_home: Path, server: Server, tmp_path: Path) -> None:
    mirrors = [f"{server.address}/gone.zip", f"{server.address}/mirror/toy.zip"]
    archive = served(server, tmp_path, url=f"{server.address}/gone/toy.zip", mirrors=mirrors)
    assert fetch_file(archive).read_bytes() == server.content
    assert server.asked == ["/gone/toy.zip", "/gone.zip", "/mirror/toy.zip"]


def test_an_unknown_hash_is_recorded_when_first_seen(place: Callable, tmp_path: Path) -> None:
    path = place(zipped(tmp_path / "a", pairs()), "toy.zip")
    archive = Archive(name="toy.zip")
    weights.locate(archive)
    zipped(path, pairs(1))
    with pytest.raises(WeightsError, match="recorded when first seen"):
        weights.locate(archive)
    path.unlink()
    assert weights.find(archive) is None and weights.problem(archive)
    zipped(path, pairs(1))
    assert weights.problem(archive) == ""


def test_archives_by_hand_and_offline(cli: Cli, golden: Path, tmp_path: Path) -> None:
    missing = cli("run", "quick", "--datasets", "reallr200", "--methods", "bicubic", "--offline")
    assert missing.returncode == 2
    assert "drive.google.com" in missing.stderr and "fetch reallr200 --from PATH" in missing.stderr
    done = cli("fetch", "reallr200", "--from", golden / "realsr" / "lr")
    assert done.returncode == 0, done.stderr
    short = cli("run", "quick", "--datasets", "reallr200", "--methods", "bicubic", "--offline")
    assert short.returncode == 2 and "expected 200 images of RealLR200, found 20" in short.stderr
    wrong = cli("fetch", "bicubic", "--from", golden)
    assert wrong.returncode == 2 and "--from: give the name of one dataset" in wrong.stderr
    nowhere = cli("fetch", "realsr", "--from", tmp_path / "nothing.zip")
    assert nowhere.returncode == 2 and "found nothing" in nowhere.stderr


def test_a_dry_run_says_exactly_what_is_missing(cli: Cli) -> None:
    done = cli("run", "table1", "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in (
        "bsrgan: BSRGAN.pth is not on this machine; run: cassr-bench fetch bsrgan",
        "seesr: repository: not cloned; run: cassr-bench setup seesr",
        "realsr: StableSR_testsets.zip (3.1 GB) is not on this machine; "
        "run: cassr-bench fetch realsr",
        "div2k-val: DIV2K_valid_HR.zip (0.4 GB) is not on this machine; "
        "run: cassr-bench fetch div2k-val",
    ):
        assert line in done.stdout, done.stdout
    assert "Traceback" not in done.stderr
    real = cli("run", "table1", "--methods", "bicubic", "--metrics", "psnr_y", "--no-fetch")
    assert real.returncode == 2 and "run: cassr-bench fetch" in real.stderr


def test_a_card_by_path_or_address_is_fetched_run_and_verified(
    cli: Cli, server: Server, tmp_path: Path
) -> None:
    server.content = zipped(tmp_path / "served", pairs(2, 128)).read_bytes()
    text = (
        'name = "toy"\ntitle = "Toy"\nsummary = "two"\nlicence = "MIT"\nimages = 2\n'
        'lr = { files = "**/test_LR/*" }\nhr = { files = "**/test_HR/*" }\n'
        f'[archive]\nname = "toy.zip"\nurl = "{server.address}/toy.zip"\n'
    )
    (tmp_path / "toy.toml").write_text(text)
    server.others = {"/sets/toy.toml": text.encode(), "/sets/big.toml": b"#" * (2**20 + 1)}
    address = f"{server.address}/sets/toy.toml"
    assert (
        "toy.zip: would be fetched from" in cli("fetch", tmp_path / "toy.toml", "--dry-run").stdout
    )
    fetched = cli("fetch", address)
    assert fetched.returncode == 0 and "toy.zip: fetched to" in fetched.stdout, fetched.stderr
    more = ("--methods", "nearest", "--metrics", "psnr_y", "--offline", "--out", tmp_path / "out")
    done = cli("run", "quick", "--datasets", address, *more)
    assert done.returncode == 0 and "Toy" in done.stdout, done.stderr
    verified = cli("datasets", "verify", address, "--json")
    assert len(json.loads(verified.stdout)["manifest"]["pairs"]) == 2, verified.stderr
    assert server.asked.count("/sets/toy.toml") == 1
    for name, why in (("gone", "could not be fetched: 404"), ("big", "a card of at most")):
        with pytest.raises(WeightsError, match=why):
            data.find(f"{server.address}/sets/{name}.toml")


def test_the_weights_of_a_card_by_path_are_fetched(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"x")
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nlicence = "MIT"\n'
        'factory = "baselines.spandrel_models:SpandrelNetwork"\n'
        '[[weights]]\nname = "net.safetensors"\npage = "https://example.org/net"\n'
    )
    done = cli("fetch", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "get it from https://example.org/net, put it at" in done.stdout
    assert "get it from https://example.org/net" in cli("doctor", path).stdout.replace("\n", " ")


# -- the hub -------------------------------------------------------------------------------------


def hub_dataset(folder: Path, **columns: list[np.ndarray | Path]) -> Path:
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    def cell(x: np.ndarray | Path) -> dict[str, Any]:
        is_path = isinstance(x, Path)
        return {"bytes": None if is_path else png(x), "path": str(x) if is_path else None}

    rows = {name: list(map(cell, xs)) for name, xs in columns.items()}
    features = Features({name: ImageFeature() for name in columns})
    (folder / "data").mkdir(parents=True)
    Dataset.from_dict(rows, features=features).to_parquet(
        str(folder / "data" / "test-00000-of-00001.parquet")
    )
    return folder


def from_hub(name: str, root: Path) -> Manifest:
    return data.find(name).manifest(root, nothing)


def test_a_hub_dataset_with_image_columns(clean_home: Path, tmp_path: Path) -> None:
    found = [scene(32, 40, seed) for seed in range(3)]
    folder = hub_dataset(tmp_path / "hub", lr=[lr for lr, _ in found], hr=[hr for _, hr in found])
    manifest = from_hub(f"hf:{folder}", tmp_path / "root")
    assert [pair.id for pair in manifest.pairs] == ["000000", "000001", "000002"]
    assert manifest.recipe["split"] == "test" and manifest.recipe["columns"] == ["lr", "hr"]
    assert manifest.pairs[2].hr
    assert np.array_equal(images.read_rgb(manifest.pairs[2].hr), found[2][1])


def test_a_local_dataset_is_known_by_its_place_and_read_again_when_it_changes(
    clean_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for seed, place in enumerate(("a", "b", "b")):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        shutil.rmtree("mini", ignore_errors=True)
        hub_dataset(Path("mini"), lr=[scene(32, 40 + seed, seed)[0]])
        hashes.append(from_hub("hf:mini", tmp_path / "root").sha256)
        assert from_hub("hf:mini", tmp_path / "root").sha256 == hashes[-1]
    assert len(set(hashes)) == 3


def test_a_hub_dataset_names_only_files_of_its_own(clean_home: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "hub" / "own.png", tmp_path / "secret.png"
    gone = own.with_name("gone.png")
    own.parent.mkdir()
    for path in (own, other, gone):
        path.write_bytes(png(scene(32, 40, 1)[0]))
    folder = hub_dataset(tmp_path / "hub", lr=[scene(32, 40)[0], other, own, gone])
    gone.unlink()
    manifest = from_hub(f"hf:{folder}", tmp_path / "root")
    assert [pair.id for pair in manifest.pairs] == ["000000", "000002"]
    assert manifest.refused == (
        ("000001", "names a file that is not of the set"),
        ("000003", "does not exist"),
    )
    (tmp_path / "link").symlink_to(folder)
    linked = from_hub(f"hf:{tmp_path / 'link'}", tmp_path / "root")
    assert [pair.id for pair in linked.pairs] == ["000000", "000002"]


def test_columns_of_other_names_are_named_by_the_user(clean_home: Path, tmp_path: Path) -> None:
    found = [scene(32, 40, seed) for seed in range(2)]
    folder = hub_dataset(
        tmp_path / "hub", small=[lr for lr, _ in found], large=[hr for _, hr in found]
    )
    with pytest.raises(DataError, match="its image columns: small, large; name them"):
        from_hub(f"hf:{folder}", tmp_path / "root")
    manifest = from_hub(f"hf:{folder}:test:small,large", tmp_path / "root")
    assert len(manifest.pairs) == 2 and manifest.pairs[0].hr is not None
    alone = from_hub(f"hf:{folder}:test:small", tmp_path / "root")
    assert alone.pairs[0].hr is None
    with pytest.raises(DataError, match="no image column 'tiny'"):
        from_hub(f"hf:{folder}:test:tiny", tmp_path / "root")
    with pytest.raises(DataError, match="no split 'train', it has test"):
        from_hub(f"hf:{folder}:train", tmp_path / "root")


def test_a_hub_dataset_that_cannot_be_had(clean_home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"hf:.*nowhere"):
        from_hub(f"hf:{tmp_path}/nowhere", tmp_path / "root")
    with pytest.raises(DataError, match=r"expected hf:OWNER/NAME\[@REVISION\]"):
        data.find("hf:")


def test_a_hub_that_cannot_be_reached_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client raises errors of its HTTP library, of which there have been two."""
    from huggingface_hub import HfApi

    class ConnectError(Exception):
        pass

    def unreachable(*args: object, **options: object) -> None:
        raise ConnectError("Name or service not known")

    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    assert hub_sets._newest("nobody/nothing") == ""
    assert hub.reason(ConnectError("no such name"), "a/b") == "no connection to that host"
    refused = requests.ConnectionError(
        MaxRetryError(HTTPConnectionPool("h"), "/", NewConnectionError(None, "no such name"))
    )
    assert hub.reason(refused, "a/b") == "no connection to that host"
    assert (
        hub.reason(ConnectionResetError(104, "reset by peer"), "a/b") == "[Errno 104] reset by peer"
    )
