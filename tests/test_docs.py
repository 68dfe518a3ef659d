"""The docs say what is true: their commands run, their links lead somewhere, nothing is left out.

Blocks marked ``console`` are run, in order, in a folder with a few small images. Blocks marked
``bash`` need a GPU, a hub or hours: of them every command and option must exist.
"""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Cli, plant_quick_sets
from pictures import photo
from PIL import Image

from bench.commands import listing

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.M | re.S)


def commands(page: Path, kind: str) -> list[list[str]]:
    """The `cassr-bench` commands of a page's blocks of one kind, without the program's name."""
    found = []
    for _, tag, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if tag == kind:
            joined = body.replace("\\\n", " ")
            lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
            found += [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in found if words and words[0] == "cassr-bench"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    """Somebody who follows the docs: a folder with the images that the pages speak of."""
    home = tmp_path_factory.mktemp("reader")
    folder = home / "cwd"
    cli = Cli(home / "home", folder)
    plant_quick_sets(home / "home" / "store")
    for name, size in (("my_output", 200), ("ground_truth", 200), ("photos", 40)):
        (folder / name).mkdir()
        for index in range(2):
            pixels = photo(size, size, index + (7 if name == "my_output" else 0))
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    for side, size in (("lr", 50), ("hr", 200)):
        (folder / "my_set" / side).mkdir(parents=True)
        for file in (folder / "ground_truth").iterdir():
            Image.open(file).resize((size, size)).save(folder / "my_set" / side / file.name)
    for page in PAGES:
        for name, body in re.findall(
            r"```python\n\s*# (\w+\.py)\n(.*?)```", page.read_text(), re.S
        ):
            lines = body.splitlines()
            indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
            (folder / name).write_text("\n".join(line[indent:] for line in lines))
    # The README's reader makes this; others may begin at another page.
    cli("upscale", "--method", "lanczos", "--input", "photos", "--output", "big")
    return cli, folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, reader: tuple[Cli, Path]) -> None:
    cli, _ = reader
    for words in commands(page, "console"):
        done = cli(*words)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"


def test_the_readmes_python_runs(reader: tuple[Cli, Path]) -> None:
    cli, folder = reader
    (code,) = re.findall(r"```python\n(import bench\n.*?)```", PAGES[0].read_text(), re.S)
    (folder / "readme.py").write_text(code)
    done = cli(script=folder / "readme.py")
    assert done.returncode == 0, done.stderr
    assert "quick-realistic" in done.stdout and "bicubic" in done.stdout


def test_the_readme_is_read_in_a_minute_and_has_its_two_commands() -> None:
    blocks = {body.strip() for _, _, body in BLOCK.findall(PAGES[0].read_text())}
    assert {"pip install nox && nox -s leaderboard", "nox -s tests"} <= blocks
    assert len(PAGES[0].read_text().splitlines()) < 120


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What the commands say of themselves, by name."""
    return {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_not_run_exist_with_all_their_options(
    page: Path, cli: Cli, helps: dict[str, str]
) -> None:
    for words in commands(page, "bash"):
        name = words[0]
        if name not in helps:
            done = cli(name, "--help")
            assert done.returncode == 0, f"{page.name}: no command '{name}'"
            helps[name] = done.stdout
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", helps[name]), f"{page.name}: {name} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in readme, page.name


def test_every_page_is_on_the_site() -> None:
    def pages(nav: object) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        parts = nav.values() if isinstance(nav, dict) else nav
        return [page for part in parts for page in pages(part)]  # type: ignore[union-attr]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert sorted(pages(site["nav"])) == sorted(page.name for page in PAGES[1:])


def test_the_gate_of_this_repository_is_the_one_that_the_page_shows() -> None:
    shown = (ROOT / "docs" / "gate.md").read_text().partition("## GitHub Actions\n")[2]
    block = re.search(r"```yaml\n(.*?)```", shown, re.S)
    assert block is not None
    workflow = (ROOT / ".github" / "workflows" / "gate.yml").read_text()
    assert yaml.safe_load(workflow) == yaml.safe_load(block[1])


def test_every_command_is_documented() -> None:
    from bench.cli import COMMANDS

    text = "\n".join(page.read_text() for page in PAGES)
    for name in COMMANDS:
        assert f"cassr-bench {name}" in text or f"`{name}" in text, name


@pytest.mark.parametrize("kind", ["metrics", "suites", "reports"])
def test_every_registered_name_is_documented(kind: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [row["name"] for row in listing.rows(kind) if row["name"] not in text]
    assert missing == []
