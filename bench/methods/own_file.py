"""Methods that people bring: what a Python file defines, an ONNX file, a pipeline of diffusers."""

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import CardError, ImageError, Unavailable
from bench.base.lazy import is_a
from bench.base.text import printable
from bench.files import images, own_code
from bench.processes.foreign import shown

if TYPE_CHECKING:
    from torch import Tensor

Upscale = Callable[..., Any]
"""upscale(lr, *, scale, seeds); see `bench.base.types.Method`."""
NAME = re.compile(r"(?P<file>.+?\.py)(?::(?P<call>.+))?", re.DOTALL)
"""FILE.py, FILE.py:NAME or FILE.py:NAME(width=64)."""
DEFAULT = "upscale"
INDEX = "model_index.json"


class UserMethod:
    """What is in a file: a Python file's `call` (a function, an object with `upscale`, a network, a
    pipeline, or a class or function that makes one of these), a network in ONNX, or the pipeline
    that a model_index.json belongs to.

    Raises:
        Unavailable: there is no such thing, it is something else, or it needs other arguments.
    """

    def __init__(self, weights: Path, call: str = DEFAULT, device: str = "cpu") -> None:
        opened = {".onnx": _onnx, ".json": _pipeline}.get(weights.suffix, partial(_python, call))
        self._upscale, self._place = opened(weights, device)

    def upscale(self, lr: "Tensor", *, scale: int, seeds: Sequence[int]) -> "Tensor":
        return checked(self._upscale(lr, scale=scale, seeds=seeds), lr, scale, self._place)


def checked(sr: Any, lr: "Tensor", scale: int, place: str) -> "Tensor":
    """What a method gave for `lr`, (B, 3, H, W), where it is floats (B, 3, scale*H, scale*W);
    ImageError, with what was found, the remedy and where the method is defined, where it is not."""
    count, _, height, width = lr.shape
    problem = images.problem(sr, count)
    if not problem and tuple(sr.shape[2:]) != (height * scale, width * scale):
        problem = f"{sr.shape[3]}x{sr.shape[2]} pixels, for scale {scale} of {width}x{height}"
    if problem:
        expected = f"expected floats in [0, 1] of shape ({count}, 3, H, W)"
        raise ImageError(f"{expected}, found {problem} ({place})")
    return sr  # type: ignore[no-any-return]


def parsed(file: Path, call: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """`Net(64, depth=2)` -> "Net", [64], {"depth": 2}; a bare name has None for its arguments;
    CardError, with the column in FILE.py:CALL, where it is no such; nothing of it is run."""
    try:
        found = ast.parse(call, mode="eval").body
        if isinstance(found, ast.Name):
            return found.id, None, {}
        if not (isinstance(found, ast.Call) and isinstance(found.func, ast.Name)):
            raise SyntaxError("no call by a name", ("", 1, 1, ""))
        named = {
            each.arg or "": _plain(call, each.value, bool(each.arg)) for each in found.keywords
        }
        return found.func.id, [_plain(call, value) for value in found.args], named
    except (SyntaxError, ValueError, RecursionError) as error:
        why, column = getattr(error, "msg", str(error)), getattr(error, "offset", 0) or 1
        raise CardError(
            f"method '{printable(file)}:{printable(call)}': expected NAME or NAME(64, width=64) "
            "behind FILE.py:, with plain values as arguments; column "
            f"{len(f'{file}:') + column}: {why}"
        ) from error


def _plain(call: str, value: ast.expr, named: bool = True) -> Any:
    with suppress(ValueError, TypeError):
        if named:
            return ast.literal_eval(value)
    before = call.encode()[: value.col_offset].decode(errors="replace")
    raise SyntaxError("no plain value", ("", 1, len(before) + 1, ""))


def _python(call: str, file: Path, device: str) -> tuple[Upscale, str]:
    name, given, named = parsed(file, call)
    module = own_code.load(file)
    if not hasattr(module, name):
        raise _absent(file, name)
    found, place = getattr(module, name), _place(file, name)
    if given is not None or inspect.isclass(found):
        try:
            signature = inspect.signature(found)
            if "device" in signature.parameters:
                named = {"device": device, **named}
            signature.bind(*(given or ()), **named)
        except (TypeError, ValueError) as error:
            raise Unavailable(f"{printable(call)} cannot be made: {error} ({place})") from error
        found = found(*(given or ()), **named)
    upscale = _adapted(found, device, place)
    require_arguments(upscale, place)
    return upscale, place


def require_defined(file: Path, call: str) -> None:
    """Unavailable where a file has nothing of that name, as far as its source tells unrun."""
    name, known = parsed(file, call)[0], set()
    with suppress(SyntaxError, ValueError, RecursionError):  # whoever runs it will be told
        found: list[ast.AST] = [ast.parse(file.read_bytes())]
        for node in found:  # which grows
            known |= {getattr(node, field, "") for field in ("name", "asname", "id")}
            found += () if isinstance(node, ast.ClassDef) else ast.iter_child_nodes(node)
        if known.isdisjoint((name, "*", "__getattr__", "globals", "vars", "setattr", "exec")):
            raise _absent(file, name)


def require_arguments(upscale: Upscale, place: str) -> None:
    """Unavailable, with what it takes, where it cannot be called as a method is."""
    with suppress(ValueError):  # of some that are built in no signature is known
        signature = inspect.signature(upscale, follow_wrapped=False)
        try:
            signature.bind(None, scale=4, seeds=[0])
        except TypeError as error:
            found = f"found {printable(signature)}: {error} ({place})"
            raise Unavailable(f"expected upscale(lr, *, scale, seeds), {found}") from error


def _place(file: Path, name: str) -> str:
    """The FILE:LINE at which a name is defined; the file alone where it is not defined in there."""
    line = _defined(file).get(name)
    return shown(str(file), line) if line else printable(file)


def _defined(file: Path) -> dict[str, int]:
    """What a file itself calls functions, classes and values, and their lines."""
    found: dict[str, int] = {}
    for node in ast.parse(file.read_bytes()).body:
        targets = [getattr(each, "id", "") for each in getattr(node, "targets", ())]
        found |= dict.fromkeys(filter(None, [getattr(node, "name", ""), *targets]), node.lineno)
    return found


def _absent(file: Path, name: str) -> Unavailable:
    what = f"a function {DEFAULT}(lr, *, scale, seeds)" if name == DEFAULT else f"'{name}'"
    known = ", ".join(f"'{name}' in line {line}" for name, line in list(_defined(file).items())[:3])
    return Unavailable(f"{printable(file)}: expected {what}, found {printable(known) or 'none'}")


def _adapted(found: Any, device: str, place: str) -> Upscale:
    if callable(getattr(found, "upscale", None)):
        return found.upscale  # type: ignore[no-any-return]
    if is_a("diffusers", "DiffusionPipeline", found):
        return partial(_by_pipeline, found.to(device))
    if is_a("torch", "nn.Module", found):
        return partial(_by_network, found.eval().to(device), device)
    if callable(found):
        return found  # type: ignore[no-any-return]
    raise Unavailable(
        "expected a function, a network, a pipeline of diffusers or an object with `upscale`, "
        f"found {type(found).__name__} ({place})"
    )


def _by_network(
    network: Any, device: str, lr: "Tensor", *, scale: int, seeds: Sequence[int]
) -> Any:
    import torch

    with torch.inference_mode():
        found = network(lr.to(device))
        return found.float().cpu() if isinstance(found, torch.Tensor) else found


def _pipeline(index: Path, device: str) -> tuple[Upscale, str]:
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging
    from transformers.utils import logging as networks_logging

    logging.disable_progress_bar()
    networks_logging.disable_progress_bar()
    folder, place = index.parent, printable(index.parent)
    if any(folder.rglob("*.py")):
        raise Unavailable(f"{place}: holds code, which is not run; build it in a Python file")
    found = DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return partial(_by_pipeline, found.to(device)), place


def _by_pipeline(pipeline: Any, lr: "Tensor", *, scale: int, seeds: Sequence[int]) -> "Tensor":
    """One image after the other, without a prompt where the pipeline takes one."""
    import torch
    from PIL import Image

    pipeline.set_progress_bar_config(disable=True)
    takes = inspect.signature(pipeline.__call__).parameters
    made = []
    for one, seed in zip(lr, seeds, strict=True):
        picture = Image.fromarray(images.to_uint8(one[None]))
        asked = {"image": picture, "generator": torch.Generator().manual_seed(seed)}
        asked |= {"prompt": ""} if "prompt" in takes else {}
        [found] = pipeline(**asked, output_type="np").images
        made.append(torch.from_numpy(found).permute(2, 0, 1))
    return torch.stack(made)


def _onnx(file: Path, device: str) -> tuple[Upscale, str]:
    """A network from (N, 3, H, W) or (N, H, W, 3), floats in [0, 1] or uint8, to the same."""
    import onnxruntime
    import torch

    kind, _, index = device.partition(":")
    if kind == "mps":
        raise Unavailable("--device mps: networks in ONNX run on cpu and cuda")
    at = {"device_id": index or "0"} if kind == "cuda" else {}
    provider = (f"{kind.upper()}ExecutionProvider", at)
    none = f"--device {device}: this onnxruntime has none; install onnxruntime-gpu"
    if provider[0] not in onnxruntime.get_available_providers():  # which a session warns of
        raise Unavailable(none)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # By its bytes, so that it can read no other file.
    session = onnxruntime.InferenceSession(file.read_bytes(), options, [provider])
    if provider[0] not in session.get_providers():  # it goes on without
        raise Unavailable(none)
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        told = printable(", ".join(f"{each.name} {each.shape}" for each in inputs))
        raise Unavailable(f"{printable(file)}: expected one input (N, 3, H, W), found {told}")
    return partial(_by_session, session, inputs[0]), printable(file)


def _by_session(session: Any, given: Any, lr: "Tensor", *, scale: int, seeds: Sequence[int]) -> Any:
    import torch

    kinds = {"tensor(uint8)": torch.uint8, "tensor(float16)": torch.float16}
    kind, last = kinds.get(given.type, torch.float32), given.shape[3] == 3 != given.shape[1]
    x = lr.permute(0, 2, 3, 1) if last else lr
    x = (x * 255).round().to(kind) if kind is torch.uint8 else x.to(kind)
    made = [session.run(None, {given.name: one[None].numpy()})[0] for one in x]
    found = torch.cat([torch.from_numpy(one) for one in made])
    found = found.float() if found.is_floating_point() else found / 255
    return found.permute(0, 3, 1, 2) if last else found
