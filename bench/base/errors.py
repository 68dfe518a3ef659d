"""The errors that people meet: each is one line that says what is wrong and what to do."""

from pathlib import Path

DEBUG = "CASSR_BENCH_DEBUG"
"""The variable that asks for tracebacks."""


class BenchError(Exception):
    """Something a user can mend.

    The message names the file or option, what was expected, what was found and what to do.
    """

    exit_code = 2


class UnknownName(BenchError):
    """A method, metric, dataset, suite or report that is not registered."""


class CardError(BenchError):
    """A card (TOML) that cannot be read or says something impossible."""


class ImageError(BenchError):
    """One image that cannot be used as it is; `file` is the file's name where it has one."""

    def __init__(self, reason: str, file: str = "") -> None:
        super().__init__(f"{file}: {reason}" if file else reason)
        self.reason = reason
        self.file = file

    def __reduce__(self) -> "tuple[type[ImageError], tuple[str, str]]":
        return type(self), (self.reason, self.file)


class DataError(BenchError):
    """A dataset that is incomplete, unpaired or not what its card says."""


class WeightsError(BenchError):
    """Weights that are missing, damaged or not the ones expected."""


class Unavailable(BenchError):
    """A method or metric that cannot run on this machine; the message is the reason shown."""


class StoreError(BenchError):
    """A result store that cannot be read or written."""


class CannotWrite(BenchError):
    """A full disk, or a `folder` that nothing may be written to; further files would fail too."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message, folder)
        self.folder = folder

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerDied(BenchError):
    """A worker process ended without an answer: killed, or ended by the code that it ran."""


class SetAside(UserWarning):
    """A damaged file or line of the store or a cache: it counts as not there."""


class Interrupted(BenchError):
    """Stopped by the user; everything finished so far is kept."""

    exit_code = 130
