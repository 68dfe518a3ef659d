"""What is made in worker processes, errors included."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

from cassr.base.errors import TrainingError


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
