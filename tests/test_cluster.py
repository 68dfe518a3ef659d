"""Work on a Ray cluster of several nodes on this machine: nodes and processes come, die and go."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_tasks import Copy, copy, fit, misfit
from conftest import CACHES, ROOT

from bench.base.errors import Interrupted, Unavailable, WorkerDied
from bench.cluster.connection import connected
from bench.cluster.pool import Cluster
from bench.processes import stopping

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
pytestmark = pytest.mark.slow

METHOD = """
import time

import torch
from beside import AMOUNT


def upscale(lr, *, scale, seeds):
    time.sleep({pause})
    if seeds[0] % 3 == 0:
        raise ValueError(f"not this one, says {{__file__}}")
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + AMOUNT * noise, scale_factor=scale)
"""
METRIC = '''
def score(sr, hr):
    """Mean difference; lower is better."""
    return float((sr - hr).abs().mean())
'''
RUN = (
    *("run", "quick", "--metrics", "psnr_y,mine.py", "--datasets", "quick-bicubic"),
    *("--limit", "4", "--reports", "csv,markdown"),
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of a head, which does no work, and two nodes of a core each."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        for variable, folder in CACHES.items():
            patch.setenv(variable, str(home / folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        head = {"num_cpus": 0, "include_dashboard": False, "ray_client_server_port": port}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        cluster.client = f"ray://127.0.0.1:{port}"
        patch.setenv("RAY_ADDRESS", cluster.address)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        connected("ray").shutdown()
        cluster.shutdown()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files of growing size in the working folder, with relative and absolute paths."""
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        Path(f"{i}.bin").write_bytes(bytes([i]) * (1000 * i + 1))
    return [Path(f"{i}.bin") if i % 2 else tmp_path / f"{i}.bin" for i in range(6)]


def copies(files: list[Path], **more: Any) -> list[Copy]:
    return [Copy(file, Path("copies", file.name), **more) for file in files]


def require_copied(files: list[Path]) -> None:
    for file in files:
        assert Path("copies", file.name).read_bytes() == file.read_bytes()


def test_what_a_task_wrote_is_put_here_and_the_largest_is_first(
    nodes: Any, files: list[Path]
) -> None:
    with Cluster("ray", "cpu", fit, count=1) as pool:
        done = list(pool.map(copy, copies(files)))
        again = list(pool.map(copy, copies(files[:1], how="is not readable")))
    assert [task.source for task, _ in done] == files[::-1]
    assert [found for _, found in done] == [f"copied {file}" for file in files[::-1]]
    require_copied(files)
    assert [found for _, found in again] == [f"{files[0]}: is not readable"]


def test_a_death_costs_nothing_and_three_by_one_image_cost_the_image(
    nodes: Any, files: list[Path]
) -> None:
    once = Copy(files[0], Path("copies/once"), how="exit", mark=str(Path("once").absolute()))
    always = Copy(files[1], Path("copies/always"), how="exit")
    with Cluster("ray", "cpu", fit) as pool:
        found = dict(pool.map(copy, [once, always, *copies(files[2:])]))
    assert found.pop(once) == f"copied {files[0]}"
    why = "its process crashed or was killed, perhaps for lack of memory, 3 times"
    died = found.pop(always)
    assert isinstance(died, WorkerDied) and str(died) == why
    assert len(found) == 4
    require_copied(files[2:])


def test_nodes_come_and_go(nodes: Any, files: list[Path]) -> None:
    tasks = [Copy(file, Path("copies", f"{i}-{file.name}"), 0.5) for file in files for i in "abcd"]
    added = gone = None
    with Cluster("ray", "cpu", fit) as pool:
        found = []
        for each in pool.map(copy, tasks):
            found.append(each)
            if len(found) == 2:
                added = nodes.add_node(num_cpus=2)
            if len(found) == 12:
                gone = len(pool._processes)
                nodes.remove_node(added)
    assert gone == 4, "the node that came was worked on"
    assert sorted(str(task.target) for task, _ in found) == sorted(str(t.target) for t in tasks)
    assert all(result == f"copied {task.source}" for task, result in found)


def test_what_takes_too_long_is_given_up(nodes: Any, files: list[Path]) -> None:
    slow = Copy(files[0], Path("copies/slow"), 60.0)
    with Cluster("ray", "cpu", fit, limit=2.0) as pool:
        found = dict(pool.map(copy, [slow, *copies(files[1:3])]))
    assert str(found.pop(slow)) == "took longer than 2 s; raise --image-timeout if it needs that"
    assert set(found.values()) == {f"copied {file}" for file in files[1:3]}


def test_a_signal_lets_what_is_in_hand_finish(nodes: Any, files: list[Path]) -> None:
    before = [signal.signal(number, signal.SIG_DFL) for number in stopping.ENDING]
    done = []
    try:
        stopping.install()
        with pytest.raises(Interrupted), Cluster("ray", "cpu", fit, count=1) as pool:
            for task, _ in pool.map(copy, copies(files)):
                done.append(task.source)
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in zip(stopping.ENDING, before, strict=True):
            signal.signal(number, handler)
    assert 1 <= len(done) <= 2
    require_copied(done)


def test_a_machine_that_is_unlike_this_one_is_refused(nodes: Any, files: list[Path]) -> None:
    with pytest.raises(Unavailable, match="other versions"), Cluster("ray", "cpu", misfit) as pool:
        list(pool.map(copy, copies(files)))


def test_a_machine_outside_the_cluster_works_on_it_by_its_head(
    nodes: Any, files: list[Path]
) -> None:
    code = """
from pathlib import Path
from bench.cluster.connection import device
from bench.cluster.pool import Cluster
from cluster_tasks import Copy, copy, fit
with Cluster("{0}", device("{0}", "auto"), fit) as pool:
    print(*pool.map(copy, [Copy(Path("5.bin"), Path("copies/5.bin"))]))
"""
    command = [sys.executable, "-c", code.format(nodes.client)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=500)
    if "Starting Ray client server failed" in done.stderr:
        pytest.skip("Ray's server for machines outside was not up within Ray's 30 s")
    assert done.returncode == 0, done.stderr
    require_copied(files[5:])


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_run_on_the_cluster_is_that_of_this_machine_though_killed(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver is killed and started again; no folder of it is on the nodes."""
    (tmp_path / "mine.py").write_text(METRIC)
    (tmp_path / "beside.py").write_text("AMOUNT = 0.1\n")
    method = tmp_path / "noisy.py"
    methods = ("--methods", f"bicubic,{method}")

    def started(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bench", *RUN, *methods, *more]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    method.write_text(METHOD.format(pause=1.5))
    first = started("--store", "far", "--out", "far-out", "--on", "ray")
    while first.poll() is None and not list(tmp_path.glob("far/images/noisy-*/*/records/*.jsonl")):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    second = started("--store", "far", "--out", "far-out", "--on", "ray")
    told = second.communicate(timeout=500)[1]
    here = started("--store", "near", "--out", "near-out", "--workers", "1")
    assert f"not this one, says {method} (noisy.py:11)" in here.communicate(timeout=500)[1]
    assert f"not this one, says {method} (noisy.py:11)" in told
    assert second.returncode == here.returncode == 1, "some images failed"
    far, near = (files_of(tmp_path / folder) for folder in ("far-out", "near-out"))
    assert far == near and len(far) >= 3
    far, near = (pictures(tmp_path / folder) for folder in ("far/images", "near/images"))
    assert far == near and 4 < len(far) < 8


def pictures(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(folder).items() if name.endswith(".png")}
