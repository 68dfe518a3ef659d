"""Test sets: archives that are hostile, servers that are bad, pairs that do not match, crops."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli
from pictures import photo
from PIL import Image

from bench.base.cards import read_card
from bench.base.errors import CardError, DataError, ImageError, WeightsError
from bench.base.progress import silent
from bench.base.remote_file import Archive
from bench.base.types import Manifest
from bench.data import find as data
from bench.data import from_hub as hub_sets
from bench.data import verify
from bench.data.alignment import misalignment
from bench.data.card import CentreCrop, DatasetCard
from bench.data.find import adopt
from bench.data.from_card import build, centre_crop
from bench.files import images
from bench.remote import archives, weights
from bench.remote.fetch import fetch_file

Files = dict[str, bytes]


def nothing(done: int, total: int) -> None:
    pass


def png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def scene(height: int, width: int, seed: int = 0, scale: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(LR, HR) of a picture with texture enough to be told from another."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 255, (height * scale // 16 + 1, width * scale // 16 + 1, 3))
    big = Image.fromarray(blobs.astype(np.uint8)).resize(
        (width * scale, height * scale), Image.Resampling.BICUBIC
    )
    hr = np.asarray(big)
    return images.resize(hr, width, height, "box"), hr


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def card(**fields: object) -> DatasetCard:
    base = {
        "name": "toy",
        "title": "Toy",
        "summary": "pairs in an archive",
        "licence": "CC0-1.0",
        "archive": {"name": "toy.zip"},
        "lr": {"files": "**/test_LR/*"},
        "hr": {"files": "**/test_HR/*"},
    }
    return DatasetCard.model_validate({**base, **fields})


def pairs(count: int = 3, side: int = 32, folder: str = "set") -> Files:
    files: Files = {}
    for index in range(count):
        lr, hr = scene(side, side + 4 * index, index)
        files[f"{folder}/test_LR/im{index}.png"] = png(lr)
        files[f"{folder}/test_HR/im{index}.png"] = png(hr)
    return files


@pytest.fixture
def place(clean_home: Path) -> Callable[[Path, str], Path]:
    """Put an archive where `fetch` would."""

    def put(path: Path, name: str) -> Path:
        target = weights.home(Archive(name=name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        (clean_home / "bench" / "weights.json").unlink(missing_ok=True)
        return target

    return put


def left_over(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


# -- archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_pairs_from_an_archive(place: Callable, tmp_path: Path, pack: Callable) -> None:
    files = {**pairs(), "set/readme.txt": b"hello", "set/test_LR/.DS_Store": b"x"}
    place(pack(tmp_path / "a", files), "toy.zip")
    manifest = build(card(images=3), tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["im0", "im1", "im2"]
    first = manifest.pairs[0]
    assert first.lr and first.hr
    assert Image.open(first.lr).size == (32, 32) and Image.open(first.hr).size == (128, 128)
    again = build(card(images=3), tmp_path / "root", nothing)
    assert again == manifest
    other = build(card(images=3), tmp_path / "other root", nothing)
    assert other.sha256 == manifest.sha256


def hostile(name: str, path: Path) -> Path:
    image = png(scene(8, 8)[0])
    inside = "set/test_LR/a.png"
    if name == "parent":
        return zipped(path, {"set/test_LR/../../../evil.png": image})
    if name == "absolute":
        return zipped(path, {"/tmp/test_LR/evil.png": image})
    if name == "windows":
        return zipped(path, {"..\\..\\test_LR\\evil.png": image})
    if name == "drive":
        return zipped(path, {"C:/test_LR/evil.png": image})
    if name == "zip link":
        info = zipfile.ZipInfo(inside)
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, "/etc/passwd")
        return path
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("../evil.png" if name == "tar parent" else inside)
        kinds = {
            "tar link": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "pipe": tarfile.FIFOTYPE,
        }
        info.type = kinds.get(name, tarfile.REGTYPE)
        info.linkname = "/etc/passwd"
        if name == "huge":
            info.size = archives.MAX_MEMBER_BYTES + 1
            archive.fileobj.write(info.tobuf())  # type: ignore[union-attr]
        else:
            archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parent", "leaves the archive"),
        ("absolute", "leaves the archive"),
        ("windows", "leaves the archive"),
        ("drive", "leaves the archive"),
        ("tar parent", "leaves the archive"),
        ("zip link", "is a link or no regular file"),
        ("tar link", "is a link or no regular file"),
        ("hard link", "is a link or no regular file"),
        ("pipe", "is a link or no regular file"),
        ("huge", "is one too many"),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(
    place: Callable, tmp_path: Path, name: str, message: str
) -> None:
    placed = place(hostile(name, tmp_path / "a"), "toy.zip")
    with pytest.raises(DataError, match=message) as caught:
        build(card(), tmp_path / "root", nothing)
    assert str(placed) in str(caught.value) and "refused, its member" in str(caught.value)
    assert left_over(tmp_path / "root") == []
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize("content", [b"", b"<!doctype html><html>", b"PK\x03\x04 not really"])
def test_what_is_no_archive_is_refused(place: Callable, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    place(tmp_path / "a", "toy.zip")
    with pytest.raises(DataError, match=r"expected a zip or tar archive|is empty|is a web page"):
        build(card(), tmp_path / "root", nothing)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_truncated_archive_is_refused(place: Callable, tmp_path: Path, pack: Callable) -> None:
    whole = pack(tmp_path / "a", pairs()).read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) * 6 // 10])
    place(tmp_path / "a", "toy.zip")
    with pytest.raises(DataError, match=r"is damaged|expected a zip or tar"):
        build(card(), tmp_path / "root", nothing)
    assert left_over(tmp_path / "root") == []


def test_another_number_of_images_is_refused(place: Callable, tmp_path: Path) -> None:
    place(zipped(tmp_path / "a", pairs(2)), "toy.zip")
    with pytest.raises(DataError, match="expected 100 images of Toy, found 2"):
        build(card(images=100), tmp_path / "root", nothing)


def test_two_images_of_one_id_are_refused(place: Callable, tmp_path: Path) -> None:
    files = {**pairs(1, folder="a"), **pairs(1, folder="b")}
    place(zipped(tmp_path / "a", files), "toy.zip")
    with pytest.raises(DataError, match="two LR images of id 'im0'"):
        build(card(), tmp_path / "root", nothing)


def test_bad_images_are_named_and_the_rest_is_used(place: Callable, tmp_path: Path) -> None:
    files = pairs(4)
    files["set/test_LR/im1.png"] = b"no picture"
    del files["set/test_HR/im2.png"]
    files["set/test_HR/im3.png"] = png(scene(32, 32, 9)[1])
    place(zipped(tmp_path / "a", files), "toy.zip")
    manifest = build(card(images=4), tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["im0"]
    assert {name: reason[:20] for name, reason in manifest.refused} == {
        "im1": "cannot be decoded (n",
        "im2": "has no HR image in t",
        "im3": "is 128x128, expected",
    }


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("**/test_LR/*", "a/b/test_LR/x.png", True),
        ("**/test_LR/*", "test_LR/x.png", True),
        ("**/test_LR/*", "a/test_LR/deep/x.png", False),
        ("**/test_LR/*", "a/not_test_LR/x.png", False),
        ("**", "a/b/c.png", True),
        ("set/*.png", "set/x.png", True),
        ("set/*.png", "set/x.jpg", False),
        ("RealSR(V3)/*/Test/?/*", "RealSR(V3)/Canon/Test/4/a.png", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert archives.matches(path, pattern) is fits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"photos": "packaged"}, "either 'photos' or 'archive'"),
        ({"lr": None}, "either 'lr' or a 'degradation'"),
        ({"crop": {"lr": 128, "hr": 512}}, "Extra inputs"),
        ({"archive": {"name": "../x.zip"}}, "plain file name"),
    ],
)
def test_impossible_cards_are_refused(fields: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        card(**fields)
    assert "toy" in str(caught.value) or message
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n')
    with pytest.raises(CardError, match=r"bad\.toml: field"):
        read_card(path, DatasetCard)


# -- the crops of the real test sets -------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 300), (201, 303), (128, 131)])
def test_centre_crops_are_the_middle_and_stay_aligned(size: tuple[int, int]) -> None:
    lr, hr = scene(*size)
    small, big = centre_crop(lr, hr, CentreCrop(lr=128), 4)
    top, left = (size[0] - 128) // 2, (size[1] - 128) // 2
    assert big is not None
    assert np.array_equal(small, lr[top : top + 128, left : left + 128])
    assert np.array_equal(big, hr[4 * top : 4 * top + 512, 4 * left : 4 * left + 512])
    assert np.array_equal(images.resize(np.ascontiguousarray(big), 128, 128, "box"), small)


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(ImageError, match="does not lie inside"):
        centre_crop(*scene(100, 300), CentreCrop(lr=128), 4)


OFFICIAL = {
    "realsr-official": ["Canon_001_LR4", "Nikon_050_LR4"],
    "drealsr-official": ["DSC_0988_x1", "sony_12_x1"],
}


def official_archive(name: str) -> Files:
    files: Files = {}
    for index, image_id in enumerate(OFFICIAL[name]):
        lr, hr = scene(150, 141, index)
        if name == "realsr-official":
            camera, stem = image_id.split("_")[0], image_id.removesuffix("_LR4")
            base = f"RealSR(V3)/{camera}/Test/4/{stem}"
            files |= {f"{base}_LR4.png": png(lr), f"{base}_HR.png": png(hr)}
            files[f"RealSR(V3)/{camera}/Test/2/{stem}_LR2.png"] = png(lr)
            files[f"RealSR(V3)/{camera}/Train/4/{stem}_LR4.png"] = png(lr)
        else:
            stem = image_id.removesuffix("_x1")
            files[f"Test_x4/test_LR/{stem}_x1.png"] = png(lr)
            files[f"Test_x4/test_HR/{stem}_x4.png"] = png(hr)
    return files


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_archives_give_the_crops_under_the_published_names(
    place: Callable, tmp_path: Path, name: str
) -> None:
    full = data.dataset_cards()[name]
    assert full.archive is not None
    place(zipped(tmp_path / "a", official_archive(name)), full.archive.name)
    small = full.model_copy(update={"images": 2})
    manifest = build(small, tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == OFFICIAL[name]
    lr, hr = scene(150, 141, 0)
    pair = manifest.pairs[0]
    assert pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.lr), lr[11:139, 6:134])
    assert np.array_equal(images.read_rgb(pair.hr), hr[44:556, 24:536])
    whole = data.dataset_cards()[name.replace("official", "full")].model_copy(update={"images": 2})
    pair = build(whole, tmp_path / "root", nothing).pairs[0]
    assert pair.id == OFFICIAL[name][0] and pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.lr), lr)
    assert np.array_equal(images.read_rgb(pair.hr), hr)


UNPACKED = {
    "reallq250": {"RealLQ250/lq/{}.png": False, "RealLQ250/npz/{}.npz": False},
    "realphoto60": {"RealPhoto60/LQ/{}.png": False},
    "ntire2025-val": {
        "DIV2K_valid_LR_bicubic/X4/{}x4.png": False,
        "DIV2K_valid_HR/{}.png": True,
    },
}


@pytest.mark.parametrize("name", UNPACKED)
def test_sets_are_found_in_folders_as_they_are_published(
    clean_home: Path, tmp_path: Path, name: str
) -> None:
    card = data.dataset_cards()[name].model_copy(update={"images": 2})
    for image_id in ("0801", "0802"):
        for file, is_hr in UNPACKED[name].items():
            path = tmp_path / "given" / file.format(image_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(scene(40, 48, int(image_id))[is_hr]))
    adopt([name], tmp_path / "given")
    pairs = build(card, tmp_path / "root", nothing).pairs
    assert [pair.id for pair in pairs] == ["0801", "0802"]
    assert all(bool(pair.hr) == (name == "ntire2025-val") for pair in pairs)


def test_the_published_crops_are_read_from_the_hub_archive(
    place: Callable, golden: Path, tmp_path: Path
) -> None:
    files = {
        f"StableSR_testsets/{inside}/test_{side.upper()}/{path.name}": path.read_bytes()
        for folder, inside in (("realsr", "RealSRVal_crop128"), ("drealsr", "DrealSRVal_crop128"))
        for side in ("lr", "hr")
        for path in sorted((golden / folder / side).iterdir())[:4]
    }
    place(zipped(tmp_path / "a", files), "StableSR_testsets.zip")
    for name in ("realsr", "drealsr"):
        card = data.dataset_cards()[name]
        assert card.archive is not None
        # Ours is a small archive of the same layout: not the published file, whose hash is known.
        ours = replace(card.archive, sha256="", size=0)
        small = card.model_copy(update={"images": 4, "archive": ours})
        manifest = build(small, tmp_path / "root", nothing)
        assert len(manifest.pairs) == 4 and not manifest.refused
        for pair in manifest.pairs:
            for side, path in (("lr", pair.lr), ("hr", pair.hr)):
                assert path is not None
                published = images.read_rgb(golden / name / side / f"{pair.id}.png")
                assert np.array_equal(images.read_rgb(path), published)


def test_all_sets_of_the_hub_archive_pin_the_same_file() -> None:
    cards = [data.dataset_cards()[name] for name in ("realsr", "drealsr", "div2k-val-3000")]
    pinned = {(c.archive.url, c.archive.sha256, c.archive.size) for c in cards if c.archive}
    ((url, sha256, size),) = pinned
    assert re.search(r"/resolve/[0-9a-f]{40}/", url)
    assert re.fullmatch("[0-9a-f]{64}", sha256 or "") and size


# -- synthetic sets ------------------------------------------------------------------------------


def div2k(seed: int = 0) -> DatasetCard:
    full = data.dataset_cards()["div2k-val"]
    assert full.degradation is not None
    degradation = full.degradation.model_copy(update={"seed": seed})
    assert full.archive is not None
    ours = replace(full.archive, sha256="", size=0)  # a small one of the same layout
    return full.model_copy(update={"images": 2, "degradation": degradation, "archive": ours})


def test_div2k_val_is_degraded_whole_and_seeded_by_name(place: Callable, tmp_path: Path) -> None:
    files = {f"DIV2K_valid_HR/080{i}.png": png(photo(70, 99, i)) for i in (1, 2)}
    place(zipped(tmp_path / "a", files), "DIV2K_valid_HR.zip")
    manifest = build(div2k(), tmp_path / "one", nothing)
    assert [pair.id for pair in manifest.pairs] == ["0801", "0802"]
    pair = manifest.pairs[0]
    assert pair.lr and pair.hr
    assert np.array_equal(images.read_rgb(pair.hr), photo(70, 99, 1)[:68, :96])
    assert images.read_rgb(pair.lr).shape == (17, 24, 3)
    from bench.base.hashing import derive_seed
    from cassr.degradation import degrade

    expected = degrade(photo(70, 99, 1)[:68, :96], seed=derive_seed(0, "0801"))
    assert np.array_equal(images.read_rgb(pair.lr), expected)
    other = build(div2k(seed=1), tmp_path / "one", nothing)
    assert other.sha256 != manifest.sha256

    # The other image alone comes out the same: nothing depends on its company.
    place(
        zipped(tmp_path / "b", {k: v for k, v in files.items() if "0802" in k}),
        "DIV2K_valid_HR.zip",
    )
    alone = build(div2k().model_copy(update={"images": 1}), tmp_path / "two", nothing)
    assert alone.pairs[0].lr_sha256 == manifest.pairs[1].lr_sha256


def test_the_documented_lines_make_the_images_of_a_test_set(tmp_path: Path) -> None:
    manifest = build(data.dataset_cards()["quick-realistic"], tmp_path, nothing)
    pair = next(pair for pair in manifest.pairs if pair.id == "chelsea")
    assert pair.lr and pair.hr
    page = (ROOT / "docs" / "degradation.md").read_text()
    (lines,) = re.findall(r"```python\n(from bench\.base\.hashing.*?)```", page, re.S)
    names = {"hr": images.read_rgb(pair.hr)}
    exec(lines, names)
    assert np.array_equal(names["lr"], images.read_rgb(pair.lr))


def test_sets_without_ground_truth(place: Callable, cli: Cli, tmp_path: Path) -> None:
    files = {f"anything/{i}.jpg": png(photo(40, 40, i)) for i in range(3)}
    place(zipped(tmp_path / "a", files), "RealLR200")
    small = data.dataset_cards()["reallr200"].model_copy(update={"images": 3})
    manifest = build(small, tmp_path / "root", nothing)
    assert [(pair.id, pair.hr) for pair in manifest.pairs] == [(str(i), None) for i in range(3)]
    folder = tmp_path / "plain"
    folder.mkdir()
    Image.fromarray(photo(40, 40)).save(folder / "x.png")
    given = data.find(f"folder:{folder}").manifest(tmp_path / "root", nothing)
    assert [(pair.id, pair.hr) for pair in given.pairs] == [("x", None)]


# -- pairs that do not match ---------------------------------------------------------------------


def test_real_pairs_are_accepted_and_wrong_ones_refused(golden: Path) -> None:
    shifted = zoomed = others = 0
    found = [
        (images.read_rgb(path), images.read_rgb(golden / name / "hr" / path.name))
        for name in ("realsr", "drealsr")
        for path in sorted((golden / name / "lr").iterdir())
    ]
    for index, (lr, hr) in enumerate(found):
        assert misalignment(lr, hr, 4) == ""
        shifted += "shifted" in misalignment(lr[:96, :96], hr[16 : 16 + 384, 8 : 8 + 384], 4)
        middle = np.ascontiguousarray(hr[64:448, 64:448])
        zoomed += bool(misalignment(lr, images.resize(middle, 512, 512, "bicubic"), 4))
        others += bool(misalignment(lr, found[(index + 1) % len(found)][1], 4))
    assert min(shifted, zoomed, others) >= 0.9 * len(found), (shifted, zoomed, others)


@pytest.mark.parametrize("preset", ["mild", "full"])
def test_degraded_pairs_are_accepted(golden: Path, preset: str) -> None:
    from cassr.degradation import degrade

    for seed, path in enumerate(sorted((golden / "realsr" / "hr").iterdir())[:8]):
        hr = images.read_rgb(path)
        assert misalignment(degrade(hr, seed=seed, preset=preset), hr, 4) == ""


def test_flat_and_tiny_pairs_are_not_judged() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert misalignment(flat, np.full((256, 256, 3), 91, np.uint8), 4) == ""
    assert misalignment(*scene(9, 9), 4) == ""


def test_a_folder_names_its_wrong_pairs(tmp_path: Path) -> None:
    for side in ("lr", "hr"):
        (tmp_path / side).mkdir()
    for index in range(3):
        lr, hr = scene(64, 64, index)
        hr = np.roll(hr, 24, axis=1) if index == 1 else hr
        hr = scene(64, 64, 99)[1] if index == 2 else hr
        Image.fromarray(lr).save(tmp_path / "lr" / f"{index}.png")
        Image.fromarray(hr).save(tmp_path / "hr" / f"{index}.png")
    manifest = data.find(f"folder:{tmp_path}").manifest(tmp_path / "root", nothing)
    assert [pair.id for pair in manifest.pairs] == ["0"]
    reasons = {Path(name).stem: reason for name, reason in manifest.refused}
    assert reasons["1"] == "is shifted by (+24, +0) pixels against its LR"
    assert reasons["2"] == "shows another picture than its LR"


# -- fetching ------------------------------------------------------------------------------------


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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.address = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()


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


def hub_dataset(folder: Path, **columns: list[np.ndarray]) -> Path:
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    rows = {name: [{"bytes": png(x), "path": None} for x in xs] for name, xs in columns.items()}
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


# -- manifests of two people ---------------------------------------------------------------------


def test_manifests_are_compared(cli: Cli, golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "realsr", tmp_path / "mine")
    theirs = cli("datasets", "verify", f"folder:{golden / 'realsr'}", "--out", tmp_path / "t.json")
    assert theirs.returncode == 0 and "20 images, manifest" in theirs.stdout
    assert str(golden) not in (tmp_path / "t.json").read_text().replace(
        json.dumps(f"folder:{golden / 'realsr'}"), ""
    )
    # Other encoders and names of folders change nothing.
    first, second = sorted((tmp_path / "mine" / "lr").iterdir())[:2]
    Image.open(first).save(first, compress_level=1)
    arguments = ("datasets", "verify", f"folder:{tmp_path / 'mine'}", "--against")
    same = cli(*arguments, tmp_path / "t.json")
    assert same.returncode == 0, same.stderr
    pixels = np.asarray(Image.open(second)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(second)
    (tmp_path / "mine" / "lr" / first.name).unlink()
    other = cli(*arguments, tmp_path / "t.json")
    assert other.returncode == 1
    assert f"differs: {first.stem}: only there" in other.stderr
    assert f"differs: {second.stem}: another LR image" in other.stderr
    assert other.stderr.count("differs:") == 2
    changed = json.loads((tmp_path / "t.json").read_text())
    changed["pairs"][0]["lr"]["pixels_sha256"] = "0" * 64
    (tmp_path / "t.json").write_text(json.dumps(changed))
    edited = cli(*arguments, tmp_path / "t.json")
    assert edited.returncode == 2 and "its hash is not that of its images" in edited.stderr
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert "is no manifest" in cli(*arguments, tmp_path / "deep.json").stderr
    broken = cli(*arguments, golden / "README.md")
    assert broken.returncode == 2 and "is no manifest" in broken.stderr


def test_verification_hashes_afresh(place: Callable, tmp_path: Path) -> None:
    place(zipped(tmp_path / "a", pairs()), "toy.zip")
    manifest = build(card(), tmp_path / "root", nothing)
    found = verify.portable(manifest)
    assert found["sha256"] == manifest.sha256
    assert "path" not in json.dumps(found["pairs"])


def test_modcrop_cuts_pairs_that_are_off_by_less_than_a_scale(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sizes = {"more": (130, 131), "less": (126, 125), "right": (128, 128), "far": (140, 128)}
    hr = np.asarray(Image.fromarray(photo(160, 160, 1)))
    for name, (height, width) in sizes.items():
        for side in ("lr", "hr"):
            (folder / side).mkdir(parents=True, exist_ok=True)
        lr = hr[:128, :128].reshape(32, 4, 32, 4, 3).mean((1, 3)).round().astype(np.uint8)
        Image.fromarray(lr).save(folder / "lr" / f"{name}.png")
        Image.fromarray(hr[:height, :width]).save(folder / "hr" / f"{name}.png")
    plain = data.find(f"folder:{folder}").manifest(tmp_path / "root", silent)
    told = {Path(file).stem: why for file, why in plain.refused}
    assert set(told) == {"more", "less", "far"} and "--modcrop" not in told["far"]
    assert (
        told["more"]
        == "is 131x130, expected x4 of its LR: 128x128; --modcrop cuts both to what fits"
    )
    cut = data.find(f"folder:{folder}", modcrop=True).manifest(tmp_path / "root", silent)
    assert [Path(file).stem for file, _ in cut.refused] == ["far"]
    read = {pair.id: images.read_rgb(pair.hr) for pair in cut.pairs if pair.hr}
    sizes_found = {name: pixels.shape[:2] for name, pixels in read.items()}
    assert sizes_found == {"more": (128, 128), "less": (124, 124), "right": (128, 128)}
    assert all(np.array_equal(found, hr[: len(found), : len(found[0])]) for found in read.values())
    told_of = "2 of 3 pairs were cut to x4 (the first, 'less': LR 31x31 with HR 124x124)"
    assert cut.recipe["note"] == told_of
    assert data.find(f"folder:{folder}", modcrop=True).manifest(tmp_path / "root", silent) == cut
    right = next(pair for pair in cut.pairs if pair.id == "right")
    assert right.hr == (folder / "hr" / "right.png").resolve()
