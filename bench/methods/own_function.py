"""A method that is a Python function of the user's; only the process that defined it can run it."""

import dis
import hashlib
import inspect
import secrets
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from bench.base.errors import Unavailable, UnknownName
from bench.base.hashing import file_sha256, json_sha256
from bench.base.lazy import is_a
from bench.base.text import printable
from bench.files import own_code
from bench.methods.own_file import Upscale, checked, require_arguments
from bench.processes.foreign import LIBRARIES, OURS, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

PREFIX = "python:"
SHOWN = 60
_known: dict[str, tuple[Upscale, str]] = {}
_process, _uses = secrets.token_hex(8), count()


def register(function: Upscale) -> str:
    """Make a function upscale(lr, *, scale, seeds) a method of this process.

    What it is: its qualified name, its source and what it reads (functions by their source,
    networks by their weights, arrays and plain values by their content). One that reads anything
    else is another method each time, so that images of a former one never pass for its own.

    Gives the method's name; Unavailable where it is no Python function, or its source is not known.
    """
    if not isinstance(function, (FunctionType, MethodType)):
        raise Unavailable(
            f"method {printable(repr(function)[:SHOWN])}: expected a Python function "
            f"upscale(lr, *, scale, seeds), found {type(function).__name__}; wrap it in a function"
        )
    name = f"{PREFIX}{function.__module__}.{function.__qualname__}"
    _known[name] = function, json_sha256({"name": name, **_described(function, set())})
    return name


def registered(name: str) -> tuple[Upscale, str]:
    """The function of that name, and the hash of all that it is; UnknownName where none of that
    name is registered, in this process."""
    if name not in _known:
        raise UnknownName(
            f"method '{printable(name)}' is a function of another process; run it from there"
        )
    return _known[name]


class FunctionMethod:
    """The function that has a name at the time."""

    def __init__(self, name: str, sha256: str, device: str = "cpu") -> None:
        self.name = name

    def upscale(self, lr: "Tensor", **arguments: Any) -> "Tensor":
        function, _ = registered(self.name)
        place = _place(function)
        require_arguments(function, place)
        return checked(function(lr, **arguments), lr, arguments["scale"], place)


def _place(function: Upscale) -> str:
    code = getattr(function, "__func__", function).__code__  # type: ignore[attr-defined]
    return shown(code.co_filename, code.co_firstlineno)


def _described(function: FunctionType | MethodType, seen: set[int]) -> dict[str, Any]:
    seen.add(id(function))
    found = _read_by(function)
    return {
        "source": _source(function),
        "reads": {name: _content(found[name], seen) for name in sorted(found)},
    }


def _source(function: FunctionType | MethodType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise Unavailable(
            f"method '{printable(function.__qualname__)}': its source is not known, and so "
            "nothing would tell its images from another's; define it in a file or a notebook's cell"
        ) from error


def _read_by(function: FunctionType | MethodType) -> dict[str, Any]:
    """What a function finds outside of its own text, by name."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    assert isinstance(plain, FunctionType)
    # Those of globals, and of attributes.
    names = dict.fromkeys(chain.from_iterable(each.co_names for each in _codes(plain.__code__)))
    found = {name: plain.__globals__[name] for name in names if name in plain.__globals__}
    cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True)
    found |= {name: _cell(cell) for name, cell in cells}
    found |= {f"import {name}": own for name in _imports(plain.__code__) if (own := _hashes(name))}
    found |= {f"default {i}": value for i, value in enumerate(plain.__defaults__ or ())}
    found |= plain.__kwdefaults__ or {}
    return {**found, "self": function.__self__} if isinstance(function, MethodType) else found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's and those of inner functions."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _imports(code: CodeType) -> Iterator[str]:
    """Modules that are imported when the function runs."""
    for each in chain.from_iterable(map(dis.get_instructions, _codes(code))):
        if each.opname == "IMPORT_NAME" and each.argval:
            yield each.argval


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


def _content(value: Any, seen: set[int]) -> Any:
    """JSON that differs where the content does; never the same where that cannot be told."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, ModuleType):
        return [value.__name__, _hashes(value.__name__)]
    return "seen" if id(value) in seen else _made_of(value, seen)


def _made_of(value: Any, seen: set[int]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_content(item, seen) for item in value]
    if isinstance(value, dict):
        return [[_content(key, seen), _content(item, seen)] for key, item in value.items()]
    if callable(value) and _is_of_a_library(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (FunctionType, MethodType)):
        return _described(value, seen)
    if is_a("torch", "nn.Module", value):
        return [_network_part(part, seen) for part in value.modules()]
    if is_a("numpy", "ndarray", value) and not value.dtype.hasobject:
        return _array_hash(value)
    return _tensor_hash(value) if is_a("torch", "Tensor", value) else _unique()


def _unique() -> str:
    """What stands for something that cannot be told from others of its kind."""
    return f"use {next(_uses)} in {_process}"


def _hashes(module: str) -> Any:
    """Of a module of the user's own or its package, and of what that imports from beside it; ""
    for libraries, which are known by name."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # it was made by hand
        return _unique()
    known = (*LIBRARIES, OURS)
    if spec is None or str(spec.origin).startswith(known):
        return ""
    try:
        if not spec.has_location:  # folders without an __init__.py; what is built in has none
            folders = spec.submodule_search_locations or ()
            own = [Path(folder) for folder in folders if not folder.startswith(known)]
            return [file_sha256(part) for at in own for part in sorted(at.rglob("*.py"))] or ""
        file = Path(str(spec.origin))
        parts = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
        return [[file_sha256(part) for part in parts], own_code.hashes(file)]
    except OSError:  # it is no file, as in a zip
        return _unique()


def _is_of_a_library(value: Any) -> bool:
    """Whether it is a function or class that an installed module or Python itself defines."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if module is None or not hasattr(value, "__qualname__") or module.__name__ == "__main__":
        return False
    return (getattr(module, "__file__", None) or LIBRARIES[0]).startswith(LIBRARIES)


def _network_part(part: Any, seen: set[int]) -> Any:
    """One module of a network: its code, its own tensors and its settings."""
    seen.add(id(part))
    own = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    tensors = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
    return [_class(type(part)), _content(own, seen), _content(tensors, seen)]


def _class(kind: type) -> str:
    try:
        name = f"{kind.__module__}.{kind.__qualname__}"
        return name if _is_of_a_library(kind) else inspect.getsource(kind)
    except (OSError, TypeError):
        return _unique()


def _tensor_hash(tensor: "Tensor") -> str:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    told = f"{tensor.dtype} {tuple(tensor.shape)}"
    return told + _array_hash(flat.view(torch.uint8).numpy())


def _array_hash(array: "np.ndarray") -> str:
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()
