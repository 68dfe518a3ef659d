"""Imported, alone, by the server that worker processes are forked from; imports what they need.

What cannot be imported here is imported, and told of, by the worker that needs it.
"""

import os
from contextlib import suppress
from importlib import import_module

from bench.processes.worker import die_with_parent

PRELOAD = "CASSR_BENCH_PRELOAD"
"""The variable that names the modules."""
MORTAL = "CASSR_BENCH_MORTAL"
"""The variable that says whether the thread that starts the server lives as long as its process."""

if os.environ.get(MORTAL):
    die_with_parent()
for name in filter(None, os.environ.get(PRELOAD, "").split(",")):
    with suppress(BaseException):
        import_module(name)
