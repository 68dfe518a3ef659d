"""What `--on ray` costs: tasks that sleep, sent to many processes that share one machine's cores.

    python benchmarks/cluster.py 2 8 32 64

Each task is sent an image and sends one back, which is written here. Tasks that do not sleep show
how many a second this machine can share out at most.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

from bench.cluster.pool import Cluster  # noqa: E402

LR_BYTES, SR_BYTES = 40_000, 450_000
TASKS, SECONDS = 8, 2.0


class Nap(NamedTuple):
    number: int
    seconds: float

    def reads(self) -> list[Path]:
        return [Path("lr.png")]

    def writes(self) -> list[Path]:
        return [Path(f"{self.number}.png")]


def nap(task: Nap) -> None:
    time.sleep(task.seconds)
    task.writes()[0].write_bytes(os.urandom(SR_BYTES))


def seconds_of(pool: Cluster, count: int, seconds: float) -> float:
    start = time.monotonic()
    assert len(list(pool.map(nap, [Nap(i, seconds) for i in range(count)]))) == count
    return time.monotonic() - start


def measure(count: int) -> None:
    with Cluster("ray", "cpu", time.monotonic, count=count) as pool:
        while sum(each.answer is None for each in pool._processes) < count:
            seconds_of(pool, count, 1.0)  # until all have started
        each = seconds_of(pool, count * TASKS, SECONDS) / TASKS
        most = count * TASKS / seconds_of(pool, count * TASKS, 0.0)
    print(f"{count} processes: efficiency {SECONDS / each:.1%}, overhead of a task ", end="")
    print(f"{1000 * (each - SECONDS):.0f} ms; at most {most:.0f} tasks a second", flush=True)


if __name__ == "__main__":
    import ray
    from cluster import LR_BYTES, measure  # so that the processes find what they are to do

    counts = [int(count) for count in sys.argv[1:]]
    ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        Path("lr.png").write_bytes(os.urandom(LR_BYTES))
        for count in counts:
            measure(count)
