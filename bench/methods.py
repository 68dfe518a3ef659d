"""Methods by name: cards, `spandrel:FILE`, `folder:PATH@NAME` and a user's own `FILE.py`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from bench.cards import MethodCard, pick, read_card, read_folder
from bench.errors import BenchError, ImageError, Unavailable, WeightsError
from bench.image_folders import image_files, subfolders
from bench.images import by_stem, file_sha256
from bench.lazy import resolve
from bench.text import printable
from bench.types import Method, SetMethod, Weight

CARD_FOLDERS = (("baselines", "cards"),)


@dataclass(frozen=True)
class Entry:
    """A method that can be asked for; nothing heavy is loaded until `load`.

    Attributes:
        name: as typed.
        card: what it is.
        files: the SR images by stem, for a method that is a folder of finished images.
    """

    name: str
    card: MethodCard
    files: Mapping[str, Path] | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Everything the pixels depend on, apart from the LR image, the scale and the seed."""
        found: dict[str, Any] = {
            "name": self.card.name,
            "factory": self.card.factory,
            "options": dict(self.card.options),
            "version": self.card.version,
            "weights": [_hash_of(weight) for weight in self.card.weights],
        }
        if self.card.lookup:
            found["found"] = resolve(f"{self.card.lookup}:fingerprint")(self.card.options)
        if self.card.official is not None:
            told = ("settings", "quirks", "start_seconds", "image_seconds", "gpu", "modules")
            found["official"] = self.card.official.model_dump(mode="json", exclude=set(told))
        return found

    def unavailable(self) -> str:
        """Why it cannot run here, with the command that mends it; "" when it can."""
        from bench import weights
        from bench.installation import Installation, weights_hint

        if self.files is not None:
            return ""
        absent = [name for name in self.card.packages if not _installed(name)]
        if absent:
            return f"needs packages; run: pip install {' '.join(absent)}"
        if self.card.official is not None:
            return Installation(self.card).problem()
        if self.card.lookup:
            return str(resolve(f"{self.card.lookup}:unavailable")(self.card.options))
        for weight in self.card.weights:
            problem = "" if _given_path(weight) else weights.problem(weight)
            if problem:
                return f"{problem}; {weights_hint(self.name, weight)}"
        return ""

    def _weights(self) -> list[Path]:
        from bench import weights

        return [_given_path(weight) or weights.locate(weight) for weight in self.card.weights]

    def load(self, device: str) -> Method | SetMethod:
        """Build the method on `device`; a `SetMethod` where the card has `official`.

        Raises:
            WeightsError: a file of weights is missing or not the expected one.
            Unavailable: its factory refused; the message says why.
        """
        factory = resolve(self.card.factory)
        try:
            method: Method | SetMethod = factory(**self._arguments(), device=device)
        except BenchError:
            raise
        except Exception as error:  # anything a third-party network does while it is built
            raise Unavailable(f"method '{self.name}': {printable(error)}") from error
        return method

    def _arguments(self) -> dict[str, Any]:
        options: dict[str, Any] = dict(self.card.options)
        if self.card.official is not None:
            return {**options, "card": self.card}
        weights = self._weights()
        if weights:
            options["weights"] = weights[0] if len(weights) == 1 else weights
        return options

    def sr_file(self, image_id: str) -> Path:
        """The finished SR image of a folder method.

        Raises:
            ImageError: the folder has none of that stem.
        """
        assert self.files is not None
        if image_id not in self.files:
            raise ImageError(f"no image named '{printable(image_id)}' in the folder")
        return self.files[image_id]


def _installed(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def method_cards() -> dict[str, MethodCard]:
    cards: dict[str, MethodCard] = {}
    for package, folder in CARD_FOLDERS:
        cards |= read_folder(package, folder, MethodCard)
    return cards


def find(name: str) -> Entry:
    """The method called `name`.

    Names: a card's; `spandrel:FILE` (weights spandrel knows); `folder:PATH[@NAME]` (finished
    images, matched by stem); `FILE.py` (defines `upscale`); `FILE.toml` (a card).

    Raises:
        UnknownName, CardError, WeightsError, ImageError: with what was expected and found.
    """
    if name.startswith("spandrel:"):
        return _spandrel(name, Path(name.removeprefix("spandrel:")))
    if name.startswith("folder:"):
        return _folder(name)
    if name.endswith(".py"):
        return _python_file(Path(name))
    if name.endswith(".toml"):
        return Entry(name, read_card(Path(name), MethodCard))
    return Entry(name, pick(method_cards(), name, "method"))


def _spandrel(name: str, file: Path) -> Entry:
    card = MethodCard(
        name=file.stem,
        title=file.stem,
        factory="baselines.spandrel_models:SpandrelNetwork",
        weights=[_given(file, "weights")],
        licence="unknown",
        summary="weights given by path",
    )
    return Entry(name, card)


def _folder(name: str) -> Entry:
    path, at, title = name.removeprefix("folder:").rpartition("@")
    folder = Path(path if at else title)
    title = title if at else folder.resolve().name
    files, clashes = by_stem(image_files(folder))
    strange = [*((printable(path), reason) for path, reason in clashes), *subfolders(folder)]
    if strange:
        raise ImageError(strange[0][1], strange[0][0])
    card = MethodCard(
        name=title,
        title=title,
        factory="",
        licence="unknown",
        summary="finished images",
        note="finished images given as a folder; not run here",
    )
    return Entry(name, card, files)


def _python_file(file: Path) -> Entry:
    card = MethodCard(
        name=file.stem,
        title=file.stem,
        factory="bench.methods:UserMethod",
        weights=[_given(file, "method")],
        seeded=True,
        licence="unknown",
        summary="a method in one file",
    )
    return Entry(str(file), card)


def _given(file: Path, what: str) -> Weight:
    if not file.is_file():
        raise WeightsError(f"{printable(file)}: expected a {what} file, found none there")
    return Weight(name=file.name, url=file.resolve().as_uri(), sha256=file_sha256(file))


def _hash_of(weight: Weight) -> str:
    """The hash of the file that would be used; the card's where there is none yet."""
    from bench import weights

    found = _given_path(weight) or weights.find(weight)
    return weights.sha256(found) if found else weight.sha256


def _given_path(weight: Weight) -> Path | None:
    """The file itself where the user named one; its hash was taken a moment ago."""
    return Path(url2pathname(urlparse(weight.url).path)) if weight.url.startswith("file:") else None


class UserMethod:
    """A Python file of the user's that defines `upscale(lr, *, scale, seeds)`."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        file = weights
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise Unavailable(f"{printable(file)}: cannot be loaded as a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not callable(getattr(module, "upscale", None)):
            raise Unavailable(
                f"{printable(file)}: expected a function upscale(lr, *, scale, seeds), found none"
            )
        self.upscale = module.upscale
