"""Where memory runs out: what can be given back is, and what failed is tried once more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from bench.base.errors import Unavailable

T = TypeVar("T")
_ASKED = re.compile(r"allocate:? (\d[\d.]* ?(?:[KMGTPE]i?B|bytes))")


def within_memory(
    call: Callable[[], T], what: str, way: str, release: Callable[[], object] = tuple
) -> T:
    """What `call` gives; where memory runs out it is called once more, after `release` and after
    all is given back that was only kept for later.

    Raises:
        Unavailable: it ran out again; tells of `what`, how much was asked for, and the `way` on.
    """
    try:
        return call()
    except Exception as error:
        if not _ran_out(error):
            raise
    from accelerate.utils import release_memory  # heavy, and seldom needed

    # Out here, where no traceback holds on to what was computed.
    release()
    release_memory()
    try:
        return call()
    except Exception as error:
        if not (found := _ran_out(error)):
            raise
        asked = _ASKED.search(str(found))
        much = f" ({asked[1]} more asked for)" if asked else ""
        raise Unavailable(f"{what} needs more memory than there is{much}; {way}") from error


def _ran_out(error: BaseException | None) -> BaseException | None:
    """The error, or that which it comes from, that says that there is no memory."""
    while error is not None and not isinstance(error, MemoryError | RuntimeError):
        error = error.__cause__
    if isinstance(error, RuntimeError):
        from accelerate.utils.memory import should_reduce_batch_size

        return error if should_reduce_batch_size(error) else None
    return error
