"""The Hugging Face hub: its addresses, cache, token and closed doors."""

import logging
import os
import re
from pathlib import Path

from bench.base.text import first_line

HUB = "https://huggingface.co"
logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # each try again
_FILE = re.compile(rf"{re.escape(HUB)}/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
# Of the hub's transports, which its versions change.
_NO_CONNECTION = re.compile("Connect(Error|Timeout(Error)?)|(NewConnection|NameResolution)Error")


def address(url: str) -> str:
    """Where `url` is asked for; to be shown, see `shown`."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return endpoint + url.removeprefix(HUB) if endpoint and url.startswith(f"{HUB}/") else url


def shown(url: str) -> str:
    """Where `url` is asked for, without the password of an endpoint."""
    return re.sub("://[^/@]*@", "://", address(url))


def is_shut(url: str) -> bool:
    """Whether `url` is the hub's and the user wants it asked nothing."""
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return offline and url.startswith(f"{HUB}/")


def headers(asked: str) -> dict[str, str]:
    """What goes with a request: the user's token, to the hub (or HF_ENDPOINT) alone."""
    if not asked.startswith(f"{address(HUB + '/')}"):
        return {}
    from huggingface_hub import get_token  # heavy: only to fetch

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def cached(url: str, cache: Path) -> Path | None:
    """The copy in the hub's own cache of a file that is published there."""
    found = _FILE.fullmatch(url)
    if not found:
        return None
    kind, repository, revision, file = found.groups()
    if not (cache / f"{kind or 'models'}--{repository.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache  # heavy: only where it may be

    path = try_to_load_from_cache(
        repository, file, cache, revision, kind.removesuffix("s") if kind else None
    )
    return Path(path) if isinstance(path, str) else None


def refusal(url: str, status: int | None) -> str:
    """What a refused request for a file of the hub needs; "" for any other."""
    if (found := _FILE.fullmatch(url)) and status in (401, 403):
        return needs_consent("/".join(filter(None, found.groups()[:2])))
    return ""


def needs_consent(repository: str) -> str:
    return (
        f"{repository} is gated or private: accept its terms at {HUB}/{repository}, then set "
        "HF_TOKEN to a token of yours (or run: hf auth login)"
    )


def offered(repository: str, revision: str, patterns: list[str] | None) -> tuple[int, str]:
    """Bytes of a repository's files that match; and why nothing can be had there."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    try:
        found = HfApi().model_info(repository, revision=revision or None, files_metadata=True)
    except Exception as error:  # whatever its transport raises
        return 0, reason(error, repository)
    sizes = {file.rfilename: file.size or 0 for file in found.siblings or ()}
    return sum(sizes[name] for name in filter_repo_objects(sizes, allow_patterns=patterns)), ""


def reason(error: Exception, repository: str) -> str:
    """Why huggingface_hub did not give a repository, in one line."""
    from huggingface_hub.errors import RepositoryNotFoundError

    if isinstance(error, RepositoryNotFoundError):
        return needs_consent(repository)
    cause = getattr((*error.args, None)[0], "reason", error)
    host = shown(f"{HUB}/").rstrip("/") if os.environ.get("HF_ENDPOINT") else "that host"
    lost = f"no connection to {host}"
    return lost if _NO_CONNECTION.fullmatch(type(cause).__name__) else first_line(error)
