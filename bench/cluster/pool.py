"""Processes of a Ray cluster, as `bench.processes.workers` has them of this machine.

This machine alone reads and writes: it sends what a task reads and puts in its place what the task
wrote. A process that dies costs the task that it had in hand, which another is given.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import call
from pathlib import Path
from typing import Any

from bench.base.errors import WorkerDied
from bench.base.records import write_atomic
from bench.base.text import printable
from bench.cluster.connection import connected
from bench.cluster.node import Files, Node, packed, sent_as, unpacked
from bench.processes import stopping
from bench.processes.handle import GRACE
from bench.processes.workers import SPARE_DEATHS

TRIES = 3
"""Processes that a task may end before it is given up."""
LOOK = 2.0
"""Seconds between two looks at how large the cluster is and at what takes too long."""


class Lost(WorkerDied):
    """A process gave no answer; `machine` where its whole machine is gone."""

    def __init__(self, error: Exception) -> None:
        text = str(error).strip().partition("\nThe actor never ran")[0] or type(error).__name__
        self.machine = "node has died" in text
        crashed = "process has died" in text or "low on memory" in text
        why = "its process crashed or was killed, perhaps for lack of memory"
        super().__init__(why if crashed else printable(text.splitlines()[-1].strip()))


@dataclass(eq=False)
class _Process:
    """It works at a task, starts (there is none), or is idle (no answer is awaited)."""

    actor: Any
    answer: Any
    task: Any = None
    since: float = 0.0


@dataclass
class Cluster:
    """Processes, each of which has a core or a GPU of its own, or its part of a machine.

    Attributes:
        check: what each process calls first; raises BenchError where it can do nothing.
        count: the most, which share the GPUs; None for one per core or GPU of the cluster.
        per_machine: the most on a machine, which share its cores; None for one per core.
        files: what every task may read.
        limit: seconds after which a task is given up with its process.
    """

    on: str
    device: str
    check: Callable[[], None]
    count: int | None = None
    per_machine: int | None = None
    files: Files = field(default_factory=dict)
    limit: float | None = None
    _processes: list[_Process] = field(default_factory=list)

    def __enter__(self) -> "Cluster":
        self._ray = connected(self.on)
        self._sent = self._ray.put(self.files)
        self._known = [name for name in self.files if os.path.isabs(name)]
        self._look()
        return self

    def __exit__(self, *exc: object) -> None:
        idle = [each.actor.close.remote() for each in self._processes if each.answer is None]
        if idle:
            self._ray.wait(idle, num_returns=len(idle), timeout=GRACE)
        for each in [*self._processes]:
            self._end(each)

    def map(
        self, function: Callable[[Any], Any], tasks: Iterable[Any]
    ) -> Iterator[tuple[Any, Any | WorkerDied]]:
        """(task, result) as they are finished, begun with the largest; a process has one in hand.

        Tasks tell by `reads()` and `writes()` which files they read and may write. The result of
        one that three processes did not survive is the error that says so.

        Raises what `Workers.map` does, WorkerDied where processes die whatever they are given, and
        the BenchError of a `check` or task.
        """
        todo = deque(sorted(tasks, key=_size, reverse=True))
        deaths: Counter[int] = Counter()
        in_a_row = 0
        with stopping.at_request() as asked:
            while (todo and not asked) or any(each.task is not None for each in self._processes):
                if not asked:
                    self._hand_out(function, todo)
                for task, found in chain(self._answers(), self._late()):
                    if isinstance(found, Lost):
                        deaths[id(task)] += not found.machine
                        if deaths[id(task)] < TRIES:
                            todo.extendleft([] if task is None else [task])
                            continue
                        found = WorkerDied(f"{found}, {TRIES} times")
                    if task is None:
                        raise found
                    deaths[id(None)] = 0
                    in_a_row = in_a_row + 1 if isinstance(found, WorkerDied) else 0
                    yield task, found
                if in_a_row > len(self._processes) + SPARE_DEATHS:
                    raise WorkerDied(f"not tried, since {in_a_row} in a row ended their processes")

    def _hand_out(self, function: Callable[[Any], Any], todo: deque[Any]) -> None:
        """Give each idle process a task, and start as many as there is work and room for."""
        if time.monotonic() >= self._looked + LOOK:
            self._look()
        busy = sum(each.task is not None for each in self._processes)
        room = min(self.count or self._slots, self._slots, len(todo) + busy)
        for _ in range(room - len(self._processes)):
            self._processes.append(self._started())
        for each in self._processes:
            if each.answer is None and todo:
                each.task, each.since = todo.popleft(), time.monotonic()
                reads = [path for path in each.task.reads() if path.is_file()]
                files = {sent_as(path): path.read_bytes() for path in reads}
                writes = [sent_as(path) for path in each.task.writes()]
                parcel = packed((function, each.task), self._known)
                each.answer = each.actor.do.remote(parcel, files, writes)

    def _started(self) -> _Process:
        cores, gpus = (int(self._share), 0.0) if self.device == "cpu" else (0, self._share)
        spread = {"num_cpus": cores, "num_gpus": gpus, "scheduling_strategy": "SPREAD"}
        kind = self._ray.remote(Node).options(**spread)
        actor = kind.remote(os.getcwd(), self._sent, max(1, cores))
        return _Process(actor, actor.do.remote(packed((call, self.check), self._known), {}, []))

    def _look(self) -> None:
        """See for how many processes the cluster is large enough; others may use some of it."""
        kind = "CPU" if self.device == "cpu" else "GPU"
        nodes = [node["Resources"].get(kind, 0) for node in self._ray.nodes() if node["Alive"]]
        sizes = [size for size in nodes if size]
        self._share = 1.0
        if sizes and kind == "GPU" and self.count:
            self._share = min(1.0, sum(sizes) / self.count)
        elif sizes and kind == "CPU" and self.per_machine:
            self._share = max(1.0, min(sizes) // self.per_machine)
        # One process is asked for in any case: for it a cluster that grows on demand grows.
        self._slots = max(1, sum(int(size / self._share) for size in sizes))
        self._looked = time.monotonic()

    def _answers(self) -> Iterator[tuple[Any, Any]]:
        """What was answered, or was lost, of each task, and None of starts; waits a little."""
        awaited = {each.answer: each for each in self._processes if each.answer is not None}
        ready, _ = self._ray.wait([*awaited], timeout=LOOK)
        if ready:
            ready, _ = self._ray.wait([*awaited], num_returns=len(awaited), timeout=0)
        for answer in ready:
            each = awaited[answer]
            task, each.task, each.answer = each.task, None, None
            found = self._taken(each, answer, task.writes() if task else ())
            if task is not None or isinstance(found, Lost):
                yield task, found

    def _taken(self, each: _Process, answer: Any, writes: Iterable[Path]) -> Any:
        """A result, once the files that came with it are written."""
        try:
            parcel, made = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._processes.remove(each)
            return Lost(error)
        for path in writes:
            if sent_as(path) in made:
                write_atomic(path, made[sent_as(path)])
        done, found, last = unpacked(parcel)
        if last:
            self._end(each)
        if not done:
            raise found
        return found

    def _late(self) -> Iterator[tuple[Any, WorkerDied]]:
        """The tasks that took too long."""
        for each in [each for each in self._processes if each.task is not None]:
            if self.limit is not None and time.monotonic() >= each.since + self.limit:
                self._end(each)
                why = f"took longer than {self.limit:g} s; raise --image-timeout if it needs that"
                yield each.task, WorkerDied(why)

    def _end(self, each: _Process) -> None:
        self._ray.kill(each.actor)
        self._processes.remove(each)


def _size(task: Any) -> int:
    return sum(path.stat().st_size for path in task.reads() if path.is_file())
