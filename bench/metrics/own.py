"""A metric in one Python file of the user's, `score(sr, hr)` or `score(sr)` without reference; what
it is is read from its source, which the processes that score run."""

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.base.errors import CardError, ImageError, Unavailable
from bench.base.hashing import file_sha256
from bench.base.text import printable
from bench.base.types import Better, MetricSpec
from bench.files import own_code
from bench.processes.foreign import running

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".py"
_DIRECTION = re.compile(r"\b(higher|lower) is better\b", re.IGNORECASE)


def spec_of(file: Path) -> MetricSpec:
    """What a file says that its metric is; CardError where it says none."""
    function = _function(file)
    doc = ast.get_docstring(function) or ""
    directions = {word.lower() for word in _DIRECTION.findall(doc)}
    if len(directions) != 1:
        found = "both" if directions else "neither"
        expected = "expected 'higher is better' or 'lower is better' in the docstring of score"
        raise CardError(f"{printable(file)}:{function.lineno}: {expected}, found {found}")
    better = cast(Better, directions.pop())
    modules = own_code.hashes(file)
    own: dict[str, Any] = {"better": better, "sha256": file_sha256(file)}
    return MetricSpec(
        name=printable(file.name),
        title=printable(file.stem),
        better=better,
        reference=_needs_hr(file, function),
        means=printable(doc.partition("\n")[0]),
        source=printable(file.name),
        factory="bench.metrics.own:OwnMetric",
        licence="unknown",
        options=own | ({"modules": modules} if modules else {}),
        file=file,
    )


def _function(file: Path) -> ast.FunctionDef:
    try:
        if file.exists() and not file.is_file():
            raise CardError(f"{printable(file)}: expected a metric file, found a folder or device")
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        found = f"cannot read one ({error.strerror or 'unreadable'})"
        raise CardError(f"{printable(file)}: expected a metric file, {found}") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = printable(getattr(error, "msg", None) or error)
        raise CardError(f"{printable(file)}{line}: is not valid Python ({reason})") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "score":
            return node
    raise CardError(
        f"{printable(file)}: expected a function score(sr, hr) or score(sr), found none"
    )


def _needs_hr(file: Path, function: ast.FunctionDef) -> bool:
    """Whether it has a second argument without a default."""
    arguments = function.args
    count = len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)
    if count not in (1, 2) or None in arguments.kw_defaults:
        found = f"expected score(sr, hr) or score(sr), found score({ast.unparse(arguments)})"
        raise CardError(f"{printable(file)}:{function.lineno}: {printable(found)}")
    return count == 2


class OwnMetric:
    """The function in a user's file; a `bench.base.types.Metric`."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        assert spec.file is not None
        self.spec, self.device = spec, device
        with running(spec.name, "metric"):
            self._score = own_code.load(spec.file).score
        if file_sha256(spec.file) != spec.options["sha256"]:
            raise Unavailable(f"{printable(spec.file)}: was changed while it was used; run again")

    def prepare(self, hr: "Tensor") -> "Tensor":
        """The HR image on the device, (1, 3, H, W)."""
        return hr.to(self.device)

    def score(self, sr: "Tensor", hr: "Tensor | None", prepared: "Tensor") -> float:
        """The function's number of its own copies of the images; Unavailable says what it raised,
        ImageError that what it gives is no number."""
        from bench.metrics.filters import exact

        images = [sr.to(self.device), prepared] if self.spec.reference else [sr.to(self.device)]
        with running(self.spec.name, "metric"), exact():
            found = self._score(*(image.clone() for image in images))
        try:
            return float(found + 0)  # text is no number, though float reads some
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            place = f"{printable(self.spec.file)}:{self._score.__code__.co_firstlineno}"
            what = f"expected a number from score, found {type(found).__name__}"
            raise ImageError(f"{place}: {what}") from error
