"""Run by a repository's own Python (from 3.8 on, hence quoted types): does its script start?

`python probe.py RESULT SCRIPT` starts the script with --help and writes JSON to RESULT: its exit
code and help, what ended it, the modules that its code imports somewhere and that are not
installed, and the GPU generations that its torch has kernels for (known without a GPU too).
"""

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

GUARDS = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


def start(script: str) -> "tuple[int, str, str]":
    """Exit code, what was printed and what ended it."""
    sys.argv = [script, "--help"]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        text = ended.code if isinstance(ended.code, str) else ""
        return int(bool(ended.code)), printed.getvalue(), text or f"exit code {ended.code}"
    except BaseException as error:
        return 1, printed.getvalue(), f"{type(error).__name__}: {error}"
    return 0, printed.getvalue(), ""


def missing(script: str) -> "dict[str, str]":
    """Module -> "FILE, line N" of an import in the repository's code that nothing can answer."""
    inside = os.path.realpath(os.curdir) + os.sep
    loaded = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    waiting = [os.path.realpath(file) for file in [script, *loaded]]
    seen: set[str] = set()
    absent: dict[str, str] = {}
    while waiting:
        file = waiting.pop()
        own = file.startswith(inside) and file.endswith(".py") and os.path.isfile(file)
        if file in seen or not own:
            continue
        seen.add(file)
        for name, line in imports(file):
            top = name.split(".")[0]
            waiting += files(name)
            if top not in sys.modules and importlib.util.find_spec(top) is None:
                absent.setdefault(top, f"{file[len(inside) :]}, line {line}")
    return absent


def imports(file: str) -> "Iterator[tuple[str, int]]":
    """Dotted names that a file imports, but for those whose absence it provides for; of `from a
    import b` a and a.b, for b may be a file."""
    with open(file, "rb") as source:
        tree = ast.parse(source.read())
    tries = [n for n in ast.walk(tree) if isinstance(n, ast.Try) and any(map(guards, n.handlers))]
    safe = {id(inner) for each in tries for part in each.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in safe or not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            own = [] if node.level or not node.module else [node.module]
            names = [*own, *(f"{module}.{name}" for module in own for name in names)]
        yield from ((name, node.lineno) for name in names)


def guards(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", "") in GUARDS for kind in kinds)


def files(name: str) -> "list[str]":
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


if __name__ == "__main__":
    result, script = os.path.abspath(sys.argv[1]), sys.argv[2]
    code, printed, ended = start(script)
    found = {"code": code, "help": printed, "ended": ended, "missing": missing(script)}
    torch = getattr(sys.modules.get("torch"), "_C", None)
    flags = getattr(torch, "_cuda_getArchFlags", lambda: None)() or ""
    with open(result, "w", encoding="utf-8") as target:
        json.dump({**found, "kernels": flags.split()}, target)
    os._exit(0)  # threads that the script started are not waited for
