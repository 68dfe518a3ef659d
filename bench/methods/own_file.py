"""Methods that people bring: what a Python file defines, an ONNX file, a folder of diffusers."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.base.errors import CardError, Unavailable
from bench.base.lazy import is_a
from bench.base.text import printable
from bench.files import images, own_code
from bench.processes.foreign import shown

if TYPE_CHECKING:
    from torch import Tensor

Upscale = Callable[..., Any]
"""upscale(lr, *, scale, seeds); see `bench.base.types.Method`."""
NAME = re.compile(r"(?P<file>.+\.py)(?::(?P<call>\w+(?:\(.*\))?))?", re.DOTALL)
"""FILE.py, FILE.py:NAME or FILE.py:NAME(width=64)."""
DEFAULT = "upscale"


def parsed(call: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """`Net(64, depth=2)` -> "Net", [64], {"depth": 2}; a bare name has None for its arguments.

    Raises:
        CardError: it is something else; nothing of it is run.
    """
    try:
        found = ast.parse(call, mode="eval").body
        if isinstance(found, ast.Name):
            return found.id, None, {}
        assert isinstance(found, ast.Call) and isinstance(found.func, ast.Name)
        named = {str(each.arg): ast.literal_eval(each.value) for each in found.keywords if each.arg}
        assert len(named) == len(found.keywords)
        return found.func.id, [ast.literal_eval(value) for value in found.args], named
    except (SyntaxError, ValueError, TypeError, AssertionError, RecursionError) as error:
        raise CardError(
            f"method '{printable(call)}': expected NAME or NAME(64, width=64) behind FILE.py:, "
            "with plain values as arguments"
        ) from error


class UserMethod:
    """What a Python file calls `call`: a function upscale(lr, *, scale, seeds), an object with one,
    a network, a pipeline of diffusers, or a class or function that makes one of these.

    Raises:
        Unavailable: there is no such thing, it is something else, or it needs other arguments.
    """

    def __init__(self, weights: Path, call: str = DEFAULT, device: str = "cpu") -> None:
        name, given, named = parsed(call)
        module = own_code.load(weights)
        if not hasattr(module, name):
            own = [key for key, value in vars(module).items() if _is_of(module, value)]
            has = f"; give {weights.name}:{own[-1]} if that is it" if own else ""
            what = f"a function {DEFAULT}(lr, *, scale, seeds)" if name == DEFAULT else f"'{name}'"
            raise Unavailable(f"{printable(weights)}: expected {what}, found none{has}")
        found = getattr(module, name)
        self._place = _place(weights, name)
        if given is not None or inspect.isclass(found):
            found = self._made(found, given or [], named, device)
        self._upscale = adapted(found, device, self._place)

    def _made(self, found: Any, given: list[Any], named: dict[str, Any], device: str) -> Any:
        try:
            signature = inspect.signature(found)
            if "device" in signature.parameters:
                named = {"device": device, **named}
            signature.bind(*given, **named)
        except (TypeError, ValueError) as error:
            call = f"{found.__name__}{inspect.signature(found)}" if callable(found) else "a call"
            raise Unavailable(f"{self._place}: {printable(call)}: {printable(error)}") from error
        return found(*given, **named)

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        return checked(self._upscale(lr, scale=scale, seeds=seeds), lr, scale, self._place)


def _is_of(module: ModuleType, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__


def _place(file: Path, name: str) -> str:
    """The FILE:LINE at which a name is defined; the file alone where it is not defined in there."""
    for node in ast.parse(file.read_bytes()).body:
        targets = [getattr(each, "id", "") for each in getattr(node, "targets", ())]
        if name in (getattr(node, "name", ""), *targets):
            return shown(str(file), node.lineno)
    return printable(file)


def checked(sr: Any, lr: Tensor, scale: int, place: str) -> Tensor:
    """What a method gave for `lr`, (B, 3, H, W), where it is floats (B, 3, scale*H, scale*W).

    Raises:
        Unavailable: it is not; says what was found, the remedy, and where the method is defined.
    """
    count, _, height, width = lr.shape
    problem = images.problem(sr, count)
    if not problem and tuple(sr.shape[2:]) != (height * scale, width * scale):
        problem = f"{sr.shape[3]}x{sr.shape[2]} pixels, for scale {scale} of {width}x{height}"
    if problem:
        shape = f"({count}, 3, {height * scale}, {width * scale})"
        raise Unavailable(f"expected floats in [0, 1] of shape {shape}, found {problem} ({place})")
    return sr


def adapted(found: Any, device: str, place: str) -> Upscale:
    """How an object upscales, whatever it is.

    Raises:
        Unavailable: it is nothing that can.
    """
    if callable(getattr(found, "upscale", None)):
        return found.upscale
    if is_a("diffusers", "DiffusionPipeline", found):
        return partial(_by_pipeline, found.to(device))
    if is_a("torch", "nn.Module", found):
        return partial(_by_network, found.eval().to(device), device)
    if callable(found):
        return found
    raise Unavailable(
        f"{place}: expected a function, a network, a pipeline of diffusers or an object with "
        f"`upscale`, found {type(found).__name__}"
    )


def _by_network(network: Any, device: str, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Any:
    import torch

    with torch.inference_mode():
        found = network(lr.to(device))
        return found.float().cpu() if isinstance(found, torch.Tensor) else found


def _by_pipeline(pipeline: Any, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
    """One image after the other, without a prompt where the pipeline takes one."""
    import torch
    from PIL import Image

    pipeline.set_progress_bar_config(disable=True)
    takes = inspect.signature(pipeline.__call__).parameters
    prompt = {"prompt": ""} if "prompt" in takes else {}
    made = []
    for index, seed in enumerate(seeds):
        picture = Image.fromarray(images.to_uint8(lr[index : index + 1]))
        noise = torch.Generator().manual_seed(seed)
        done = pipeline(image=picture, generator=noise, output_type="np", **prompt)
        made.append(torch.from_numpy(done.images[0]).permute(2, 0, 1))
    return torch.stack(made)


class PipelineFolder:
    """A pipeline of diffusers from a folder, by its `model_index.json`; its code is never run.

    Raises:
        Unavailable: there is code in the folder.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        from diffusers import DiffusionPipeline

        folder = weights.parent
        named = json.loads(weights.read_text(encoding="utf-8")).get("_class_name")
        if any(folder.rglob("*.py")) or not isinstance(named, str):
            raise Unavailable(
                f"{printable(folder)}: holds code, which is not run; build the pipeline in a "
                "Python file and give that"
            )
        pipeline = DiffusionPipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        self._place, self._upscale = printable(folder), adapted(pipeline, device, printable(folder))

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        return checked(self._upscale(lr, scale=scale, seeds=seeds), lr, scale, self._place)


class OnnxMethod:
    """A network in one ONNX file, from an RGB image to one: (N, 3, H, W) or (N, H, W, 3), floats in
    [0, 1] or uint8.

    Raises:
        Unavailable: it has another number of inputs, or needs a GPU that is not there.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        import onnxruntime
        import torch

        options, providers = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
        options.intra_op_num_threads = torch.get_num_threads()
        if device != "cpu":
            providers.insert(0, "CUDAExecutionProvider")
        if providers[0] not in onnxruntime.get_available_providers():
            raise Unavailable("--device: this onnxruntime has no CUDA; install onnxruntime-gpu")
        # By its bytes, so that it can read no other file.
        self._session = onnxruntime.InferenceSession(weights.read_bytes(), options, providers)
        self._place, inputs = printable(weights), self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            told = ", ".join(f"{each.name} {each.shape}" for each in inputs)
            raise Unavailable(
                f"{self._place}: expected one input (N, 3, H, W), found {printable(told)}"
            )
        self._input = inputs[0]

    def upscale(self, lr: Tensor, *, scale: int, seeds: Sequence[int]) -> Tensor:
        import torch

        last = self._input.shape[1] != 3 and self._input.shape[3] == 3
        levels = self._input.type == "tensor(uint8)"
        kind = {"tensor(uint8)": torch.uint8, "tensor(float16)": torch.float16}
        x = lr.mul(255).round() if levels else lr
        x = (x.permute(0, 2, 3, 1) if last else x).to(kind.get(self._input.type, torch.float32))
        made = [self._session.run(None, {self._input.name: one[None].numpy()})[0] for one in x]
        found = torch.cat([torch.from_numpy(one) for one in made])
        found = found.permute(0, 3, 1, 2) if last else found
        found = found.float() if found.is_floating_point() else found / 255
        return checked(found, lr, scale, self._place)
