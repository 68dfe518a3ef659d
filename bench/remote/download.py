"""Fetching one file over http: resumed, checked, atomic; no more than stated, and not for ever."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock
from urllib3 import exceptions as failures
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from bench.base.errors import WeightsError
from bench.base.progress import Advance
from bench.base.records import NO_ROOM
from bench.base.remote_file import RemoteFile
from bench.base.text import first_line, printable
from bench.remote import hub, weights

_CHUNK = 1 << 18
_TRIES = 3
_TIMEOUT = (10, 30)
"""Seconds for the connection and between two pieces of data."""
_WINDOW, _LEAST = 30.0, 10 << 10
"""Seconds over which the speed is judged, and the least bytes a second."""
_MOST = 64 << 30
"""Bytes of a file whose size neither card nor server states."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a busy server is asked again, doubled each time, and the most it may ask for."""


def download(address: str, target: Path, file: RemoteFile, progress: Advance) -> None:
    """Fetch `address` to `target`, which appears only when it is whole and right.

    A part that an earlier try left is continued where the file's hash is known (so that a
    part of another file cannot slip in); otherwise the transfer starts again.

    Raises:
        WeightsError: unreachable, a web page, wrong size or hash, too slow, no room, or dropped
            again and again.
    """
    if hub.is_shut(address):
        raise WeightsError(f"{address} is not asked: HF_HUB_OFFLINE is set")
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{part}.lock"):
            if target.is_file():  # another process was faster
                return
            _Transfer(address, part, file, progress).run()
            if reason := weights.judge(file, part):
                part.unlink()  # so that the next try starts afresh
                what = f"what was fetched from {address} {reason}"
                raise WeightsError(f"{what}; nothing of it is kept")
            part.replace(target)
    except OSError as error:
        advice = "; make room" if error.errno in NO_ROOM else ""
        reason = error.strerror or printable(error)
        raise WeightsError(f"{printable(part)}: cannot be written ({reason}){advice}") from error


def offered(address: str) -> tuple[int, str]:
    """Bytes that lie at an address, 0 where it does not say; and why nothing can be had there."""
    try:
        with _get(address) as answer:
            answer.raise_for_status()
            return _length(answer), ""
    except (requests.RequestException, WeightsError) as error:
        return 0, _brief(address, error)


def card(address: str, most: int) -> bytes:
    """A file of at most `most` bytes; WeightsError: unreachable, a web page, or larger."""
    if hub.is_shut(address) or os.environ.get("CASSR_BENCH_OFFLINE"):
        raise WeightsError(f"{address} is not on this machine, and not asked: offline")
    try:
        with _get(address) as answer:
            answer.raise_for_status()
            _refuse_web_page(address, answer)
            content = answer.raw.read(most + 1, decode_content=True)
    except (requests.RequestException, HTTPError) as error:
        why = f"could not be fetched: {_brief(address, error)}"
        raise WeightsError(f"{hub.shown(address)} {why}") from error
    if len(content) > most:
        raise WeightsError(f"{address}: expected a card of at most {most} bytes, found more")
    return content


def _get(address: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    asked = hub.address(address)
    told = {**(headers or {}), **hub.headers(asked)}
    return requests.get(asked, headers=told, stream=True, timeout=_TIMEOUT, verify=_certificates())


@dataclass
class _Transfer:
    """Fills `part`, going on after a dropped connection; `version` is of the file begun with."""

    address: str
    part: Path
    file: RemoteFile
    progress: Advance
    version: str = ""

    def run(self) -> None:
        for left in reversed(range(_TRIES)):
            if not (self.version or weights.expected(self.file)):
                # Nothing would tell whether the rest is of the same file.
                self.part.unlink(missing_ok=True)
            self.progress(self.have, self.file.size)
            try:
                self._request()
                return
            except (requests.RequestException, HTTPError) as error:
                pause = _pause(error, _TRIES - left)
                if pause is None or not left:
                    raise WeightsError(self._interrupted(error)) from error
                time.sleep(pause)

    @property
    def have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _request(self) -> None:
        have, headers = self.have, {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-"}
            headers |= {"If-Range": self.version} if self.version else {}
        with _get(self.address, headers) as answer:
            if answer.status_code == 416:
                self._judge_part(answer)
                return
            answer.raise_for_status()
            _refuse_web_page(self.address, answer)
            self._write(answer, self._start(answer, have))

    def _start(self, answer: requests.Response, have: int) -> int:
        """The byte that an answer begins at."""
        before, self.version = self.version, _version(answer)
        if answer.status_code != 206:
            return 0
        begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", f"bytes {have}-"))
        if not begins or int(begins[1]) != have or (before and before != self.version):
            self.part.unlink()
            raise requests.ConnectionError("the server went on with another file or place")
        return have

    def _write(self, answer: requests.Response, have: int) -> None:
        encoded = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
        decoded = encoded and not self.file.name.endswith(("gz", "gzip"))  # which servers call so
        total = 0 if decoded or not _length(answer) else have + _length(answer)
        if self.file.size and total not in (0, self.file.size):
            raise WeightsError(f"{self.address} has {total} bytes, expected {self.file.size}")
        limit = self.file.size or total or _MOST
        pace = _Pace(have)
        with self.part.open("ab" if have else "wb") as file:
            while chunk := answer.raw.read1(_CHUNK, decode_content=decoded):
                have += len(chunk)
                if have > limit:
                    self.part.unlink()
                    raise WeightsError(f"{self.address} sends more than {limit} bytes; refused")
                file.write(chunk)
                self.progress(have, total or self.file.size)
                pace.judge(have)
        if total and have < total:
            raise requests.ConnectionError(f"{have} of {total} bytes came")

    def _judge_part(self, answer: requests.Response) -> None:
        """The server has nothing after what we have: whole already, or of another file."""
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if str(self.have) != total:
            found = f"the part that was here had {self.have} bytes"
            self.part.unlink()
            raise requests.ConnectionError(f"{found}, the file there has {total or 'others'}")

    def _interrupted(self, error: Exception) -> str:
        kept = f"; {self.have} bytes are kept, run the command again to go on" if self.have else ""
        asked, why = hub.shown(self.address), _brief(self.address, error)
        return f"{asked} could not be fetched: {why}{kept}"


class _Pace:
    """Gives up on a server from which nearly nothing comes."""

    def __init__(self, have: int) -> None:
        self.since, self.had = time.monotonic(), have

    def judge(self, have: int) -> None:
        now = time.monotonic()
        if now - self.since < _WINDOW:
            return
        if have - self.had < _LEAST * (now - self.since):
            raise requests.ConnectionError(f"less than {_LEAST >> 10} kB a second came")
        self.since, self.had = now, have


def _version(answer: requests.Response) -> str:
    """What tells a file from a later one at its address; "" where the server says nothing sure."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _length(answer: requests.Response) -> int:
    """Bytes that are to come; 0 when that is not said, or absurdly."""
    said = answer.headers.get("Content-Length", "")
    return int(said) if re.fullmatch("[0-9]{1,18}", said) else 0


def _refuse_web_page(address: str, answer: requests.Response) -> None:
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise WeightsError(
            f"{address} answered with a web page ({kind}) instead of the file: "
            "a login, proxy or moved page; open it in a browser, then put the file in place by hand"
        )


def _certificates() -> str | bool:
    """The authorities that are trusted, where the user names them."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise WeightsError(f"{name}={printable(path)}: expected certificates, found no file")
        if path:
            return path
    return True


def _pause(error: Exception, tried: int) -> float | None:
    """Seconds until another try; None where none would help."""
    answer = getattr(error, "response", None)
    if answer is not None:
        seconds = _asked_pause(answer, _PAUSE * 2 ** (tried - 1))
        return seconds if answer.status_code in _BUSY and seconds <= _LONGEST_PAUSE else None
    dropped = (requests.ConnectionError, requests.Timeout, HTTPError)
    final = isinstance(error, requests.exceptions.SSLError) or _unreachable(error)
    return 0.0 if isinstance(error, dropped) and not final else None


def _asked_pause(answer: requests.Response, usual: float) -> float:
    asked = answer.headers.get("Retry-After")
    try:
        return Retry().parse_retry_after(asked) if asked else usual
    except (failures.InvalidHeader, ValueError):  # ValueError: more digits than int takes
        return usual


def _unreachable(error: Exception) -> bool:
    """Whether no connection came about at all (no network, no such host, a closed door)."""
    none = (failures.NewConnectionError, failures.ConnectTimeoutError, failures.ProxyError)
    return isinstance(getattr(error.args[0], "reason", None) if error.args else None, none)


def _brief(address: str, error: Exception) -> str:
    answer = getattr(error, "response", None)
    if answer is not None and (refusal := hub.refusal(address, answer.status_code)):
        return refusal
    if isinstance(error, requests.exceptions.SSLError):
        advice = "where your network has one of its own, set SSL_CERT_FILE to it"
        return f"its certificate is not trusted; {advice}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "no connection through the proxy (HTTPS_PROXY, HTTP_PROXY)"
    if _unreachable(error):
        return "no connection to that host"
    text = first_line(error)
    text = text if len(text) <= 160 else text[:157] + "..."
    asked = answer.headers.get("Retry-After") if answer is not None else None
    return f"{text}; it asks to come again in or at {printable(asked)}" if asked else text
