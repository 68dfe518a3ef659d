"""A user's Python file that is a method or metric, and the modules beside it that it imports.

What is installed comes first, so that a file called `spandrel.py` means the library when it imports
`spandrel`. What is hashed and what is found are the same names.
"""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from itertools import count
from pathlib import Path
from types import ModuleType

from bench.base.errors import Unavailable
from bench.base.hashing import file_sha256
from bench.base.text import printable

HARNESS = frozenset(("bench", "baselines", "cassr"))
_PREFIX = "_own"
_loads = count()


def hashes(file: Path) -> dict[str, str]:
    """Hash of each source that `file` imports from its own folder, by its path in there."""
    folder = file.resolve().parent
    return {
        source.relative_to(folder).as_posix(): file_sha256(source)
        for name in sorted(_names(file))
        for source in _sources(folder, name)
    }


def contents(file: Path) -> dict[str, bytes]:
    """The file and what it imports from its own folder, by path."""
    folder = file.resolve().parent
    beside = {str(file.parent / name): (folder / name).read_bytes() for name in hashes(file)}
    return {str(file): file.read_bytes(), **beside}


def load(file: Path) -> ModuleType:
    """Run a file as a module of its own, which may import from its own folder; what was so of a
    file before is forgotten. Unavailable where it is no Python file, or another module of a name
    that it needs is in use."""
    spec = importlib.util.spec_from_file_location(f"{_PREFIX}{next(_loads)}_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise Unavailable(f"{printable(file)}: cannot be loaded as a Python file")
    names = _names(file)
    for finder in [f for f in sys.meta_path if isinstance(f, _Beside)]:
        finder.withdraw()
    taken = sorted(names & sys.modules.keys())
    if taken:
        raise Unavailable(
            f"{printable(file)}: imports '{taken[0]}' from beside it, but another module of that "
            "name is in use; rename yours"
        )
    # Of what is changed within a second, bytecode would be taken that was written before.
    sys.dont_write_bytecode = True
    beside = _Beside(file.resolve().parent, names)
    sys.meta_path.insert(0, beside)
    _forget(file)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)  # as dataclasses expect
    try:
        spec.loader.exec_module(module)
    except BaseException:
        beside.withdraw()
        _forget(file)
        raise
    return module


def _forget(file: Path) -> None:
    """Let go of what a file was when it was loaded before, with what it holds, such as networks."""
    for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
        if Path(str(sys.modules[name].__file__)).resolve() == file.resolve():
            del sys.modules[name]


class _Beside(MetaPathFinder):
    """Finds modules of these names in a folder."""

    def __init__(self, folder: Path, names: set[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        return PathFinder.find_spec(fullname, [str(self.folder)], target)

    def withdraw(self) -> None:
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name.partition(".")[0] in self.names]:
            del sys.modules[name]


def _names(file: Path) -> set[str]:
    """Top-level modules in the file's folder that it imports, or that these import in turn."""
    folder = file.resolve().parent
    found: set[str] = set()
    waiting = [file]
    while waiting:
        for name in _imported(waiting.pop()) - found - HARNESS - sys.stdlib_module_names:
            sources = _sources(folder, name)
            if sources and not _installed(name):
                found.add(name)
                waiting += sources
    return found


def _installed(name: str) -> bool:
    """Whether there is such a module or package (no bare folder) among the installed ones."""
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    spec = PathFinder.find_spec(name, places)
    return spec is not None and spec.loader is not None


def _sources(folder: Path, name: str) -> list[Path]:
    """The files of a module of that name: one, or all of a package; none where there is none."""
    package = folder / name
    if package.is_dir():
        return sorted(package.rglob("*.py"))
    module = folder / f"{name}.py"
    return [module] if module.is_file() else []


def _imported(source: Path) -> set[str]:
    """Top-level names that are imported anywhere in a file; none where it is no Python."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()  # whoever runs it will be told
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append(node.module)
    return {name.partition(".")[0] for name in found}
