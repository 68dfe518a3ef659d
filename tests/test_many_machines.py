"""Parts of a run: under a launcher, as independent jobs, and when one of them dies."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import results_example as ex
import torch
import typer
from conftest import ROOT, Cli, plant_quick_sets
from substitutes import plant

from bench import metrics
from bench.base.errors import BenchError, Unavailable
from bench.cluster import connection
from bench.cluster.node import packed, unpacked
from bench.commands.run import _with_other_parts
from bench.commands.train.stage import TrainingCommand
from bench.processes.workers import worker_count
from bench.running import shards
from bench.running.collect import RunOutcome
from bench.running.options import Shard

METHOD = """
import time
import torch

def upscale(lr, *, scale, seeds):
    time.sleep({pause})
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + 0.1 * noise, scale_factor=scale)
"""
RUN = (
    *("run", "quick", "--methods", "bicubic,noisy.py", "--metrics", "psnr_y,gmsd"),
    *("--datasets", "quick-bicubic", "--limit", "4", "--reports", "csv,markdown"),
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    """A folder with a seeded method in it, and the reports of an undivided run."""
    root = tmp_path_factory.mktemp("many")
    cli = Cli(root / "home", root / "cwd")
    (root / "cwd" / "noisy.py").write_text(METHOD.format(pause=0.4))
    for store in (root / "home" / "store", root / "cwd" / "parts", root / "cwd" / "picky"):
        plant_quick_sets(store)
    done = cli(*RUN, "--workers", 1, "--out", "calm")
    assert done.returncode == 0, done.stderr
    assert len(files_of(root / "cwd" / "calm")) >= 3
    return cli, root / "cwd"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "OMP_NUM_THREADS": "1", **more}


ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    "--no_python",
)
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python")


def test_two_processes_that_are_told_of_each_other_end_with_the_same_reports(
    reader: tuple[Cli, Path], tmp_path: Path
) -> None:
    """As by launchers, which are slow to start."""
    cli, cwd = reader
    words = (*RUN, "--device", "cpu", "--store", tmp_path / "store", "--out", tmp_path / "out")
    plant_quick_sets(tmp_path / "store")
    both = [cli.start(*words, WORLD_SIZE="2", RANK=k, LOCAL_RANK=k) for k in "01"]
    for done in [process.done() for process in both]:
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.findall(r"noisy on .*: ([12]/\d)", done.stderr) == ["2/2"], done.stderr
    assert files_of(tmp_path / "out") == files_of(cwd / "calm")


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [pytest.param(ACCELERATE, id="accelerate"), pytest.param(TORCHRUN, id="torchrun")],
)
def test_launched_parts_end_with_the_same_reports(
    launcher: tuple[str, ...], reader: tuple[Cli, Path], clean_home: Path, tmp_path: Path
) -> None:
    """accelerate's launcher of one process per GPU, on a machine that may have none."""
    cli, cwd = reader
    done = subprocess.run(
        [
            *(sys.executable, "-m", *launcher, cli.program, *RUN, "--device", "cpu"),
            *("--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")),
        ],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert files_of(tmp_path / "out") == files_of(cwd / "calm")
    assert re.findall(r"noisy on .*: ([12]/\d)", done.stderr) == ["2/2", "2/2"], done.stderr


def test_a_part_that_dies_is_started_again(reader: tuple[Cli, Path], clean_home: Path) -> None:
    cli, cwd = reader
    arguments = [*RUN, "--workers", "1", "--store", "parts", "--out", "parts-out"]
    process = cli.start(*arguments, "--shard", "2/2")
    stored = cwd / "parts" / "images"
    process.until(lambda: list(stored.glob("noisy-*/*/records/*.jsonl")))
    time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    first = cli(*arguments, "--shard", "1/2")
    assert first.returncode == 0, first.stderr
    assert re.search(r"Part 1/2 is done; other parts still owe [1-9]\d* scores", first.stdout)
    assert not (cwd / "parts-out").exists()
    told = cli(*arguments, "--shard", "1/2", "--json")
    assert json.loads(told.stdout)["owed"] > 0
    second = cli(*arguments, "--shard", "2/2")
    assert second.returncode == 0, second.stderr
    assert "noisy on Photos, bicubic: 2/2" not in second.stderr, "one of its two images was kept"
    assert files_of(cwd / "parts-out") == files_of(cwd / "calm")


def test_an_image_that_fails_in_its_part_is_told_and_left_to_the_whole(
    reader: tuple[Cli, Path],
) -> None:
    cli, cwd = reader
    (cwd / "picky.py").write_text(
        "def upscale(lr, *, scale, seeds):\n    raise RuntimeError('no memory')\n"
    )
    run = ("run", "quick", "--methods", "bicubic,picky.py", *RUN[4:-4], "--limit", 2)
    arguments = (*run, "--workers", 1, "--store", "picky", "--out", "picky-out", "--reports", "csv")
    first = cli(*arguments, "--shard", "1/2")
    assert first.returncode == 1 and "no memory" in first.stderr
    assert "Part 1/2 is done; other parts still owe 4 scores" in first.stdout
    last = cli(*arguments)
    assert last.returncode == 1
    text = (cwd / "picky-out" / "scores.csv").read_text()
    assert text.count("no memory") == 4 and "not upscaled yet" not in text


def test_a_part_tells_the_failures_and_debts_of_all_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shards, "whole", lambda _, own: own)
    cards = [SimpleNamespace(name=name, seeded=name == "noisy") for name in ("noisy", "fixed")]
    options = SimpleNamespace(shard=Shard(1, 2), store=None)
    plan: Any = SimpleNamespace(options=options, methods=[SimpleNamespace(card=c) for c in cards])
    results = ex.results({("d", c.name, "a", "psnr_y"): "not yet" for c in cards}, [ex.PSNR])
    owing = dataclasses.replace(results, scores=results.scores.assign(kind="pending"))
    own = [RunOutcome(owing, ()), RunOutcome(owing, (("noisy a", "no memory"),))]
    with pytest.raises(typer.Exit) as ended:
        _with_other_parts([plan, plan], own, [], as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"shard": "1/2", "owed": 3, "failures": [["noisy a", "no memory"]]}
    assert ended.value.exit_code == 1


@pytest.mark.usefixtures("quick_sets")
def test_a_part_that_scores_whole_sets_alone_owes_them(
    cli: Cli, clean_home: Path, tmp_path: Path
) -> None:
    fid = metrics.find("fid")
    plant(fid, clean_home / "torch" / "hub")
    allowed = {"CASSR_BENCH_SUBSTITUTE_WEIGHTS": fid.weights[0].name}
    run = ("run", "quick", "--methods", "nearest", "--datasets", "quick-bicubic", "--limit", 2)
    arguments = (*run, "--metrics", "fid", "--reports", "csv", "--no-fetch", "--out", "out")
    first = cli(*arguments, "--shard", "1/2", **allowed)
    assert first.returncode == 0, first.stderr
    assert "Part 1/2 is done; other parts still owe 1 scores" in first.stdout
    assert not (tmp_path / "cwd" / "out").exists()
    last = cli(*arguments, "--shard", "2/2", **allowed)
    assert last.returncode == 0, last.stderr
    assert "are missing" not in (tmp_path / "cwd" / "out" / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("quick", "--", "--shard", "1/2"), "--shard: is not for single parts; leave it out"),
        (("quick", "--", "--dry-run"), "--dry-run: is not for single parts"),
        (("quikc",), "did you mean 'quick'"),
        (("quick", "--setting", "gpu"), "--setting: expected NAME=VALUE, found 'gpu'"),
        (("quick",), "--to slurm: jobs cannot be sent"),
    ],
)
def test_what_cannot_be_submitted_is_refused(cli: Cli, words: tuple[str, ...], said: str) -> None:
    pytest.importorskip("submitit")
    done = cli("submit", *words)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
def test_submitted_parts_write_the_reports_and_go_on(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    choice = ("--datasets", "quick-bicubic", "--metrics", "psnr_y", "--limit", 2)
    run = ("--methods", "nearest", *choice, "--reports", "csv", "--store", "store")
    submit = ("submit", "quick", "--parts", 2, "--to", "local", "--wait", "--json", "--")
    for _ in range(2):
        done = cli(*submit, *run, "--out", "out")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["jobs"]) == 2
    cli("run", "quick", *run, "--out", "alone")
    alone, parts = (tmp_path / "cwd" / name / "scores.csv" for name in ("alone", "out"))
    assert parts.read_bytes() == alone.read_bytes()
    failed = cli(*submit, *run, "--datasets", "nowhere", "--out", "other")
    assert failed.returncode == 1 and len(json.loads(failed.stdout)["failed"]) == 2


def test_several_processes_work_for_a_gpu_where_asked() -> None:
    assert worker_count(None, "cuda", 10) == 1
    assert worker_count(2, "cuda", 10) == 2
    assert worker_count(2, "cuda", 1) == 1


Placed = tuple[tuple[int, int], str, int | None]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Placed]:
    """`shards.place` where these variables alone are set."""

    def placed(*given: Any) -> Placed:
        with monkeypatch.context() as patched:
            patched.setattr(os, "environ", given[-1])
            return shards.place(*given[:-1])

    return placed


def test_launchers_give_part_and_share_of_the_cores(
    place: Callable[..., Placed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "cores", lambda: 8)
    launched = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert place(None, "cpu", None, launched) == ((6, 8), "cpu", 2)
    assert place("2/3", "cpu", 5, launched) == ((2, 3), "cpu", 5)
    mvapich = {f"MV2_COMM_WORLD_{name}": "2" for name in ("LOCAL_RANK", "LOCAL_SIZE")}
    assert place(None, "cpu", None, mvapich)[2] == 4
    mpi = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}
    assert place(None, "cpu", None, mpi)[0] == (3, 3)
    assert place(None, "cpu", None, {}) == ((1, 1), "cpu", None)
    assert place(None, "cpu", None, {"RANK": "0"}) == ((1, 1), "cpu", None)
    monkeypatch.setattr(shards, "resolve_device", lambda name: name.replace("auto", "cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("auto", "cuda"):
        assert place(None, device, None, launched) == ((6, 8), "cuda:1", None)
    third = {**launched, "LOCAL_RANK": "2"}
    assert place(None, "auto", None, third)[1] == "cuda:0", "two processes share a GPU"
    mvapich["MV2_COMM_WORLD_LOCAL_RANK"] = "1"
    assert place(None, "auto", None, mvapich)[1] == "cuda:1"
    assert place(None, "cuda:3", None, launched)[1] == "cuda:3"
    assert place(None, "auto", None, {})[1] == "cuda"


def test_what_makes_references_has_the_gpu_that_its_process_trains_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current: list[str] = []
    loaded = SimpleNamespace(load=current.append, unavailable=str, fingerprint=dict)
    loaded.card = SimpleNamespace(official=None)
    monkeypatch.setattr(shards, "resolve_device", lambda name: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr("bench.methods.find.find", lambda name: loaded)
    for name, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    options: Any = SimpleNamespace(streaming=False, reference_method="a method")
    command = TrainingCommand("guidance", *(options,) * 4, device="auto", as_json=False)
    assert command._reference_method() is not None
    assert current == ["cuda:1", "cuda:1"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "process 2 of 2, say .* expected a number below"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x: expected a number"),
    ],
)
def test_variables_without_sense_are_named(
    variables: dict[str, str],
    expected: str,
    place: Callable[..., Placed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(BenchError, match=expected):
        place(None, "cpu", None, variables)
    monkeypatch.setattr(os, "environ", variables)
    assert shards.own_device("cpu") == ("cpu", None), "training has no parts"


def test_a_part_that_is_done_tells_what_was_not_made_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan: Any = SimpleNamespace(options=SimpleNamespace(shard=Shard(1, 2), store=Path()))
    own: Any = SimpleNamespace(failures=())
    monkeypatch.setattr(shards, "whole", lambda *each: own)
    monkeypatch.setattr(shards, "owed", lambda *each: 4)
    for unready, code in (([], 0), (["Set5"], 1)):
        with pytest.raises(typer.Exit) as ended:
            _with_other_parts([plan], [own], unready, as_json=False)
        assert ended.value.exit_code == code


def test_slurm_script_runs_every_part(reader: tuple[Cli, Path], tmp_path: Path) -> None:
    """The array of the docs, its tasks run here one after another."""
    cli, cwd = reader
    text = (ROOT / "docs" / "many-machines.md").read_text()
    script = re.search(r"```sh\n(#!/bin/bash.*?)```", text, re.S)
    assert script
    (tmp_path / "array.sh").write_text(script[1])
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "cassr-bench"
    program.write_text(f'#!/bin/bash\nshift 2\nexec {cli.program} {" ".join(RUN)} "$@"\n')
    program.chmod(0o755)
    for task in ("3", "4"):
        done = subprocess.run(
            ["bash", str(tmp_path / "array.sh")],
            cwd=cwd,
            env=environment(
                PATH=f"{program.parent}:{os.environ['PATH']}",
                STORE=str(tmp_path / "store"),
                SLURM_ARRAY_TASK_ID=task,
                SLURM_ARRAY_TASK_MIN="3",
                SLURM_ARRAY_TASK_COUNT="2",
            ),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert ("Part 1/2 is done" in done.stdout) == (task == "3")
    assert files_of(tmp_path / "store" / "reports") == files_of(cwd / "calm")


def test_where_to_work_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="expected local, ray or ray://HEAD:PORT, found 'rays'"):
        connection.device("rays", "cpu")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BenchError, match=r"needs Ray; run: pip install 'cassr-bench\[ray\]'"):
        connection.device("ray", "cpu")
    assert connection.device("local", "cpu") == "cpu"


def test_a_cluster_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as free:
        there = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", there)
        assert connection.connected("ray") is ray
    for on in ("ray", f"ray://{there}"):
        with pytest.raises(BenchError, match=f"--on {on}: cannot join the cluster .*refused"):
            connection.connected(on)


def test_what_travels_names_files_as_the_driver_does(tmp_path: Path) -> None:
    file, root = "/home/me/noisy.py", str(tmp_path)
    sent = packed((file, f"spandrel:{file}", "else", Path(file), Path("a.png")), [file])
    here = (f"{root}{file}", f"spandrel:{root}{file}", "else", Path(root + file), Path("a.png"))
    assert unpacked(sent, [file], root) == here
    done, error = unpacked(packed((False, Unavailable(f"{root}{file}: no")), [root], root))
    assert not done and str(error) == f"{file}: no"


def test_slurm_script_starts_a_cluster_and_runs_on_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "many-machines.md").read_text()
    (script,) = re.findall(
        r"```sh\n(#!/bin/bash\n(?:(?!```).)*--on ray(?:(?!```).)*)```", page, re.S
    )
    stand_ins = {
        "scontrol": "printf 'n1\\nn2\\nn3\\n'",
        "srun": 'echo "$@" >> told',
        "sleep": "true",
        "cassr-bench": 'echo "$RAY_ADDRESS ${#RAY_AUTH_TOKEN} $@" > run',
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_CPUS_PER_TASK": "32", "STORE": "/store"}
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    command = ["bash", "-c", f"{script}\nwait"]
    env = {**os.environ, **given, "PATH": path}
    assert subprocess.run(command, cwd=tmp_path, env=env, timeout=60).returncode == 0
    started = sorted((tmp_path / "told").read_text().splitlines())
    step = "--overlap --nodes=1 --ntasks=1 --nodelist={}"
    node = f"{step} ray start --block --num-cpus=32 --num-gpus=8 {{}}"
    others = [node.format(name, "--address=n1:6379") for name in ("n2", "n3")]
    assert started == [node.format("n1", "--head --port=6379"), *others]
    run = "n1:6379 64 run table1 --offline --on ray --store /store --out /store/reports"
    assert (tmp_path / "run").read_text().strip() == run
