"""Where trained CasSR models are and what they consist of. Loads no network, imports no torch."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cassr
from bench.base.device import folder_named
from bench.base.errors import Unavailable
from bench.base.text import printable
from bench.methods.entry import Entry
from bench.methods.find import find
from bench.remote import hub, weights

CARRIED = Path(cassr.__file__).parent / "models"
_PATTERNS = ["*.json", "*.safetensors", "*.txt"]


def fingerprint(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a card's options stand for: the model's files by hash, and all that its reference images
    depend on where another method makes them; empty when there is none."""
    try:
        found: dict[str, Any] = {"files": model_files(_found(options))}
        if reference := builds_on(options):
            found["reference"] = reference.fingerprint()
    except Unavailable:
        return {}
    return found


def unavailable(options: Mapping[str, Any]) -> str:
    """Why a card with these options cannot run here; "" when it can."""
    try:
        _found(options)
        reference = builds_on(options)
    except Unavailable as error:
        return str(error)
    reason = reference.unavailable() if reference else ""
    return f"its reference images: {reason}" if reason else ""


def builds_on(options: Mapping[str, Any]) -> Entry | None:
    """The method that makes the reference images; None where the model makes its own."""
    if not (name := options.get("reference_method")):
        return None
    entry = find(name)
    if entry.card.official or "reference_method" in entry.card.options:
        raise Unavailable(
            f"reference_method {printable(name)}: expected a method that takes one image after the "
            "other and needs no reference, found another"
        )
    return entry


def _found(options: Mapping[str, Any]) -> Path:
    return find_model(options["model"], options.get("revision", "main"), fetch=False)


def models_dir() -> Path:
    """Where trained models lie by name: CASSR_MODELS, or `models` in the harness's cache."""
    return folder_named("CASSR_MODELS", lambda: weights.cache_dir() / "models")


def find_model(model: str, revision: str, fetch: bool = True) -> Path:
    """The folder of a model; a hub model is fetched only with `fetch`.

    A name is looked for below `models_dir` and among the models that the package carries. Raises
    Unavailable: with what was expected where, and what to do.
    """
    for folder in (Path(model).expanduser(), models_dir() / model, CARRIED / model):
        if any((folder / index).is_file() for index in ("model_index.json", "cassr.json")):
            return folder
    if "/" in model and not model.startswith((".", "/", "~")):
        return _from_hub(model, revision, fetch)
    raise Unavailable(
        f"no trained CasSR called {model}: none is published; put a saved pipeline or adapters "
        "into a folder of that name below CASSR_MODELS, or train one (docs/train.md): "
        "cassr-bench train guidance --data paper"
    )


def _from_hub(model: str, revision: str, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download

    get = partial(snapshot_download, model, revision=revision, allow_patterns=_PATTERNS)
    try:
        return Path(get(local_files_only=not fetch))
    except Exception as error:  # anything from no network to no such repository
        reason = hub.reason(error, model)
        raise Unavailable(f"model {model!r} cannot be had from the hub: {reason}") from error


def model_files(folder: Path) -> dict[str, str]:
    """Hash of every file a saved model consists of, by its place in the folder."""
    wanted = sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors"))
    files = {p.relative_to(folder).as_posix(): weights.sha256(p) for p in wanted}
    if not (folder / "cassr.json").is_file():
        return files
    index = json.loads((folder / "cassr.json").read_text(encoding="utf-8"))
    return files | {"base": f"{index.get('base')}@{index.get('base_revision')}"}
