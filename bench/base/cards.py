"""Cards: TOML files that describe methods, datasets and suites, checked when read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from bench.base.errors import CardError, UnknownName
from bench.base.text import printable, suggestion
from bench.base.types import FileName, PathInside, Weight

MAX_BYTES = 2**20
"""Of a card's file."""
LEVELS = 6
"""Of a field's place, as messages name it."""

Names = Annotated[list[str], Field(min_length=1)]
"""A list that means "all" where it is left out; given empty, it is refused."""


class Card(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Snapshot(Card):
    """Files of a model repository on the Hugging Face hub, which a program wants as a folder.

    Attributes:
        repository: "owner/name".
        revision: commit; where it is not known, the one found at setup is recorded and kept.
        into: folder in the clone.
        files: glob patterns of what is needed; all where it is left out.
    """

    repository: str
    into: PathInside
    revision: str = ""
    files: Names = Field(default_factory=list)


class Replacement(Card):
    """A line that must be changed in a clone, for paths that its authors wrote into their code.

    Attributes:
        file: in the clone.
        old: text that occurs in it exactly once.
        new: what stands there instead.
    """

    file: PathInside
    old: str
    new: str


class Outputs(Card):
    """Which file belongs to which input.

    Attributes:
        root: where the program writes, when it cannot be told; `{repo}` and `{run}` (a name of
            this run's own) are filled in. The folder is removed afterwards, so it is in the
            output folder or has the run's name.
        folder: below the output folder.
        name: of the file, with `{stem}` for the input's.
        ignore: patterns of other files, below the output folder, that the program is known to
            write; any other file is refused by name.
    """

    root: str = "{output}"
    folder: PathInside = "."
    name: PathInside = "{stem}.png"
    ignore: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _removes_its_own(self) -> Outputs:
        parts = PurePosixPath(self.root).parts
        if ".." in parts or (parts[:1] != ("{output}",) and "{run}" not in parts):
            raise ValueError("expected 'root' to start with {output} or to have a folder {run}")
        return self


class Official(Card):
    """How a method's own repository is installed and run.

    Attributes:
        repository: address for git.
        commit: full hash.
        python: version, e.g. "3.10".
        build: what pip installs first, since building a requirement imports it.
        requirements: files in the repository that pip installs, in this order.
        packages: what pip installs after those; the pins without which it does not run.
        modules: what the environment must be able to import.
        command: arguments of that Python, with `{input}`, `{output}`, `{scale}`, `{seed}`,
            `{repo}`, `{run}` (a name of this run's own), `{config}` and `{weight:NAME}` (path of
            a file of weights).
        only_size: LR side for which `command` is; 0 means any.
        command_else: for inputs of other sizes, where `only_size` is given.
        config: text of a file that the program reads, written for each run; placeholders as in
            `command`.
        replacements: made in the clone by setup.
        links: name of weights -> path in the clone where the program insists on finding them.
        unpack: name of a zip or tar of weights -> folder in the clone for its files.
        snapshots: folders from the Hugging Face hub.
        environment: variables for the program.
        outputs: which file belongs to which input.
        min_size: shortest side in LR pixels.
        multiple: inputs are mirrored up to a multiple of it, outputs cropped back.
        gpu: whether it needs one.
        seeding: "run" when one seed is set for all images, so that an image's noise depends on
            those before it; "image" when each has its own; "none" when nothing is random.
        start_seconds: until the first image, at most.
        image_seconds: between two images, at most.
        settings: of the published tables, in words.
        quirks: what a user of it stumbles over.
    """

    repository: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    python: str = Field(pattern=r"^3\.\d+$")
    build: list[str] = Field(default_factory=list)
    requirements: list[str] = Field(default_factory=list)
    packages: list[str] = Field(default_factory=list)
    modules: list[str] = Field(default_factory=list)
    command: list[str] = Field(min_length=1)
    only_size: int = 0
    command_else: list[str] = Field(default_factory=list)
    config: str = ""
    replacements: list[Replacement] = Field(default_factory=list)
    links: dict[str, PathInside] = Field(default_factory=dict)
    unpack: dict[str, PathInside] = Field(default_factory=dict)
    snapshots: list[Snapshot] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    outputs: Outputs = Outputs()
    min_size: int = 1
    multiple: int = 1
    gpu: bool = True
    seeding: Literal["run", "image", "none"]
    start_seconds: float = 1800
    image_seconds: float = 600
    settings: str
    quirks: list[str] = Field(default_factory=list)


class Variant(Card):
    """A method that differs from its card's own in what is named here.

    Attributes:
        options: those of the card, but for these.
    """

    title: str
    summary: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    parameters: int | None = None


class MethodCard(Card):
    """One way to upscale, and its variants.

    Attributes:
        name, title: as typed and as printed.
        factory: "module:attr", called with `options`, the weights' paths (as `weights`, only when
            the card lists some) and `device`; gives an object with `upscale`.
        seeded: whether the seed changes the pixels.
        version: goes up when our own code for it changes the pixels.
        scales: factors it can do; any where it is left out.
        parameters: number of network parameters; steps: sampling steps of diffusion methods.
        max_workers: processes that may hold it at once on one machine.
        packages: distributions that must be installed beside ours, as pip takes them.
        lookup: module with `fingerprint(options)` and `unavailable(options)`, for a method whose
            files are found by its options; it imports nothing heavy.
        needs: what a machine must have, in words ("a GPU with 24 GB").
        ran: with which weights and images it was run while this was written; "" means that it was
            tested with a stand-in or random weights only.
        official: how its own repository is run, for methods that are not run in our process.
        note: shown under every table that it appears in.
        deviations: where our run differs from the official test.
        variants: ending of the method's name -> what differs.
        seeds: of trainings that are methods each, NAME-SEED; `{seed}` in text stands for it.
            Variants that were trained again have no method without a seed.
        training_seed: of this method, where it is one of several trainings.
    """

    name: FileName
    title: str
    factory: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    weights: list[Weight] = Field(default_factory=list)
    seeded: bool = False
    version: int = 1
    scales: list[int] = Field(default_factory=list, min_length=1)
    parameters: int | None = None
    steps: int | None = None
    max_workers: int | None = None
    packages: list[str] = Field(default_factory=list)
    lookup: str = ""
    needs: str = ""
    ran: str = ""
    official: Official | None = None
    summary: str = ""
    paper: str = ""
    repository: str = ""
    licence: str
    note: str = ""
    deviations: list[str] = Field(default_factory=list)
    variants: dict[FileName, Variant] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=list)
    training_seed: int | None = None

    def methods(self) -> list[MethodCard]:
        """Every method of this card: its own and its variants', or each training of them."""
        if not (self.variants or self.seeds):
            return [self]
        own = self.model_dump(exclude={"variants", "seeds"}, exclude_unset=True)
        kinds = [own]
        for ending, variant in self.variants.items():
            changes = variant.model_dump(exclude_unset=True)
            changes["options"] = {**self.options, **variant.options}
            kinds.append({**own, **changes, "name": f"{self.name}-{ending}"})
        if self.seeds:
            kinds = [_trained(kind, seed) for kind in kinds[1:] or kinds for seed in self.seeds]
        return [MethodCard.model_validate(kind) for kind in kinds]


def _trained(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    filled = {key: _filled(value, seed) for key, value in fields.items()}
    return {**filled, "name": f"{fields['name']}-{seed}", "training_seed": seed}


def _filled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, seed) for key, inner in value.items()}
    return value.replace("{seed}", str(seed)) if isinstance(value, str) else value


class PackagedImage(Card):
    """A photograph that an installed distribution carries, and the box that is cut from it.

    `crop` is (left, top, width, height) in pixels; without it the whole image is taken, its right
    and bottom edge cut so that the sides are multiples of the scale.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    distribution: str
    file: str
    sha256: str
    licence: str
    credit: str
    crop: tuple[int, int, int, int] | None = None


class PhotoCollection(Card):
    """A named collection of packaged photographs (a file below bench/data/photos)."""

    images: list[PackagedImage] = Field(min_length=1)


class Degradation(Card):
    """How LR images are made from HR ones.

    `function` is "module:attr", called as `function(hr, scale=..., seed=..., **options)` with and
    giving (H, W, 3) uint8; `version` is an optional "module:attr" naming a function that tells
    what else its bytes depend on (library versions).
    """

    function: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    version: str = ""
    seed: int = 0


class Archive(Card):
    """A file (zip or tar) or folder that a test set is published as.

    Attributes:
        name: of the file in the cache; of a folder where it has no suffix.
        url: address; "" where it can only be got by hand, from `page`.
        mirrors: other addresses of the same bytes.
        page: where a person finds it.
        size: bytes.
        sha256: of the file; where nobody states it, the one first seen is recorded and checked
            ever after.
    """

    name: FileName
    url: str = ""
    mirrors: list[str] = Field(default_factory=list)
    page: str = ""
    size: int = 0
    sha256: str = ""


class Side(Card):
    """The LR or the HR images in an archive.

    Attributes:
        files: pattern of their paths, where `*` does not cross a slash and `**` does.
        stem: regular expression that the whole stem must match; others are passed over.
        id: the image's id, with the groups of `stem` as `\\1`.
    """

    files: str
    stem: str = "(.+)"
    id: str = r"\1"


class CentreCrop(Card):
    """The middle of each pair: `lr` LR pixels square, and the HR pixels that belong to them."""

    lr: int


class DatasetCard(Card):
    """A test set: where its images come from and how LR and HR belong together.

    Attributes:
        photos: a photo collection of ours, or
        archive: what it is published as, with `lr` and `hr` saying which files are which side.
        crop: cut out of each pair.
        degradation: makes the LR images where there are only HR ones.
        images: how many there must be.
    """

    name: FileName
    title: str
    summary: str
    licence: str
    source: str = ""
    scale: int = 4
    photos: str = ""
    archive: Archive | None = None
    lr: Side | None = None
    hr: Side | None = None
    crop: CentreCrop | None = None
    degradation: Degradation | None = None
    images: int = 0
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> DatasetCard:
        if bool(self.photos) == bool(self.archive):
            raise ValueError("expected either 'photos' or 'archive'")
        if self.photos and self.degradation is None:
            raise ValueError("'photos' need a 'degradation'")
        if self.archive and bool(self.lr) == bool(self.degradation):
            raise ValueError("expected either 'lr' or a 'degradation' that makes it from 'hr'")
        if self.degradation and self.archive and self.hr is None:
            raise ValueError("a 'degradation' needs 'hr'")
        return self


TRAINING_SEED = "Training seed"
"""The heading of what is repeated: methods that differ in it alone are one configuration."""


class SuiteCard(Card):
    """Methods x datasets x metrics, and how they are laid out.

    Attributes:
        methods: as typed; `*` in a name stands for all endings, such as training seeds.
        fetch_mb: a run fetches missing weights up to this size each; None fetches all.
        variants: for an ablation, what tells its methods apart: method -> heading -> value; those
            that differ in the heading "Training seed" alone are one configuration, trained again.
            That heading is added to methods that are one of several trainings.
    """

    name: FileName
    title: str
    summary: str
    methods: Names
    datasets: Names
    metrics: Names
    seed: int = 0
    fetch_mb: float | None = None
    layout: Literal["methods-as-columns", "methods-as-rows"] = "methods-as-columns"
    variants: dict[str, dict[str, str]] = Field(default_factory=dict)
    note: str = ""


T = TypeVar("T", bound=Card)


def read_card(path: Path | Traversable, kind: type[T]) -> T:
    """Read and check one card.

    Raises:
        CardError: not a TOML file of a card's size, a field that is unknown, missing or of the
            wrong type; names it.
    """
    try:
        return kind.model_validate(parse_toml(path, read_text(path)))
    except ValidationError as error:
        first = error.errors()[0]
        field = printable(".".join(str(part) for part in first["loc"][:LEVELS])) or "the whole"
        raise CardError(
            f"{printable(path)}: field '{field}': {printable(first['msg'].lower())}; "
            f"fields of a {kind.__name__} are {', '.join(kind.model_fields)}"
        ) from error


def read_text(path: Path | Traversable, most: int = MAX_BYTES) -> str:
    """A text file of at most `most` bytes, UTF-8 with or without a byte order mark.

    Raises:
        CardError: it cannot be read, is larger or is something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise CardError(f"{printable(path)}: cannot be read ({reason})") from error
    except ValueError as error:  # a name that no file can have
        raise CardError(f"{printable(path)}: cannot be read ({printable(error)})") from error
    if len(content) > most:
        raise CardError(
            f"{printable(path)}: is larger than {most >> 20} MiB; is it the right file?"
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise CardError(
            f"{printable(path)}: is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error


def parse_toml(path: Path | Traversable, text: str) -> dict[str, Any]:
    """What a TOML file says; `path` is for the message.

    Raises:
        CardError: not TOML, or nested beyond reason.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise CardError(f"{printable(path)}: is not valid TOML (nested too deeply)") from error
    except ValueError as error:
        raise CardError(f"{printable(path)}: is not valid TOML ({printable(error)})") from error


def read_folder(package: str, folder: str, kind: type[T]) -> dict[str, T]:
    """All cards of a package's folder, keyed by file stem, which must be the card's name."""
    cards: dict[str, T] = {}
    entries = [f for f in files(package).joinpath(folder).iterdir() if f.name.endswith(".toml")]
    for file in sorted(entries, key=lambda f: f.name):
        card = read_card(file, kind)
        stem = file.name.removesuffix(".toml")
        if getattr(card, "name", stem) != stem:
            raise CardError(f"{printable(file)}: a card's name must be its file's: '{stem}'")
        cards[stem] = card
    return cards


def pick(cards: Mapping[str, T], name: str, what: str) -> T:
    """The card called `name`, or UnknownName with the nearest one."""
    if name in cards:
        return cards[name]
    raise UnknownName(
        f"unknown {what} '{printable(name)}'{suggestion(name, cards)} "
        f"(`cassr-bench list {what}s` shows all)"
    )
