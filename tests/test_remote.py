"""Servers, networks and archives that are slow, wrong, hostile or half: one line, nothing kept."""

import gzip
import hashlib
import io
import logging
import os
import ssl
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from conftest import Cli
from loopback import Loopback
from pydantic import TypeAdapter, ValidationError

from bench.base.errors import DataError, WeightsError
from bench.base.progress import Progress
from bench.base.remote_file import Archive, Weight
from bench.metrics.catalogue import METRICS
from bench.remote import archives, download, hub, weights
from bench.remote.fetch import fetch_file, fetch_row
from bench.remote.ledger import Ledger

CONTENT = b"\x80\x02" + bytes(range(256)) * 1024
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; the server's `script` says how it is answered, its last entry for ever."""

    script: list[Answer]
    asked: list[dict[str, str]]

    def do_GET(self) -> None:
        self.asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        answer = self.script[min(len(self.asked), len(self.script)) - 1]
        with suppress(BrokenPipeError, ConnectionResetError):
            answer(self)

    @property
    def start(self) -> int:
        return int((self.headers.get("Range") or "bytes=0-")[6:-1])

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.script: list[Answer] = [whole()]
        handler = type("_Request", (Request,), {"asked": self.asked, "script": self.script})
        self.http = Loopback(handler)
        self.address = self.http.address

    def answers(self, *script: Answer) -> None:
        self.script[:] = script


@pytest.fixture
def server(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.http.server_close()


def whole(content: bytes = CONTENT, **headers: object) -> Answer:
    def answer(request: Request) -> None:
        rest = content[request.start :]
        status = 206 if request.start else 200
        place = f"bytes {request.start}-{len(content) - 1}/{len(content)}"
        request.head(status, Content_Length=len(rest), Content_Range=place, **headers)
        request.wfile.write(rest)

    return answer


def half(content: bytes = CONTENT, **headers: object) -> Answer:
    def answer(request: Request) -> None:
        request.head(Content_Length=len(content), **headers)
        request.wfile.write(content[: len(content) // 2])

    return answer


def status(code: int, **headers: object) -> Answer:
    return lambda request: request.head(code, Content_Length=0, **headers)


def endless(piece: bytes = b"\x80" * (1 << 16), **headers: object) -> Answer:
    def answer(request: Request) -> None:
        request.head(**headers)
        while True:
            request.wfile.write(piece)

    return answer


def stalled(request: Request) -> None:
    request.head(Content_Length=len(CONTENT))
    request.wfile.write(CONTENT[:100])
    threading.Event().wait(2)


def net(server: Server, name: str = "net.pth", **fields: object) -> Weight:
    known = {"name": name, "url": f"{server.address}/{name}", "folder": "hub/test"}
    return Weight(**{**known, **fields})  # type: ignore[arg-type]


def refused(file: Weight | Archive, message: str) -> str:
    """The message; nothing must be left or remembered of what was refused."""
    with pytest.raises(WeightsError, match=message) as caught:
        fetch_file(file)
    assert weights.find(file) is None and not weights.expected(file).startswith(tuple("0123456789"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is no such file ------------------------------------------------------------------------


def pack(kind: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


NOISE = {f"set/{k}.png": os.urandom(3000) for k in range(20)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pth", b"", "is empty"),
        ("net.pth", b'{"error": "no such file"}', r"is text \('\{\"error"),
        ("net.pth", b"<HTML>Please log in", "is a web page"),
        ("net.json", b"<html>Please log in", "is a web page"),
        ("net.json", b"no such file", "is text"),
        ("Net.JSON", b'{"error": "no such file"}', "is text"),
        ("net.json", b'{"r": 6', "is text"),
        ("net.pth", b"version https://git-lfs.github.com/spec/v1\noid", "is text"),
        ("net.pth", gzip.compress(CONTENT), "is no file of weights"),
        ("net.pth", pack("zip", NOISE)[:30_000], "is cut short"),
        ("net.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "is no whole .safetensors"),
        ("set.zip", pack("zip", NOISE)[:30_000], "expected a zip or tar archive"),
        ("set.tar.gz", pack("gz", NOISE)[:30_000], "is damaged"),
        ("set.tar.xz", pack("xz", NOISE)[:30_000], "is damaged"),
        ("set.tar.gz", CONTENT, "expected a zip or tar archive"),
    ],
)
def test_a_bad_first_answer_is_never_trusted(
    server: Server, name: str, content: bytes, message: str
) -> None:
    server.answers(whole(content))
    kind = Archive if name.startswith("set") else Weight
    file = kind(name=name, url=f"{server.address}/{name}")
    refused(file, message)
    good = pack(name.rpartition(".")[2], NOISE) if name.startswith("set") else CONTENT
    if name.endswith("safetensors"):
        good = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
    if name.lower().endswith("json"):
        good = b'{"r": 64}'
    server.answers(whole(good))
    assert fetch_file(file).read_bytes() == good


def test_a_record_goes_with_the_file(server: Server) -> None:
    path = fetch_file(net(server))
    server.answers(whole(CONTENT + b"newer"))
    path.unlink()
    assert fetch_file(net(server)).read_bytes() == CONTENT + b"newer"


def test_text_in_place_of_a_known_file_is_shown(server: Server) -> None:
    server.answers(whole(b'{"message": "quota exceeded"}'))
    with pytest.raises(WeightsError, match=r"not the expected file.*quota exceeded"):
        fetch_file(net(server, sha256="0" * 64))


# -- servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503, 500])
@pytest.mark.parametrize("wait", [None, "0", formatdate(0, usegmt=True), "soon"])
def test_a_busy_server_is_asked_again(server: Server, code: int, wait: str | None) -> None:
    asked = {"Retry_After": wait} if wait else {}
    server.answers(status(code, **asked), status(code, **asked), whole())
    assert fetch_file(net(server)).read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_nobody_waits_for_a_day(server: Server) -> None:
    server.answers(status(429, Retry_After=86400))
    refused(net(server), r"429 .*; it asks to come again in or at 86400")
    assert len(server.asked) == 1


def test_a_stalled_and_a_slow_server_are_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT", (1, 0.1))
    server.answers(stalled)
    refused(net(server), "could not be fetched.*timed out")
    monkeypatch.setattr(download, "_WINDOW", 0.0)
    monkeypatch.setattr(download, "_LEAST", 1 << 60)
    server.answers(whole())
    refused(net(server), "kB a second came")


def test_progress_begins_before_the_first_byte(server: Server) -> None:
    seen: list[tuple[int, int]] = []
    server.answers(status(404))
    with pytest.raises(WeightsError):
        fetch_file(net(server, size=99), lambda *state: seen.append(state))
    assert seen == [(0, 99)]


@pytest.mark.parametrize("headers", [{}, {"Content_Length": -5}, {"Content_Length": "abc"}])
def test_no_more_is_taken_than_was_stated(
    server: Server, headers: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers(endless(**headers))
    refused(net(server, size=100_000), "sends more than 100000 bytes")
    monkeypatch.setattr(download, "_MOST", 1 << 20)
    refused(net(server), "sends more than 1048576 bytes")
    server.answers(whole(CONTENT * 2))
    refused(net(server, size=len(CONTENT)), f"has {2 * len(CONTENT)} bytes, expected")


@pytest.mark.parametrize("length", [-5, "abc", "9" * 5000])
def test_absurd_lengths_do_no_harm(server: Server, length: object) -> None:
    def answer(request: Request) -> None:
        request.head(Content_Length=length)
        request.wfile.write(CONTENT)

    server.answers(answer)
    assert fetch_file(net(server, sha256=SHA256)).read_bytes() == CONTENT


def test_compression_that_nobody_asked_for(server: Server) -> None:
    packed = gzip.compress(CONTENT)
    server.answers(whole(packed, Content_Encoding="gzip"))
    assert fetch_file(net(server, sha256=SHA256, size=len(CONTENT))).read_bytes() == CONTENT
    archive = pack("gz", NOISE)
    server.answers(whole(archive, Content_Encoding="gzip"))  # as some servers call every .gz
    file = Archive(name="set.tar.gz", url=f"{server.address}/set.tar.gz")
    assert fetch_file(file).read_bytes() == archive
    server.answers(whole(gzip.compress(bytes(10 << 20)), Content_Encoding="gzip"))
    refused(net(server, "bomb.pth", size=4096), "sends more than 4096 bytes")


def test_a_file_that_changes_between_two_tries_is_not_mixed(server: Server) -> None:
    new = bytes([0x80]) * len(CONTENT)
    server.answers(half(ETag='"old"'), whole(new, ETag='"new"'), whole(new, ETag='"new"'))
    assert fetch_file(net(server)).read_bytes() == new
    assert server.asked[1]["if-range"] == '"old"'
    assert "range" not in server.asked[2]


def test_the_same_file_is_gone_on_with_and_an_unnamed_one_is_not(server: Server) -> None:
    server.answers(half(ETag='"one"'), whole(ETag='"one"'))
    assert fetch_file(net(server)).read_bytes() == CONTENT
    assert server.asked[1]["range"] == f"bytes={len(CONTENT) // 2}-"
    server.asked.clear()
    server.answers(half(), whole())
    assert fetch_file(net(server, "other.pth")).read_bytes() == CONTENT
    assert "range" not in server.asked[1]


def test_two_who_fetch_one_file_ask_once(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch_file(net(server, sha256=SHA256)), range(4)))
    assert len(set(paths)) == 1 and len(server.asked) == 1


def test_no_place_to_write(server: Server, clean_home: Path) -> None:
    (clean_home / "torch").mkdir(parents=True)
    (clean_home / "torch/hub").write_text("a file in the way")
    with pytest.raises(WeightsError, match=r"net\.pth\.part: cannot be written"):
        fetch_file(net(server))


@pytest.mark.parametrize("cut", [False, True])
def test_chunks_are_joined_and_missing_ones_noticed(server: Server, cut: bool) -> None:
    def answer(request: Request) -> None:
        request.protocol_version = "HTTP/1.1"
        request.close_connection = True
        request.head(Transfer_Encoding="chunked")
        for start in range(0, len(CONTENT), 50_000):
            piece = CONTENT[start : start + 50_000]
            request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if cut:
                return
        request.wfile.write(b"0\r\n\r\n")

    server.answers(answer)
    if cut:
        refused(net(server), "could not be fetched.*bytes are kept")
    else:
        assert fetch_file(net(server)).read_bytes() == CONTENT


# -- networks ------------------------------------------------------------------------------------


def test_every_failure_names_the_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers(status(404))
    refused(net(server), "or set CASSR_BENCH_MIRROR to a folder or address")
    monkeypatch.setenv("CASSR_BENCH_MIRROR", f"{server.address}/mirror/")
    refused(net(server), r"CASSR_BENCH_MIRROR \(.*/mirror/\) has not got it either")
    assert server.asked[-2]["path"] == "/mirror/net.pth"


def test_the_hub_by_another_address_with_a_token(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Server()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.answers(status(302, Location=f"{elsewhere.address}/blob"))
    file = net(server, url=f"{hub.HUB}/me/Net/resolve/main/net.pth", sha256=SHA256)
    assert fetch_file(file).read_bytes() == CONTENT
    assert server.asked[0]["path"] == "/me/Net/resolve/main/net.pth"
    assert server.asked[0]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in elsewhere.asked[0]
    fetch_file(net(elsewhere, "own.pth"))
    assert "authorization" not in elsewhere.asked[1]
    elsewhere.http.server_close()


def test_what_the_hub_tries_again_is_not_told_beside_the_error() -> None:
    import huggingface_hub.utils._http  # noqa: F401 - it configures its loggers

    assert not logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING)


def test_closed_doors_of_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.answers(status(401))
    file = net(server, url=f"{hub.HUB}/me/Net/resolve/main/net.pth")
    refused(file, "me/Net is gated or private: accept its terms at https://huggingface.co/me/Net")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(file, "is not asked: HF_HUB_OFFLINE is set")
    assert len(server.asked) == 1


def test_messages_name_the_address_that_was_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = net(server, url=f"{hub.HUB}/me/Net/resolve/main/net.pth")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(file, "^http://127.0.0.1:9/me/Net/resolve/main/net.pth could not be fetched: no conn")
    planned = fetch_row(file, ["net"], "", Progress(quiet=True), dry_run=True)
    assert planned["state"].startswith("would be fetched from http://127.0.0.1:9/me/Net/")
    lost = type("ConnectError", (Exception,), {})()  # as the hub's library calls it
    assert hub.reason(lost, "me/Net") == "no connection to http://127.0.0.1:9"
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
    refused(file, "^http://127.0.0.1:9/me/Net/resolve/main/net.pth could not be fetched")
    planned = fetch_row(file, ["net"], "", Progress(quiet=True), dry_run=True)
    assert "secret" not in planned["state"] + hub.reason(lost, "me/Net")


def test_a_proxy_is_used_and_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    file = net(server, url="http://weights.example/net.pth", sha256=SHA256)
    assert fetch_file(file).read_bytes() == CONTENT
    assert server.asked[0]["path"] == "http://weights.example/net.pth"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    refused(net(server, "b.pth", url="http://weights.example/b.pth"), "through the proxy")


def test_a_certificate_of_ones_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext"
    files = ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    file = net(server, url=server.address.replace("http:", "https:") + "/net.pth")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    refused(file, "certificate is not trusted.*SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    refused(file, "SSL_CERT_FILE=.*nothing: expected certificates, found no file")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch_file(file).read_bytes() == CONTENT


def test_files_that_are_code_are_pinned_by_their_whole_hash() -> None:
    """TorchScript runs what is in it; eight digits of a hash are forged in minutes."""
    files = {w for spec in METRICS for w in spec.weights}
    code = {w for w in files if w.folder in ("hub/clip", "hub/cleanfid")}
    assert {w.name for w in code} == {
        *("RN50.pt", "ViT-B-32.pt", "ViT-L-14.pt", "inception-2015-12-05.pt")
    }
    assert all(len(w.sha256) == 64 for w in code)
    for field, value in (("sha256", "5d505a07"), ("sha256", "A" * 64), ("size", -1)):
        with pytest.raises(ValidationError):
            TypeAdapter(Weight).validate_python({"name": "net.pth", field: value})


# -- the ledger ----------------------------------------------------------------------------------


def test_writers_of_one_ledger_lose_nothing(tmp_path: Path) -> None:
    ledger = tmp_path / "weights.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: Ledger(ledger).remember(f"/{k}", f"{k:064x}"), range(80)))
    assert [Ledger(ledger).seen(f"/{k}") for k in range(80)] == [f"{k:064x}" for k in range(80)]
    Ledger(ledger).remember("/3", "0" * 64)
    assert Ledger(ledger).seen("/3") == f"{3:064x}"  # the first one stays
    Ledger(ledger).forget("/3")
    assert Ledger(ledger).seen("/3") == "" and Ledger(ledger).seen("/4")


# -- archives ------------------------------------------------------------------------------------


def read(path: Path) -> int:
    """Bytes of all members, as `extract` writes them."""
    target, count = path.with_suffix(".out"), 0
    for member in archives.members(path):
        archives.extract(member, target)
        count += target.stat().st_size
    return count


@pytest.mark.parametrize("kind", ["", "gz", "xz", "bz2"])
def test_a_flipped_byte_never_gives_a_smaller_set(tmp_path: Path, kind: str) -> None:
    whole = pack(kind, NOISE)
    path = tmp_path / "set.tar"
    path.write_bytes(whole)
    assert read(path) == 60_000
    # Without compression only the headers have checksums; 3000 bytes take six blocks after one.
    headers = range(512 * 7, len(whole) - 11_000, 512 * 7)
    for place in range(20, len(whole), 997) if kind else headers:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"is damaged|expected a zip or tar"):
            read(path)


def test_bombs_and_locked_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    path = tmp_path / "set.zip"
    path.write_bytes(pack("zip", {f"{k}.png": bytes(1 << 20) for k in range(4)}))
    with pytest.raises(DataError, match="absurd number or size"):
        read(path)
    locked = bytearray(pack("zip", {"a.png": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + offset] |= 1
    path.write_bytes(locked)
    with pytest.raises(DataError, match="encrypted; unpack it by hand"):
        read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_pipes_and_devices_are_no_archives(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for given in (tmp_path / "pipe", "/dev/zero"):
        done = cli("fetch", "set5", "--from", given)
        assert (
            done.returncode == 2 and "expected an archive or folder, found something" in done.stderr
        )
        with pytest.raises(DataError, match="expected a zip or tar archive"):
            list(archives.members(Path(given)))


def test_a_test_set_by_its_card(cli: Cli, server: Server, tmp_path: Path) -> None:
    from pictures import photo
    from PIL import Image

    files = {}
    for k in range(2):
        buffer = io.BytesIO()
        Image.fromarray(photo(64, 64, k)).save(buffer, "PNG")
        files[f"hr/{k}.png"] = buffer.getvalue()
    server.answers(whole(pack("gz", files)))
    card = tmp_path / "my-set.toml"
    card.write_text(
        'name = "mine"\ntitle = "Mine"\nsummary = "two"\nlicence = "MIT"\nimages = 2\n'
        'hr = { files = "**" }\n[degradation]\nfunction = "bench.data:downscale"\n'
        'options = { filter = "bicubic" }\n'
        f'[archive]\nname = "mine.tar.gz"\nurl = "{server.address}/mine.tar.gz"\n'
    )
    run = ("run", "quick", "--datasets", card, "--methods", "bicubic", "--metrics", "psnr_y")
    run = (*run, "--reports", "csv")
    missing = cli(*run, "--offline")
    assert missing.returncode == 2 and f"run: cassr-bench fetch {card}" in missing.stderr
    done = cli("fetch", card)
    assert done.returncode == 0 and "mine.tar.gz: fetched to" in done.stdout, done.stderr
    done = cli(*run, "--offline")
    assert done.returncode == 0, done.stderr
    assert "2 images" in cli("datasets", "verify", card).stdout
    (tmp_path / "other.tar.gz").write_bytes(pack("gz", {"hr/9.png": b"x"}))
    other = cli("fetch", card, "--from", tmp_path / "other.tar.gz")
    assert other.returncode == 2 and "recorded when first seen" in other.stderr
