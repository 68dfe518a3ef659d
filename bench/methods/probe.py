"""Run by an official repository's own Python (3.8 or later): does its script start, is all there?

`python probe.py RESULT SCRIPT` starts the script with --help and writes JSON to RESULT: its exit
code and help, what ended it, the modules that its code imports somewhere and that are not
installed, and the GPU generations that its torch has kernels for.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import runpy
import sys
from collections.abc import Iterator
from typing import Any

GUARDS = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


def start(script: str) -> tuple[int, str, str]:
    """Exit code, what was printed and what ended it."""
    sys.argv = [script, "--help"]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            return 1, printed.getvalue(), ended.code
        return int(ended.code or 0), printed.getvalue(), f"exit code {ended.code}"
    except BaseException as error:
        return 1, printed.getvalue(), f"{type(error).__name__}: {error}"
    return 0, printed.getvalue(), ""


def missing(script: str) -> dict[str, str]:
    """Module -> "FILE, line N" of an import in the repository's code that nothing can answer."""
    inside = os.path.realpath(os.curdir) + os.sep
    loaded = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    waiting = [os.path.realpath(file) for file in [script, *loaded]]
    seen: set[str] = set()
    absent: dict[str, str] = {}
    while waiting:
        file = waiting.pop()
        if file in seen or not (file.startswith(inside) and file.endswith(".py")):
            continue
        seen.add(file)
        for name, line in imports(file):
            top = name.split(".")[0]
            waiting += files(name)
            if not findable(top):
                absent.setdefault(top, f"{file[len(inside) :]}, line {line}")
    return absent


def imports(file: str) -> Iterator[tuple[str, int]]:
    """Names that a file imports, but for those whose absence it provides for."""
    with open(file, "rb") as source:
        tree = ast.parse(source.read())
    tries = [n for n in ast.walk(tree) if isinstance(n, ast.Try) and any(map(guards, n.handlers))]
    safe = {id(inner) for each in tries for part in each.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in safe and isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((name, node.lineno) for name in names(node))


def names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names of one statement; of `from a import b` a and a.b, for b may be a file."""
    inner = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        return inner
    if node.level or not node.module:
        return []
    return [node.module, *(f"{node.module}.{name}" for name in inner)]


def guards(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", "") in GUARDS for kind in kinds)


def findable(top: str) -> bool:
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def files(name: str) -> list[str]:
    """The files that an import of this dotted name runs; nothing is imported to find them."""
    found: list[str] = []
    places: list[str] | None = None
    for part in name.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, places)
        if spec is None:
            break
        found.append(os.path.realpath(spec.origin or ""))
        places = list(spec.submodule_search_locations or [])
        if not places:
            break
    return found


def kernels() -> list[str]:
    """GPU generations, as torch names them; also asked where there is no GPU."""
    torch: Any = sys.modules.get("torch")
    flags = getattr(getattr(torch, "_C", None), "_cuda_getArchFlags", lambda: None)()
    return flags.split() if flags else []


if __name__ == "__main__":
    result, script = os.path.abspath(sys.argv[1]), sys.argv[2]
    code, printed, ended = start(script)
    found = {"code": code, "help": printed, "ended": ended, "kernels": kernels()}
    with open(result, "w") as target:
        json.dump({**found, "missing": missing(script)}, target)
    os._exit(0)  # threads that the script started are not waited for
