"""A method that can be asked for: what its pixels depend on, whether it can run, and how."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from bench.base.errors import WeightsError
from bench.base.lazy import resolve
from bench.base.remote_file import Weight
from bench.base.text import printable
from bench.base.types import ImagePair, Method, SetMethod
from bench.files.images import file_sha256
from bench.files.names import Matched, matched
from bench.methods import lock
from bench.methods.card import MethodCard
from bench.methods.finished import DATASET
from bench.methods.installation import Installation, weights_hint
from bench.processes.foreign import running
from bench.remote import weights

GIVEN = "file:"
"""How the address of a file begins that the user has."""


@dataclass(frozen=True)
class Entry:
    """A method that can be asked for; nothing heavy is loaded until `load`.

    Attributes:
        name: as typed.
        card: what it is.
        files: the finished SR images of a dataset by stem, for a method that is a folder of them.
        naming: how these are named, with `{stem}` for the image's name; "" where it is not said.
        modules: hash of each module beside a method file that it imports, by file name.
        file: of code or weights of the user's, which get a process of their own.
    """

    name: str
    card: MethodCard
    files: Callable[[str], Mapping[str, Path]] | None = None
    naming: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Everything the pixels depend on, apart from the LR image, the scale and the seed."""
        found: dict[str, Any] = {
            "name": self.card.name,
            "factory": self.card.factory,
            "options": dict(self.card.options),
            "version": self.card.version,
            "weights": [_hash_of(weight) for weight in self.card.weights],
        }
        if self.modules:
            found["modules"] = dict(self.modules)
        if self.card.lookup:
            found["found"] = resolve(f"{self.card.lookup}:fingerprint")(self.card.options)
        if self.card.official is not None:
            told = {"settings", "quirks", "start_seconds", "image_seconds", "gpu", "modules"}
            told |= {"unreached", "kernels", "started", "without", "as_of"}  # the lock is hashed
            told |= set() if self.card.official.scores else {"scores"}
            found["official"] = self.card.official.model_dump(mode="json", exclude=told)
            locked = lock.read(self.card)
            if locked:
                found["lock"] = hashlib.sha256(locked.encode()).hexdigest()
        return found

    def unavailable(self, *scales: int) -> str:
        """Why it cannot run here, with the command that mends it, or upscale by these factors; ""
        when it can."""
        wrong = [scale for scale in scales if scale not in (self.card.scales or scales)]
        known = ", ".join(f"x{scale}" for scale in self.card.scales)
        why = f"method '{self.name}' upscales {known}, not x{wrong[0]}" if wrong else ""
        return self._lacks() or why

    def _lacks(self) -> str:
        if self.files is not None:
            return ""
        if absent := self.absent_packages():
            return f"needs packages; run: pip install {' '.join(absent)}"
        if self.card.official is not None:
            return Installation(self.card, self.name).problem()
        if self.card.lookup:
            return str(resolve(f"{self.card.lookup}:unavailable")(self.card.options))
        for weight in self.card.weights:
            problem = "" if _given_path(weight) else weights.problem(weight)
            if problem:
                return f"{problem}; {weights_hint(self.name, weight)}"
        return ""

    def absent_packages(self) -> list[str]:
        """The packages that must be installed beside ours and are not, as pip takes them."""
        return [name for name in self.card.packages if not _installed(name)]

    def finished(self, dataset: str, pairs: Iterable[ImagePair]) -> Matched:
        """The finished images of these pairs of a dataset, by id."""
        assert self.files is not None
        own = _folder_of(dataset)
        files, ids = self.files(own), [pair.id for pair in pairs]
        return matched(files, ids, self.naming.replace(DATASET, own))

    def stand_ins(self) -> list[str]:
        """How the weights that are here differ from those that the cards name."""
        return list(filter(None, (weights.chosen(weight).differs for weight in self.all_weights())))

    def all_weights(self) -> list[Weight]:
        """The published files that cards name, of this method and of the one that it builds on."""
        other: Entry | None = None
        if self.card.lookup:
            other = resolve(f"{self.card.lookup}:builds_on")(self.card.options)
        published = [weight for weight in self.card.weights if not weight.url.startswith(GIVEN)]
        return [*published, *(other.all_weights() if other else [])]

    def load(self, device: str) -> Method | SetMethod:
        """Build the method on `device`; a `SetMethod` where the card has `official`.

        Raises:
            WeightsError: a file of weights is missing or not the expected one.
            Unavailable: its code refused or broke; the message says why.
        """
        with running(self.name):
            factory = resolve(self.card.factory)
            method: Method | SetMethod = factory(**self._arguments(), device=device)
        return method

    def _arguments(self) -> dict[str, Any]:
        options: dict[str, Any] = dict(self.card.options)
        if self.card.official is not None:
            return {**options, "card": self.card}
        files = [_given_path(weight) or weights.locate(weight) for weight in self.card.weights]
        if files:
            options["weights"] = files[0] if len(files) == 1 else files
        return options


def _folder_of(dataset: str) -> str:
    """What `{dataset}` stands for: the last part of a set's folder, card or repository."""
    kind, _, where = dataset.partition(":")
    if kind == "folder":
        return Path(where).resolve().name
    return Path(re.split("[:@]", where)[0] if kind == "hf" else dataset).name.removesuffix(".toml")


def _installed(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _hash_of(weight: Weight) -> str:
    """The hash of the file that would be used; the card's where there is none yet."""
    given = _given_path(weight)
    if given and given.suffix == ".py":
        return weight.sha256 or file_sha256(given)
    if given:
        return weights.sha256(given)
    return weights.identity(weight) if weights.find(weight) else weight.sha256


def _given_path(weight: Weight) -> Path | None:
    """The file itself where the user named one."""
    if not weight.url.startswith(GIVEN):
        return None
    file = Path(url2pathname(urlparse(weight.url).path))
    if not file.is_file():
        raise WeightsError(f"{printable(file)}: expected a file of weights, found none there")
    return file
