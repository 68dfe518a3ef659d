"""The installed package: everything it needs travels in the wheel; starting is quick and light."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Cli
from typer import Typer

from bench.base.lazy import resolve
from bench.base.progress import Progress
from bench.cli import COMMANDS
from bench.commands import listing
from bench.commands.doctor import _computing
from bench.methods import lock
from bench.methods.find import find, method_cards
from bench.running.try_method import _seed, try_method

HEAVY = ("torch", "pandas", "numpy", "PIL", "matplotlib", "pyiqa", "diffusers")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building needs hatchling (extra 'dev')")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_packages_cards_and_published_tables_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "bench/py.typed",
        "bench/suites/quick.toml",
        "bench/data/cards/quick-realistic.toml",
        "bench/data/photos/packaged.toml",
        "baselines/cards/bicubic.toml",
        "baselines/metrics/deqa.toml",
        "bench/published/cassr.csv",
        "bench/reports/html/page/index.html",
        "bench/reports/html/page/report.css",
        "cassr/models/cassr-mini/README.md",
        "cassr/models/cassr-mini/unet/diffusion_pytorch_model.safetensors",
    ):
        assert needed in names, needed
    ours = [file for top in ("baselines", "bench", "cassr") for file in (ROOT / top).rglob("*.py")]
    assert {file.relative_to(ROOT).as_posix() for file in ours} <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "bench",
        "baselines",
        "cassr",
    }


def test_lock_pins_what_the_constraints_pin_and_every_file_by_hash() -> None:
    locked = dict(lock.packages((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    both = {name: lines for name, lines in locked.items() if name in map(lock.plain, pinned)}
    assert len(both) > 150
    for name, version in pinned.items():
        if lines := both.get(lock.plain(name)):
            assert lines.startswith(f"{lock.plain(name)}=={version} "), "run: nox -s lock"
    assert all("--hash=sha256:" in lines for lines in locked.values())
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in (*wanted["dependencies"], *wanted["optional-dependencies"]["dev"]):
        assert lock.plain(requirement) in locked, "run: nox -s lock"


def test_versions_are_looked_up_among_vulnerabilities_at_every_change_and_each_week() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert {"pull_request", "push", "schedule"} <= workflow[True].keys()  # YAML reads `on` as that
    assert workflow["jobs"]["audit"]["steps"][-1] == {"run": "nox -s audit"}
    assert workflow["env"]["CASSR_BENCH_LOCKED"] == "1"
    audit = (ROOT / "noxfile.py").read_text(encoding="utf-8").partition("def audit(")[2]
    assert '"pip-audit", "--strict"' in audit.partition("@nox")[0]


def test_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--target", site, wheel], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80"}
    out, store = tmp_path / "out", tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", "import json, bench; from bench.cli import main;"
         "from bench.methods.find import find; print(bench.__file__);"
         "print(json.dumps(find('cassr-mini').fingerprint())); main()", "run", "quick",
         "--methods", "bicubic", "--metrics", "psnr_y", "--limit", "1", "--reports", "markdown",
         "--datasets", "quick-bicubic",
         "--out", str(out), "--store", str(store)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place, model, *_ = done.stdout.splitlines()
    assert place.startswith(str(site))
    assert json.loads(model) == find("cassr-mini").fingerprint(), "the same code and weights"
    assert (out / "table.md").is_file()


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from bench.cli import build\n"
        "for words in (['--help'], ['run', '--help'], ['--version']):\n"
        "    build(words)(words, standalone_mode=False)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "cassr-bench 0." in done.stdout


def test_importing_the_interface_is_light() -> None:
    code = (
        "import sys\n"
        "import bench\n"
        "bench.__version__, dir(bench), bench.BenchError\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
        "bench.run, bench.Evaluator\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules and m not in ('numpy', 'PIL')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_a_summary_is_the_first_line_of_its_command() -> None:
    for command in COMMANDS.values():
        function = resolve(f"bench.commands.{command['code']}")
        if not isinstance(function, Typer):
            assert function.__doc__.splitlines()[0] == command["summary"]


def test_every_command_explains_itself(cli: Cli) -> None:
    listed = cli("--help").stdout.partition("Commands:")[2].split("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    assert {"run", "upscale", "score", "report", "list", "fetch", "doctor"} <= set(names)
    assert "..." not in listed
    for name in names:
        done = cli(name, "--help")
        assert done.returncode == 0 and "Example: cassr-bench" in done.stdout, name
        assert max(map(len, done.stdout.splitlines())) <= 100
        assert not re.search(r"--[\w-]+ <", done.stdout), "the type of a value, not a word for it"


@pytest.mark.parametrize("kind", ["methods", "datasets", "metrics", "suites", "reports"])
def test_list_prints_every_name_within_80_columns(cli: Cli, kind: str) -> None:
    rows = json.loads(cli("list", kind, "--json").stdout)
    done = cli("list", kind)
    assert rows and done.returncode == 0
    assert all(row["name"] in done.stdout for row in rows)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_doctor_names_what_is_missing_and_the_command_that_mends_it(cli: Cli) -> None:
    done = cli("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok      torch" in done.stdout and "mend: cassr-bench fetch lpips" in done.stdout
    summary = " ".join(done.stdout.partition("\n\n")[0].split())
    assert re.match(r"nothing broken; ready: \d+ of \d+ others, \d+ of \d+ metrics", summary)


def test_lists_have_a_line_each_and_can_be_narrowed(cli: Cli) -> None:
    lines = cli("list", "methods").stdout.partition("\n\n")[0].splitlines()
    assert len(lines) == len(listing.rows("methods"))
    ready = json.loads(cli("list", "methods", "--ready", "--search", "PILLOW", "--json").stdout)
    assert [row["name"] for row in ready] == ["bicubic", "lanczos", "nearest"]
    assert listing.chosen(listing.rows("reports"), False, "unavailable") == [], "no word of ours"
    suites = {row["name"]: row["unavailable"] for row in listing.rows("suites")}
    parts = "9 of 9 methods, 3 of 3 test sets, 7 of 7 metrics"
    assert suites["table1"] == f"{parts}; run: cassr-bench fetch table1"
    assert suites["quick"] == "", "it runs without the learned metrics whose weights are not here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rn",), "No such command 'rn'. Did you mean 'run'?"),
        (("run",), "Missing argument 'SUITE'."),
        (("run", "quick", "--limit", "x"), "Invalid value for '--limit'"),
        (("run", "nosuch"), "unknown suite 'nosuch'"),
    ],
)
def test_every_error_is_spelled_alike(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Error:" not in done.stderr


def test_the_shell_completes_options_of_a_command(cli: Cli) -> None:
    words = "cassr-bench report --panel"
    asked = {
        "_CASSR_BENCH_COMPLETE": "complete_bash",
        "_TYPER_COMPLETE_ARGS": words,
        "COMP_WORDS": words,
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['cassr-bench']; from bench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["--panel-scores"]
    assert "--install-completion" in cli("--help").stdout


def test_fetch_dry_run_says_what_it_would_do(cli: Cli) -> None:
    done = cli("fetch", "quick", "--dry-run")
    assert done.returncode == 0
    assert "alexnet" in done.stdout and "would be fetched from" in done.stdout


def test_fetch_of_what_setup_gets_says_so(cli: Cli) -> None:
    assert "cassr-bench setup" in cli("fetch", "deqa", "--dry-run").stdout


def test_fetch_gets_what_a_protocol_needs(cli: Cli) -> None:
    done = cli("fetch", "--protocol", "seesr", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "LPIPS_v0.1_alex" in done.stdout and "MANIQA" in done.stdout
    assert "NAMES or --protocol" in cli("fetch").stderr


def test_fetch_without_network_says_so_for_each_file_and_fails(cli: Cli) -> None:
    closed = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    done = cli("fetch", "niqe", PIP_RETRIES="0", **closed)
    assert done.returncode == 2
    assert "niqe_modelparameters.mat" in done.stdout and "Traceback" not in done.stderr


METHOD = """
import os, torch, torch.nn.functional as F
start, last = int.from_bytes(os.urandom(4), "big"), []

def noise(x, seed):
    return x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))

def upscale(lr, *, scale, seeds):
    x = F.interpolate(lr, scale_factor=scale)
    {body}
"""
OWN = "torch.cat([noise(x[i : i + 1], seed) for i, seed in enumerate(seeds)])"
BODIES = {
    "return x": "",
    f"return {OWN}": "",
    "return x + 0.1 * torch.randn(x.shape)": "repeat",
    "return noise(x, start)": "repeat",
    "return noise(x, seeds[0])": "batch",
    "return x + x.std(0, unbiased=False)": "batch",
    "assert len(seeds) == 1; return x": "batch",
    "last.append(seeds[0]); return x + 0.2 * (last[0] != last[-1])": "order",
}


@pytest.mark.parametrize("body", list(BODIES))
def test_a_trial_tells_noise_state_and_mixing_apart(
    body: str, clean_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(METHOD.format(body=body))
    checks = try_method(str(tmp_path / "mine.py"), "cpu", Progress(True))
    broken = [check.what for check in checks if check.state == "broken" and check.what != "look"]
    assert broken[:1] == ([BODIES[body]] if BODIES[body] else [])
    found = {check.what: check.found for check in checks}
    if not broken:
        effect = "nothing" if body == "return x" else "the pixels"
        assert found["seed"] == f"another seed changes {effect}"


def test_a_seed_that_the_card_denies_is_found() -> None:
    card = method_cards()["bicubic"]
    assert _seed(card, "").state == "ok"
    assert _seed(card, "1 % of the values").state == "broken"


def test_a_device_that_cannot_compute_is_broken() -> None:
    assert _computing(["cpu"], "CPU").state == "ok"
    check = _computing(["cuda:99"], "a card")
    assert check.state == "broken" and check.found.startswith("cuda:99 cannot compute")
