"""The card of a method: what it is, needs, and how its own repository is run."""

import json
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from bench.base.cards import Amount, Card, Count, FileName, Names, Natural, PathInside, Title
from bench.base.remote_file import Weight
from bench.base.types import Better


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
    def _removes_its_own(self) -> "Outputs":
        parts = PurePosixPath(self.root).parts
        if ".." in parts or (parts[:1] != ("{output}",) and "{run}" not in parts):
            raise ValueError("expected 'root' to start with {output} or to have a folder {run}")
        return self


class Scores(Card):
    """What a metric is, and how its program is told of images and writes their scores.

    Attributes:
        better, reference, bounds: see `MetricSpec`; range, digits too, which change no score.
        entry: what the JSON list `{list}` says of each image; `{name}` in it stands for the name
            of its file, which is the same in `{input}` and, with HR images, in `{reference}`.
        file: below the output folder: CSV with a heading, else a JSON object a line.
        image: the column or key with the path or name of the image's file.
        value: that of the score.
        levels: where `value` holds logits of words, what each word is worth: the score is the mean
            of these, weighted by the softmax.
    """

    better: Better
    reference: bool
    range: str = Field(exclude=True)
    bounds: tuple[float, float]
    digits: Natural = Field(4, exclude=True)
    entry: dict[str, JsonValue] = Field(default_factory=dict)
    file: PathInside
    image: str
    value: str
    levels: dict[str, float] = Field(default_factory=dict)

    def score(self, row: Mapping[str, Any]) -> float:
        """The score that a row gives, NaN where it gives none within the bounds."""
        try:
            found = row[self.value]
            logits = [float(found[word]) for word in self.levels]
            shares = [math.exp(logit - max(logits)) for logit in logits]
            worth = zip(shares, self.levels.values(), strict=True)
            score = sum(a * b for a, b in worth) / sum(shares) if shares else float(found)
        except (KeyError, TypeError, ValueError, ArithmeticError):
            return math.nan
        return score if self.bounds[0] <= score <= self.bounds[1] else math.nan


class Official(Card):
    """How a method's own repository, or a metric's, is installed and run.

    Attributes:
        repository: address for git.
        commit: full hash.
        python: version, e.g. "3.10".
        build: what pip installs first, since building a requirement imports it.
        requirements: files in the repository that pip installs, in this order.
        packages: what pip installs after those, in place of what they say of the same package;
            the pins without which it does not run.
        without: packages of the requirement files that are left out of the lock.
        as_of: day (YYYY-MM-DD) as of which the lock takes what is not pinned; that of the commit
            where it is left out.
        modules: what the environment must be able to import.
        unreached: modules that its code names, that a test does not reach and that are left out.
        kernels: GPU generations that its torch has kernels for, as torch names them ("sm_80").
        started: how far its script came with --help in the locked environment, without a GPU, while
            the card was written; "" where that was not tried.
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
        scores: of a metric, in place of outputs.
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
    without: list[str] = Field(default_factory=list)
    as_of: str = Field("", pattern=r"^(\d{4}-\d\d-\d\d)?$")
    modules: list[str] = Field(default_factory=list)
    unreached: list[str] = Field(default_factory=list)
    kernels: list[str] = Field(default_factory=list)
    started: str = ""
    command: list[str] = Field(min_length=1)
    only_size: Natural = 0
    command_else: list[str] = Field(default_factory=list)
    config: str = ""
    replacements: list[Replacement] = Field(default_factory=list)
    links: dict[str, PathInside] = Field(default_factory=dict)
    unpack: dict[str, PathInside] = Field(default_factory=dict)
    snapshots: list[Snapshot] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    outputs: Outputs = Outputs()
    scores: Scores | None = None
    min_size: Count = 1
    multiple: Count = 1
    gpu: bool = True
    seeding: Literal["run", "image", "none"]
    start_seconds: Amount = 1800
    image_seconds: Amount = 600
    settings: str
    quirks: list[str] = Field(default_factory=list)

    def refusal(self, device: str) -> str:
        """Why it does not run on a device; "" where it does."""
        return "needs a GPU; give --device cuda" if self.gpu and device[:4] != "cuda" else ""

    @property
    def commands(self) -> list[list[str]]:
        return [command for command in (self.command, self.command_else) if command]


def _is_requirement(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"expected a requirement such as 'name>=1', found {text!r}") from error
    return text


Requirement = Annotated[str, AfterValidator(_is_requirement)]


class Variant(Card):
    """A method that differs from its card's own in what is named here.

    Attributes:
        options: those of the card, but for these.
    """

    title: Title
    summary: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    parameters: Count | None = None
    scales: list[Count] = Field(default_factory=list, min_length=1)
    licence: str = ""


class Pace(Card):
    """How fast a method was for somebody: seconds for an SR image of so many megapixels."""

    seconds: Amount
    megapixels: float = Field(gt=0)
    source: str


class MethodCard(Card):
    """One way to upscale, and its variants; or the program of a metric.

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
        lookup: module with `fingerprint(options)`, `unavailable(options)` and `builds_on(options)`,
            for a method whose files are found by its options; it imports nothing heavy.
        gpu_gb: memory of a GPU that it needs, about.
        needs: what a machine must have, in words; of a GPU alone they follow from `gpu_gb`.
        pace: with the settings of `official`.
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
    title: Title
    factory: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    weights: list[Weight] = Field(default_factory=list)
    seeded: bool = False
    version: Count = 1
    scales: list[Count] = Field(default_factory=list, min_length=1)
    parameters: Count | None = None
    steps: Count | None = None
    max_workers: Count | None = None
    packages: list[Requirement] = Field(default_factory=list)
    lookup: str = ""
    gpu_gb: Natural = 0
    needs: str = ""
    pace: Pace | None = None
    ran: str = ""
    official: Official | None = None
    summary: str = ""
    paper: str = ""
    repository: str = ""
    licence: str
    note: str = ""
    deviations: list[str] = Field(default_factory=list)
    variants: dict[FileName, Variant] = Field(default_factory=dict)
    seeds: list[Natural] = Field(default_factory=list)
    training_seed: Natural | None = None

    @model_validator(mode="before")
    @classmethod
    def _needs_a_gpu(cls, said: Any) -> Any:
        size = said.get("gpu_gb") if isinstance(said, dict) else None
        return {"needs": f"a CUDA GPU with about {size} GB", **said} if size else said

    def methods(self) -> "list[MethodCard]":
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
    filled = json.loads(json.dumps(fields).replace("{seed}", str(seed)))
    return {**filled, "name": f"{fields['name']}-{seed}", "training_seed": seed}
