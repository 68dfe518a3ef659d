"""What is made in worker processes, or by the processes of a run, errors included."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import Dataset

from cassr.base.errors import TrainingError, first_line


class Told(Dataset):
    """Items by number as a function makes them, or the error in place of one.

    An error that a worker raises comes with that process's traceback in its text; one that it
    hands over comes as it is.
    """

    def __init__(
        self, make: Callable[[int], Any], errors: tuple[type[Exception], ...] = (TrainingError,)
    ) -> None:
        self.make, self.errors = make, errors

    def __getitem__(self, number: int) -> Any:
        try:
            return self.make(number)
        except self.errors as error:
            return error


@contextmanager
def together(exchange: Callable[[list[str]], list[str]]) -> Iterator[None]:
    """The body is done by all processes before one goes on; what fails in one fails in all."""
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    if found := exchange([first_line(failure)] if failure else []):
        raise failure or TrainingError(found[0])
