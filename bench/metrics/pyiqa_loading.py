"""Building pyiqa's metrics, and knowing which files they read. pyiqa downloads what it misses in
the middle of the work and verifies nothing; here that fails with its address."""

import contextlib
import io
import logging
import os
import re
import shlex
import traceback
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import scipy.io
import torch
from huggingface_hub import constants

from bench.base.errors import BenchError, Unavailable, WeightsError
from bench.base.text import first_line
from bench.base.types import MetricSpec
from bench.metrics.pyiqa_names import record_files, weight_at
from bench.remote import weights
from bench.remote.fetch import fetch_file
from bench.remote.hub import HUB

# pyiqa imports it; on some CPUs it then warns of what no metric needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from pyiqa import create_metric  # noqa: E402
from pyiqa.utils import download_util  # noqa: E402

Downloader = Callable[..., None]


def build(spec: MetricSpec, device: str, options: dict[str, Any]) -> Any:
    """pyiqa's network for a metric, silent, frozen and in evaluation mode; never downloads.
    Unavailable: pyiqa wants a package or file that is not there; WeightsError: a file is not what
    it expects."""
    return _build(spec, device, options, _refuse)[0]


def find_files(spec: MetricSpec, fetching: bool = False) -> None:
    """Build a metric that our catalogue does not describe and keep which files it read; `fetching`
    lets pyiqa download them, by our checked downloads. Raises as `build`."""
    record_files(spec, _build(spec, "cpu", {}, _download_to if fetching else _refuse)[1])


def _build(
    spec: MetricSpec, device: str, options: dict[str, Any], downloader: Downloader
) -> tuple[torch.nn.Module, list[Path]]:
    """The network and the files below the torch cache that were read for it."""
    read: list[Path] = []
    try:
        with _surroundings(spec, downloader, read):
            chosen = {**options, **spec.chosen}
            model = create_metric(spec.pyiqa_name, device=torch.device(device), **chosen)
    except BenchError:
        raise
    except ImportError as error:
        package = error.name or str(error)
        mend = f"install it: pip install {shlex.quote(package.partition('.')[0])}"
        raise Unavailable(f"{spec.name} needs the package {package}; {mend}") from error
    except Exception as error:
        if address := _wanted(error):
            _refuse(address)
        raise WeightsError(f"pyiqa cannot build {spec.pyiqa_name}: {first_line(error)}") from error
    return model.net.requires_grad_(False).eval(), read


def _wanted(error: BaseException | None) -> str:
    """The address of the file, or else the repository, that a hub's library could not get: its
    causes name the file, the calls that failed the repository."""
    repository = ""
    while error is not None:
        if found := re.search(r"https?://\S+/resolve/[^\s:]+", str(error)):
            return found[0]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            named = str(frame.f_locals.get("pretrained_model_name_or_path"))
            if isinstance(error, OSError) and re.fullmatch("[^/]+/[^/]+", named):
                repository = f"{HUB}/{named}"
        error = error.__cause__ or error.__context__
    return repository


@contextlib.contextmanager
def _surroundings(spec: MetricSpec, downloader: Downloader, read: list[Path]) -> Iterator[None]:
    weights_only = "0" if _trusted(spec) else "1"
    offline = {"HF_HUB_OFFLINE": "1"} if downloader is _refuse else {}
    cache = str(weights.torch_home() / "hub" / "pyiqa")
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for each in (
            contextlib.redirect_stdout(io.StringIO()),
            patch.dict(os.environ, {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": weights_only, **offline}),
            patch.object(constants, "HF_HUB_OFFLINE", bool(offline) or constants.HF_HUB_OFFLINE),
            patch.object(download_util, "DEFAULT_CACHE_DIR", cache),
            patch.object(download_util, "download_url_to_file", downloader),
            patch.object(torch.hub, "download_url_to_file", downloader),
            patch.object(urllib.request, "urlopen", downloader),
            patch.object(torch, "load", _noting(torch.load, read)),
            patch.object(scipy.io, "loadmat", _noting(scipy.io.loadmat, read)),
        ):
            stack.enter_context(each)
        yield


def _noting(function: Callable[..., Any], read: list[Path]) -> Callable[..., Any]:
    """A function that opens files, and notes which."""

    def noted(source: Any, *args: Any, **options: Any) -> Any:
        if isinstance(source, str | os.PathLike):
            read.append(Path(source))
        return function(source, *args, **options)

    return noted


def _trusted(spec: MetricSpec) -> bool:
    """Whether pickles may be loaded as pyiqa does: only files whose whole published hash matched;
    another file with the digits that a name has room for is made in minutes."""
    return bool(spec.weights) and all(
        weight.sha256 and not weights.is_substitute(weight) for weight in spec.weights
    )


def _refuse(source: Any, *_: Any, **__: Any) -> None:
    url = getattr(source, "full_url", source)
    raise WeightsError(f"a file is missing that is published at {url}")


def _download_to(url: str, target: str, *_: Any, **__: Any) -> None:
    fetch_file(weight_at(Path(os.path.relpath(target, weights.torch_home())), url))
