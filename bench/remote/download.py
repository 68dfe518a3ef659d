"""Fetching one file over http: resumed, checked, atomic."""

from __future__ import annotations

from pathlib import Path

import requests
from filelock import FileLock
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from bench.base.errors import WeightsError
from bench.base.types import Weight
from bench.remote import weights

_CHUNK = 1 << 16
_TRIES = 3
_TIMEOUT = (10, 60)
"""Seconds for the connection and between two pieces of data."""


def download(
    address: str, target: Path, weight: Weight, progress: weights.Progress | None = None
) -> None:
    """Fetch `address` to `target`, which appears only when it is whole and right.

    A part that an earlier try left is continued where the weight's hash is known (so that a
    part of another file cannot slip in); otherwise the transfer starts again.

    Raises:
        WeightsError: unreachable, a web page, wrong size or hash, or dropped again and again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with FileLock(f"{part}.lock"):
        _transfer(address, part, weight, progress)
        _verify(part, weight, address)
        part.replace(target)


def _transfer(address: str, part: Path, weight: Weight, progress: weights.Progress | None) -> None:
    """Fill `part`, going on after a dropped connection."""
    if not weights.expected(weight):
        part.unlink(missing_ok=True)
    for attempt in range(1, _TRIES + 1):
        try:
            _request(address, part, weight, progress)
            return
        except requests.RequestException as error:
            final = isinstance(error, requests.HTTPError) or _unreachable(error)
            if attempt == _TRIES or final:
                raise WeightsError(_interrupted(address, part, error)) from error


def _request(address: str, part: Path, weight: Weight, progress: weights.Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code == 416:
            _judge_overlong(part, answer)
            return
        answer.raise_for_status()
        _refuse_web_page(address, answer)
        if answer.status_code != 206:
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))
        _append(answer, part, have, total, weight.name, progress)


def _append(
    answer: requests.Response,
    part: Path,
    have: int,
    total: int,
    name: str,
    progress: weights.Progress | None,
) -> None:
    with part.open("ab" if have else "wb") as file:
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            if progress:
                progress(name, have, total)
    if total and have < total:
        raise requests.ConnectionError(f"{have} of {total} bytes came")


def _judge_overlong(part: Path, answer: requests.Response) -> None:
    """The server has nothing after what we have: whole already, or too long and to be redone."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if str(part.stat().st_size) != total:
        part.unlink()
        raise requests.ConnectionError("the part that was here is longer than the file")


def _refuse_web_page(address: str, answer: requests.Response) -> None:
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise WeightsError(
            f"{address} answered with a web page ({kind}) instead of the file: "
            "a login, proxy or moved page; open it in a browser, then put the file in place by hand"
        )


def _verify(part: Path, weight: Weight, address: str) -> None:
    """Check size and hash; a wrong file is deleted, so that the next try starts afresh."""
    size = part.stat().st_size
    if weight.size and size != weight.size:
        part.unlink()
        raise WeightsError(f"{address} has {size} bytes, expected {weight.size}")
    if not weights.expected(weight) and part.read_bytes()[:200].lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    ):
        part.unlink()
        raise WeightsError(f"{address} is a web page, not {weight.name}")
    try:
        weights.check(weight, part)
    except WeightsError as error:
        part.unlink()
        raise WeightsError(f"fetched from {address}: {error}") from None


def _interrupted(address: str, part: Path, error: Exception) -> str:
    have = part.stat().st_size if part.exists() else 0
    kept = f"; {have} bytes are kept, run the command again to go on" if have else ""
    return f"{address} could not be fetched: {_brief(error)}{kept}"


def _unreachable(error: Exception) -> bool:
    """Whether no connection came about at all (no network, no such host, a closed door)."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError | ConnectTimeoutError | ProxyError)


def _brief(error: Exception) -> str:
    if _unreachable(error):
        return "no connection to that host"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
