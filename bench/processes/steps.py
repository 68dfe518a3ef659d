"""Tasks in steps, so that no device waits for files: they are read ahead and written behind."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bench.base.errors import SetAside

AHEAD = 4
"""Tasks that are read before their turn."""
Begun = Iterable[tuple[Any, "Future[Any]"]]
"""Tasks, and what becomes of them."""


def computed(task: Any, found: Any) -> Any:
    """The last step of a task that writes nothing."""
    return found


@dataclass(frozen=True)
class Steps:
    """A function of a task: `read(task)`, `compute(task, what was read)`, `write(task, what was
    computed)`, which gives the result. What a step raises ends the work on all tasks. The three are
    functions of modules, since they are sent to processes."""

    read: Callable[[Any], Any]
    compute: Callable[[Any, Any], Any]
    write: Callable[[Any, Any], Any] = computed

    def __call__(self, task: Any) -> Any:
        return self.write(task, self.compute(task, self.read(task)))

    def overlapped(self, tasks: Iterable[Any], asked: Sized) -> Iterator[tuple[Any, Any]]:
        """(task, result) in order, until something is on the list `asked`: computed here, one after
        the other, while threads read the next and write the one before, which is given also where
        a step raises or the user presses Ctrl-C."""
        behind: Begun = ()
        # Threads cannot have filters of their own: these hold for all until the last has ended.
        with (
            warnings.catch_warnings(),
            ThreadPoolExecutor(AHEAD) as readers,
            ThreadPoolExecutor(1) as writer,
        ):
            warnings.simplefilter("ignore")
            warnings.simplefilter("once", SetAside)
            try:
                for task, given in _ahead(readers, self.read, tasks):
                    made = self.compute(task, given.result())
                    done, behind = behind, [(task, writer.submit(self.write, task, made))]
                    yield from _results(done)
                    if asked:
                        break
            except (KeyboardInterrupt, Exception):  # not where nobody takes it any more
                yield from _results(behind)
                raise
            yield from _results(behind)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], tasks: Iterable[Any]
) -> Iterator[tuple[Any, Future[Any]]]:
    left = iter(tasks)
    begun = deque((task, pool.submit(function, task)) for task in islice(left, AHEAD))
    while begun:
        begun.extend((task, pool.submit(function, task)) for task in islice(left, 1))
        yield begun.popleft()


def _results(begun: Begun) -> Iterator[tuple[Any, Any]]:
    yield from ((task, future.result()) for task, future in begun)
