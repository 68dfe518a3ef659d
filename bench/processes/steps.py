"""Tasks in steps, so that no device waits for files: they are read ahead and written behind."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bench.base.errors import SetAside

AHEAD = 4
"""Tasks that are read before their turn, and as many that are computed and not written yet."""


def computed(task: Any, found: Any) -> Any:
    """The last step of a task that writes nothing."""
    return found


@dataclass(frozen=True)
class Steps:
    """A function of a task: `read(task)`, `compute(task, what was read)`, `write(task, what was
    computed)`, which gives the result; as all of them are sent to processes, they are functions of
    modules. What a step raises ends the work on all tasks."""

    read: Callable[[Any], Any]
    compute: Callable[[Any, Any], Any]
    write: Callable[[Any, Any], Any] = computed

    def __call__(self, task: Any) -> Any:
        return self.write(task, self.compute(task, self.read(task)))

    def overlapped(self, tasks: Iterable[Any], asked: Sized) -> Iterator[tuple[Any, Any]]:
        """(task, result) in order, until something is on the list `asked`: computed here, one after
        the other, while threads read the next tasks and write those before. What is computed when
        the user presses Ctrl-C is written and given first."""
        written: deque[tuple[Any, Future[Any]]] = deque()
        # Threads cannot have filters of their own: they hold for all until the last has ended.
        with (
            warnings.catch_warnings(),
            ThreadPoolExecutor(AHEAD) as readers,
            ThreadPoolExecutor(1) as writer,
        ):
            warnings.simplefilter("ignore")
            warnings.simplefilter("once", SetAside)
            try:
                for task, given in _begun(readers, self.read, tasks):
                    made = self.compute(task, given.result())
                    written.append((task, writer.submit(self.write, task, made)))
                    while written and (len(written) > AHEAD or written[0][1].done()):
                        yield _result(*written.popleft())
                    if asked:
                        break
            except KeyboardInterrupt:
                yield from (_result(*each) for each in written)
                raise
            yield from (_result(*each) for each in written)


def _begun(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], tasks: Iterable[Any]
) -> Iterator[tuple[Any, Future[Any]]]:
    """The tasks and what becomes of them, of which the next `AHEAD` are begun."""
    left = iter(tasks)
    begun = deque((task, pool.submit(function, task)) for task in islice(left, AHEAD))
    while begun:
        begun.extend((task, pool.submit(function, task)) for task in islice(left, 1))
        yield begun.popleft()


def _result(task: Any, written: Future[Any]) -> tuple[Any, Any]:
    return task, written.result()
