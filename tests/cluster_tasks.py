"""What the tests let processes of a cluster do; these import it by name."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import Unavailable


@dataclass(frozen=True)
class Copy:
    """Copy a file after seconds, unless `how` happens: not where `mark` is there, which is made."""

    source: Path
    target: Path
    seconds: float = 0.0
    how: str = ""
    mark: str = ""

    def reads(self) -> list[Path]:
        return [self.source]

    def writes(self) -> list[Path]:
        return [self.target]


def copy(task: Copy) -> str:
    time.sleep(task.seconds)
    if task.how and not (task.mark and os.path.exists(task.mark)):
        if task.mark:
            open(task.mark, "x", encoding="utf-8").close()
        if task.how == "exit":
            os._exit(3)
        return f"{task.source}: {task.how}"
    task.target.parent.mkdir(parents=True, exist_ok=True)
    task.target.write_bytes(task.source.read_bytes())
    return f"copied {task.source}"


def fit() -> None:
    """All is as it is where the run was started."""


def misfit() -> None:
    raise Unavailable(f"{platform.node()}: other versions")
