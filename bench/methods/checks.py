"""One finding about this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """One finding; `mend` is a command or a hint, "" when all is well."""

    what: str
    state: State
    found: str
    mend: str = ""
