"""Official repositories: cloned, checked, with an environment of their own."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli
from official_example import AS_IS, StandIn, ready
from stand_in import write_card

from bench.base.errors import CardError, Unavailable, WeightsError
from bench.base.progress import Progress
from bench.methods import environment, lock, probe
from bench.methods.find import find as find_method
from bench.methods.find import method_cards
from bench.methods.installation import Installation, ask, call, runs_on
from bench.methods.setup import SetupOptions, link, setup

pytest_plugins = ["official_example"]
pytestmark = pytest.mark.usefixtures("trusted")


def test_paths_written_into_foreign_code_are_replaced(stand_in: StandIn) -> None:
    change = '[[official.replacements]]\nfile = "run.py"\nold = "loading"\nnew = "LOADING"\n'
    card = ready(stand_in, more=change)
    where = Installation(find_method(str(card)).card)
    assert where.problem() == ""
    assert 'print("LOADING"' in (where.repo / "run.py").read_text()
    setup(str(card), AS_IS, Progress(quiet=True))
    assert where.problem() == ""
    (where.repo / "run.py").unlink()
    assert "repository: [Errno 2]" in where.problem() and "run.py" in where.problem()
    setup(str(card), AS_IS, Progress(quiet=True))
    assert where.problem() == ""
    card.write_text(card.read_text().replace('"loading"', '"never there"').replace("LOAD", "L0AD"))
    assert "run.py is not adapted" in Installation(find_method(str(card)).card).problem()
    with pytest.raises(Unavailable, match="expected the text 'never there' once"):
        setup(str(card), AS_IS, Progress(quiet=True))


def test_archives_of_weights_are_unpacked_inside_the_clone(stand_in: StandIn) -> None:
    for member, message in (("net/a.bin", ""), ("../a.bin", "leaves the archive")):
        archive = stand_in.folder / "net.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(member, "weights")
        more = 'unpack = { "net.zip" = "runs" }\n[[weights]]\nname = "net.zip"\n'
        target = Path(os.environ["CASSR_BENCH_CACHE"]) / "weights" / "net.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(archive, target)
        (target.parents[1] / "weights.json").unlink(missing_ok=True)
        where = Installation(find_method(str(stand_in.card(more=more))).card)
        if message:
            with pytest.raises(WeightsError, match=message):
                ready(stand_in, more=more)
            assert not (where.root / "a.bin").exists()
        else:
            ready(stand_in, more=more)
            (where.repo / ".git" / "HEAD").unlink()
            ready(stand_in, more=more)
            assert (where.repo / "runs" / "net" / "a.bin").read_text() == "weights"
            assert where.problem() == ""


# -- setup and doctor ----------------------------------------------------------------------------


def test_what_is_missing_is_said_with_the_command(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    done = cli("doctor", card)
    assert done.returncode == 1
    assert "repository: not cloned" in done.stdout
    assert f"cassr-benchsetup{card}" in "".join(done.stdout.split())
    refused = cli("upscale", "--method", card, "--input", stand_in.inputs, "--output", "out")
    assert refused.returncode == 2
    assert "not cloned" in refused.stderr and "cassr-bench setup" in refused.stderr


def test_setup_is_done_once_and_then_found(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    first = cli("setup", card, "--python", sys.executable, "--as-is")
    assert first.returncode == 0, first.stderr
    assert f"repository: cloned, at {stand_in.commit[:12]}" in first.stdout
    second = cli("setup", card, "--python", sys.executable, "--as-is")
    assert "repository: is there" in second.stdout
    assert cli("doctor", card).returncode == 0


@pytest.mark.slow
def test_setup_builds_an_environment_of_its_own(cli: Cli, stand_in: StandIn) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('modules = ["PIL"]', "modules = []"))
    done = cli("setup", card, "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    where = Installation(find_method(str(card)).card)
    assert where.python == where.root / "environment" / "bin" / "python"
    assert where.record()["packages_installed"] is True
    assert cli("doctor", card).returncode == 0


@pytest.mark.parametrize("change", ["commit", "file", "module", "damage", "no git", "gone"])
def test_a_changed_installation_is_noticed(
    stand_in: StandIn, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ready(stand_in)
    where = Installation(find_method(str(card)).card)
    assert where.problem() == ""
    if change == "commit":
        make = ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty"]
        subprocess.run(["git", "-C", str(where.repo), *make, "-m", "x"], check=True)
        assert f"expected {stand_in.commit[:12]}" in where.problem()
        setup(str(card), AS_IS, Progress(quiet=True))
        assert where.problem() == ""
    elif change == "file":
        (where.repo / "run.py").write_text("print('tampered')")
        assert "run.py was changed" in where.problem()
    elif change == "module":
        card.write_text(card.read_text().replace('["PIL"]', '["PIL", "no_such_module"]'))
        problem = Installation(find_method(str(card)).card).problem()
        assert "No module named 'no_such_module'" in problem
    elif change == "damage":
        (where.repo / ".git" / "HEAD").unlink()
        assert "repository: git " in where.problem() and "; run: cassr-bench" in where.problem()
        setup(str(card), AS_IS, Progress(quiet=True))
        assert where.problem() == ""
    elif change == "no git":
        monkeypatch.setenv("PATH", str(stand_in.folder))
        assert "repository: git is not installed" in where.problem()
    else:
        (where.root / "setup.json").unlink()
        assert "environment: not built" in where.problem()


def test_a_commit_that_is_not_there_leaves_no_half_clone(stand_in: StandIn) -> None:
    card = write_card(stand_in.folder / "card.toml", stand_in.origin, "0" * 40)
    with pytest.raises(Unavailable, match=r"git .*checkout"):
        setup(str(card), AS_IS, Progress(quiet=True))
    where = Installation(find_method(str(card)).card)
    assert not where.repo.exists()
    assert [path.name for path in where.root.iterdir()] == ["setup.log"]


def test_setup_says_which_interpreter_it_wants(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('python = "3.11"', 'python = "3.4"'))
    monkeypatch.setattr("shutil.which", lambda name, **where: None)
    with pytest.raises(Unavailable, match=r"Python 3.4 is needed.*--python FILE, or use --conda"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    with pytest.raises(Unavailable, match="no conda, mamba or micromamba"):
        setup(str(card), SetupOptions(conda=True), Progress(quiet=True))


def test_an_interpreter_is_tried_before_it_is_taken(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = stand_in.folder / "pyenv" / "shims" / "python3.4"
    shim.parent.mkdir(parents=True)
    said = "pyenv: python3.4: command not found\n\nversions to be found at the same time."
    shim.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 127\n")
    shim.chmod(0o755)
    card = stand_in.card()
    card.write_text(card.read_text().replace('python = "3.11"', 'python = "3.4"'))
    monkeypatch.setenv("PATH", f"{shim.parent}:{stand_in.folder}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match=r"3.4: pyenv: python3.4: command not found; install it"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    # What the shim refuses to start is there all the same, beside it.
    real = shim.parents[1] / "versions" / "3.4.10" / "bin" / "python3.4"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\n[ $1 = -c ] && echo 3.4 && exit\necho made with $0\nexit 1\n")
    real.chmod(0o755)
    with pytest.raises(Unavailable, match=r"made with .*/versions/3.4.10/bin/python3.4"):
        setup(str(card), SetupOptions(), Progress(quiet=True))
    real.write_text("#!/bin/sh\necho Warning: added a host >&2\necho fatal: no right >&2\nexit 1\n")
    assert ask(real, "")[1] == "fatal: no right"
    real.unlink()
    uv = stand_in.folder / "uv"
    uv.write_text("#!/bin/sh\necho asked: $@\nexit 1\n")
    uv.chmod(0o755)
    with pytest.raises(Unavailable, match=r"asked: venv --seed --python 3.4"):
        setup(str(card), SetupOptions(), Progress(quiet=True))


def test_a_script_is_started_by_setup(stand_in: StandIn) -> None:
    lines = setup(str(stand_in.card()), AS_IS, Progress(quiet=True))
    assert any(line.startswith("start: run.py prints its help: usage: run.py") for line in lines)
    named = [line for line in lines if "not installed" in line]
    assert len(named) == 1 and "logger_of_theirs, named in run.py, line" in named[0]
    with pytest.raises(Unavailable, match=r"run.py does not start: .*module_of_theirs"):
        setup(str(stand_in.card("does not start")), AS_IS, Progress(quiet=True))


PYTHONS = sorted({card.official.python for card in method_cards().values() if card.official})


@pytest.mark.parametrize("version", PYTHONS)
def test_each_python_that_a_card_names_starts_scripts(version: str, tmp_path: Path) -> None:
    python, _ = environment._interpreter(version, None)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    script, result = tmp_path / "run.py", tmp_path / "result.json"
    script.write_text("import argparse, theirs\nargparse.ArgumentParser().parse_args()\n")
    (tmp_path / "theirs.py").write_text("def later():\n    import nowhere\n")
    command = [str(python), str(probe.__file__), str(result), script.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert found["code"] == 0 and found["help"].startswith("usage: run.py")
    assert found["missing"] == {"nowhere": "theirs.py, line 2"}


def test_what_starts_scripts_is_written_for_the_oldest_python() -> None:
    """Also where that Python is not at hand: its syntax, and nothing that it cannot evaluate."""
    oldest = min(tuple(map(int, version.split("."))) for version in PYTHONS)
    tree = ast.parse(Path(probe.__file__).read_text(encoding="utf-8"), feature_version=oldest)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    evaluated = [each.returns for each in functions]
    evaluated += [argument.annotation for each in functions for argument in each.args.args]
    evaluated += [node.annotation for node in tree.body if isinstance(node, ast.AnnAssign)]
    bad = [each for each in evaluated if isinstance(each, (ast.Subscript, ast.BinOp))]
    assert not bad, [ast.unparse(each) for each in bad]


def test_a_script_that_asks_for_a_gpu_is_started_so_far(stand_in: StandIn) -> None:
    card = stand_in.card("asks for a GPU")
    with pytest.raises(Unavailable, match="does not start: ValueError: Currently support CUDA"):
        setup(str(card), AS_IS, Progress(quiet=True))
    card.write_text(card.read_text().replace("gpu = false", "gpu = true"))
    lines = setup(str(card), AS_IS, Progress(quiet=True))
    assert any("run.py starts until it asks for a GPU" in line for line in lines)


def test_a_lock_is_installed_as_it_is_what_builds_first(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Installation(find_method(str(stand_in.card())).card)
    where.root.mkdir(parents=True)
    hashed = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
    text = "".join(f"{line}{hashed}" for line in ("pip-net==1.0", "setuptools==69.5.1"))
    monkeypatch.setattr(lock, "read", lambda card: lock.head(card) + text)
    monkeypatch.setattr(environment, "ask", lambda python, code: ("3.11", ""))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    called: list[list[str]] = []
    run = "bench.methods.environment.call"
    monkeypatch.setattr(run, lambda command, *rest: called.append(command))
    monkeypatch.setattr("shutil.which", lambda name, **where: None)
    with stand_in.folder.joinpath("log").open("w") as log:
        assert environment.install(where, log) == "packages: 2 installed as locked"
    assert all({"--require-hashes", "--no-deps"} <= set(command) for command in called)
    first, then = (Path(command[-1]).read_text(encoding="utf-8") for command in called)
    assert first == f"setuptools==69.5.1{hashed}" and then.endswith(text)


def test_why_a_step_failed_is_its_last_error_not_a_hint_after_it(tmp_path: Path) -> None:
    said = "WARNING: Error\\nModuleNotFoundError: No module named 'packaging'\\nhint: See above."
    with (tmp_path / "log").open("w") as log:
        log.write("TypeError: of another step\n")
        for text, why in ((said, "No module named 'packaging';"), ("one\\ntwo", "two;")):
            command = [sys.executable, "-c", f'print("""{text}"""); raise SystemExit(1)']
            with pytest.raises(Unavailable, match=f"the lock failed: .*{why} all of it: "):
                call(command, log, "installing the lock")


def test_a_card_that_was_changed_has_no_lock() -> None:
    card = find_method("seesr").card
    assert card.official is not None and lock.read(card)
    other = card.official.model_copy(update={"packages": ["torch==2.1"]})
    assert lock.read(card.model_copy(update={"official": other})) == ""


@pytest.mark.parametrize(
    ("kernels", "runs"),
    [
        (["sm_80", "sm_86"], {(8, 0): True, (8, 9): True, (9, 0): False, (7, 5): False}),
        (["sm_70", "compute_70"], {(9, 0): True, (7, 0): True, (6, 1): False}),
        (["sm_90a", "sm_100"], {(9, 0): True, (10, 0): True, (12, 0): False}),
    ],
)
def test_kernels_say_on_which_gpus_they_run(
    kernels: list[str], runs: dict[tuple[int, int], bool]
) -> None:
    assert {gpu: runs_on(kernels, gpu) for gpu in runs} == runs


def test_an_unknown_placeholder_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    card = stand_in.card()
    card.write_text(card.read_text().replace('"{seed}"', '"{sead}"'))
    setup(str(card), AS_IS, Progress(quiet=True))
    method = find_method(str(card)).load("cpu")
    inputs = {path.stem: path for path in stand_in.inputs.iterdir()}
    with pytest.raises(CardError, match=r"unknown placeholder \{sead\}"):
        list(method.upscale_set(inputs, tmp_path / "w", scale=4, seed=0, watch=print))  # type: ignore[union-attr]


def test_links_stay_inside_the_clone(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "w").write_text("x")
    for outside in (tmp_path / "elsewhere", tmp_path / "repo" / ".." / "w2"):
        with pytest.raises(Unavailable, match="expected a path inside"):
            link(tmp_path / "w", outside, tmp_path / "repo")
    link(tmp_path / "w", tmp_path / "repo" / "a" / "w", tmp_path / "repo")
    assert (tmp_path / "repo" / "a" / "w").read_text() == "x"


def test_weights_that_came_after_setup_are_not_taken_for_linked(stand_in: StandIn) -> None:
    more = 'links = { "w.bin" = "inside/w.bin" }\n[[weights]]\nname = "w.bin"\n'
    card = stand_in.card(more=more)
    setup(str(card), replace(AS_IS, weights=False), Progress(quiet=True))
    where = Installation(find_method(str(card)).card)
    where_it_belongs = Path(os.environ["CASSR_BENCH_CACHE"]) / "weights" / "w.bin"
    where_it_belongs.parent.mkdir(parents=True, exist_ok=True)
    where_it_belongs.write_bytes(b"\x80\x01")
    assert "w.bin: not yet at inside/w.bin in the clone; run: cassr-bench setup" in where.problem()
    setup(str(card), AS_IS, Progress(quiet=True))
    assert where.problem() == ""
    assert (where.repo / "inside" / "w.bin").read_bytes() == b"\x80\x01"


def test_packages_are_installed_anew_when_the_card_wants_others(stand_in: StandIn) -> None:
    card = ready(stand_in)
    where = Installation(find_method(str(card)).card)
    assert environment.are_there(where)
    card.write_text(card.read_text().replace("modules =", 'packages = ["numpy<2"]\nmodules ='))
    changed = Installation(find_method(str(card)).card)
    assert not environment.are_there(changed)
    card.write_text(card.read_text().replace('packages = ["numpy<2"]\n', "").replace("PIL", "P1L"))
    assert not environment.are_there(Installation(find_method(str(card)).card))


def test_a_model_folder_without_its_weights_is_not_taken_for_whole(stand_in: StandIn) -> None:
    more = '[[official.snapshots]]\nrepository = "them/model"\ninto = "model"\n'
    card = stand_in.card(more=more + 'files = ["config.json", "unet/*"]\n')
    setup(str(card), replace(AS_IS, weights=False), Progress(quiet=True))
    where = Installation(find_method(str(card)).card)
    assert "expected at model in the clone; run: cassr-bench setup" in where.problem()
    (where.repo / "model" / "unet").mkdir(parents=True)
    (where.repo / "model" / "config.json").write_text("{}")
    assert "expected at model in the clone, where unet/* is missing" in where.problem()
    (where.repo / "model" / "unet" / "weights.bin").write_text("x")
    assert where.problem() == ""


def test_what_a_build_imports_is_installed_first(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = 'build = ["torch"]\nrequirements = ["r.txt"]\npackages = ["extra"]\nmodules ='
    card = stand_in.card()
    card.write_text(card.read_text().replace("modules =", lists))
    called: list[list[str]] = []
    run = "bench.methods.environment.call"
    monkeypatch.setattr(run, lambda command, *rest: called.append(command))
    with stand_in.folder.joinpath("log").open("w") as log:
        found = environment.install(Installation(find_method(str(card)).card), log)
    assert found == "packages: installed"
    assert [command[-1] for command in called] == ["torch", "r.txt", "extra"]
