"""Cards of official repositories against those repositories' own argument parsers and files.

Where snapshots of the repositories are at hand (CASSR_REPOSITORIES: a folder with
OWNER+NAME/repo git directories), the scripts themselves are read; elsewhere our description of
their arguments is.
"""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from argument_parsers import Description, Refusal, describe, parser_of

from baselines.lock import _name, _requirements
from bench.methods import lock
from bench.methods.card import MethodCard
from bench.methods.entry import Entry
from bench.methods.find import method_cards, metric_cards

DESCRIPTIONS = Path(__file__).with_name("official_arguments.json")
# A script whose arguments are defined in another file of its repository.
PARSER_FILES = {
    "src/inference_s3diff.py": "src/my_utils/testing_utils.py",
    "basicsr/test.py": "basicsr/utils/options.py",
}
CARDS = {
    name: card
    for name, card in {**method_cards(), **metric_cards()}.items()
    if card.official is not None
}
COMMANDS = [
    pytest.param(name, command, id=f"{name}-{Path(command[0]).stem}")
    for name, card in CARDS.items()
    for command in ([card.official.command, card.official.command_else] if card.official else [])
    if command
]
EXPECTED = {
    *("pasd", "stablesr", "diffbir", "diffbir-v2.1", "seesr", "dasr-2022", "osediff"),
    *("resshift", "sinsr", "s3diff", "invsr", "supir", "faithdiff", "pisa-sr"),
    *("adcsr", "tsd-sr", "hypir", "ccsr", "tadsr", "omgsr-s", "dp2o-sr", "vosr-os", "vosr-ms"),
    *("dit4sr", "dreamclear", "deqa"),
}


@cache
def descriptions() -> dict[str, Description]:
    return json.loads(DESCRIPTIONS.read_text())


def official(name: str) -> MethodCard:
    card = CARDS[name]
    assert card.official is not None
    return card


def key(name: str, script: str) -> str:
    card = official(name)
    assert card.official is not None
    return f"{card.official.repository.removeprefix('https://github.com/')}:{script}"


def snapshot(name: str) -> Path:
    """The git directory of a card's repository; skips where it is not at hand."""
    root = os.environ.get("CASSR_REPOSITORIES")
    card = official(name)
    assert card.official is not None
    owner, repository = card.official.repository.rsplit("/", 2)[-2:]
    folder = Path(root or "-") / f"{owner}+{repository}" / "repo"
    if not root or not folder.exists():
        pytest.skip("no snapshot of the repository at hand; set CASSR_REPOSITORIES")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def arguments_of(card: MethodCard, command: list[str]) -> list[str]:
    """The command with plausible values for its placeholders."""
    values = {"scale": "4", "seed": "0"}
    return [
        re.sub(r"\{(\w+)(:[^}]*)?\}", lambda m: values.get(m[1], f"/path/{m[1]}"), part)
        for part in command[1:]
    ]


def test_every_repository_that_is_promised_has_a_card() -> None:
    assert set(CARDS) == EXPECTED


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_official_parser_takes_the_command(name: str, command: list[str]) -> None:
    card = official(name)
    parser = parser_of(descriptions()[key(name, command[0])])
    parsed = vars(parser.parse_args(arguments_of(card, command)))
    assert "/path/input" in parsed.values() or "/path/config" in parsed.values()
    assert "/path/output" in parsed.values() or "/path/config" in parsed.values()


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_defaults_that_matter_are_given(name: str, command: list[str]) -> None:
    """Scale, steps, guidance, seed and colour fix must not hang on a script's defaults."""
    flags = {flag for entry in descriptions()[key(name, command[0])] for flag in entry["flags"]}
    matter = {
        *("--upscale", "--seed", "--num_inference_steps", "--guidance_scale", "--ddpm_steps"),
        *("--align_method", "--colorfix_type", "--color_fix", "--color_fix_type", "--steps"),
        *("--cfg_scale", "--sampler", "--version", "--captioner", "--config", "--dec_w"),
        *("--edm_steps", "--s_cfg", "--SUPIR_sign", "--num_steps", "--one_step"),
    }
    if name == "sinsr":
        matter -= {"--steps", "--config"}  # of the network, whose checkpoint is given
    if name.startswith("vosr"):
        matter -= {"--config"}  # read nowhere
    assert flags & matter <= set(command), sorted((flags & matter) - set(command))


def test_seconds_are_known_but_where_nobody_published_any() -> None:
    """Each with its source, which says what was timed on; a card without them estimates nothing."""
    paces = {name: card.pace for name, card in CARDS.items() if name in method_cards()}
    unknown = {name for name, pace in paces.items() if pace is None}
    assert unknown == {"dasr-2022", "diffbir-v2.1", "dp2o-sr", "omgsr-s", "tadsr"}
    for pace in filter(None, paces.values()):
        assert re.search(r" on an? \w+|the GPU is not stated", pace.source), pace
        assert 0.05 < pace.seconds / pace.megapixels < 100, pace


def test_a_typo_in_a_card_would_be_found() -> None:
    card = official("seesr")
    assert card.official is not None
    parser = parser_of(descriptions()[key("seesr", "test_seesr.py")])
    for wrong in (["--guidance", "5"], ["--num_inference_steps", "x"], ["--align_method", "none"]):
        with pytest.raises(Refusal):
            parser.parse_args([*arguments_of(card, card.official.command), *wrong])


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_descriptions_are_those_of_the_scripts(name: str, command: list[str]) -> None:
    folder, card = snapshot(name), official(name)
    assert card.official is not None
    file = PARSER_FILES.get(command[0], command[0])
    source = git(folder, "show", f"{card.official.commit}:{file}")
    assert describe(source) == descriptions()[key(name, command[0])]


@pytest.mark.parametrize("name", sorted(CARDS))
def test_sources_are_built_with_all_that_their_builders_import(name: str) -> None:
    """wheel imports packaging from 0.46 on; pip installs nothing that a lock does not name."""
    first = lock.only(lock.read(official(name)), lock.BUILDERS)
    assert {lock.plain(each) for each, _ in lock.packages(first)} == {
        *("setuptools", "wheel", "packaging")
    }


@pytest.mark.parametrize("name", sorted(CARDS))
def test_files_that_a_card_names_are_in_its_repository(name: str) -> None:
    folder, card = snapshot(name), official(name)
    assert card.official is not None
    files = set(git(folder, "ls-tree", "-r", "--name-only", card.official.commit).splitlines())
    commands = [card.official.command, card.official.command_else]
    named = {command[0] for command in commands if command} | set(card.official.requirements)
    named |= {
        part
        for c in commands
        for part in c
        if part.startswith(("configs/", "assets/", "preset/models/osediff.pkl"))
    }
    assert named <= files
    # What setup links into the clone must not lie where the clone has files of its own.
    linked = [*card.official.links.values(), *(s.into for s in card.official.snapshots)]
    assert not {file for file in files for path in linked if f"{file}/".startswith(f"{path}/")}
    for change in card.official.replacements:
        source = git(folder, "show", f"{card.official.commit}:{change.file}")
        assert source.count(change.old) == 1, change


@pytest.mark.parametrize("name", sorted(CARDS))
def test_cards_are_complete(name: str) -> None:
    card = official(name)
    assert card.official is not None
    used = [*card.official.command, *card.official.command_else, card.official.config]
    named = set(re.findall(r"\{weight:([^}]+)\}", " ".join(used)))
    named |= card.official.links.keys() | card.official.unpack.keys()
    assert named == {weight.name for weight in card.weights}
    assert all(weight.url or weight.page for weight in card.weights)
    assert card.paper and card.licence and card.needs and card.official.settings
    assert card.official.quirks and card.official.modules
    # Noise of a fixed seed, which cannot be given, is the same for every seed of ours.
    assert card.official.seeding != "none" if card.seeded else card.official.seeding != "image"


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_card_has_the_lock_that_was_made_from_it(name: str) -> None:
    card = official(name)
    assert card.official is not None
    text = lock.read(card)
    assert text, f"make it again: python -m baselines.lock {name} CLONE"
    packages = dict(lock.packages(text))
    assert {"torch", "setuptools", "wheel"} <= packages.keys()
    assert lock.head(card) + "".join(packages.values()) == text
    for lines in packages.values():
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", lines), lines
    pinned = [lock.plain(package) for package in card.official.packages if "==" in package]
    assert all(f"{name}==" in packages[name] for name in pinned)
    assert not packages.keys() & {lock.plain(package) for package in card.official.without}
    assert bool(card.official.kernels) == bool(card.official.started)


@pytest.mark.parametrize("ref", ["", "@main", "@feature/x"])
def test_a_bare_address_of_gits_is_known_by_its_repository(ref: str) -> None:
    for address in ("https://github.com/openai/CLIP.git", "ssh://git@github.com/openai/CLIP.git"):
        assert _name(f"git+{address}{ref}") == "clip"


def test_a_lock_asks_for_nothing_that_its_card_decides() -> None:
    card = official("dreamclear")
    assert card.official is not None
    wanted = list(_requirements(card.official, str(snapshot("dreamclear"))))
    assert "timm==0.6.12" in wanted
    assert not [line for line in wanted if "gradio" in line or "huggingface/diffusers" in line]


def test_a_card_that_cannot_run_says_what_to_do(clean_home: Path) -> None:
    for name, card in method_cards().items():
        reason = Entry(name, card).unavailable()
        if reason:
            assert re.search(r"run: (cassr-bench|pip) |get it from https?://|; put ", reason), name
