"""Where the networks of a pipeline lie, and how they are laid out and compiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from diffusers.utils.torch_utils import get_device
from torch import nn


class Placement:
    """The part of the pipeline that moves, lays out and compiles its networks."""

    vae: Any
    unet: Any
    controlnet: Any
    activation: Any

    _offload_to: torch.device | None = None
    _compiled: dict[tuple, Any] | None = None

    def register_modules(self, **modules: Any) -> None:
        super().register_modules(**modules)  # type: ignore[misc]
        for module in modules.values():
            if isinstance(module, nn.Module):
                _align(module)

    def optimize(self, *, compile: bool = False, channels_last: bool = True) -> Self:
        """Switch on what makes sampling faster at equal results (to float tolerance).

        Args:
            compile: torch.compile the noise predictions (worth it for many images of one size).
            channels_last: lay out convolution weights for it.
        """
        if channels_last:
            for module in (self.vae, self.unet, self.controlnet, self.activation):
                if module is not None:
                    module.to(memory_format=torch.channels_last)
        self._compiled = {} if compile else None
        return self

    def ready(self, stage: Any) -> Any:
        """The stage to sample with; compiled ones are kept for the next image."""
        if self._compiled is None:
            return stage
        scales = [value for name, value in vars(stage).items() if name.endswith("_scale")]
        shares = getattr(stage, "share_halves", None)
        key = (type(stage), shares, *scales, *map(id, stage.children()))
        if key not in self._compiled:
            stage.predict = torch.compile(stage.predict)
            self._compiled[key] = stage
        return self._compiled[key]

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """Keep the networks on the CPU, and each on the device only while it is needed.

        diffusers moves a model when its `forward` is called; here models are called in parts, so
        they are moved around the work of a stage.
        """
        chosen = torch.device(device or get_device())
        if device is None and chosen.type == "cpu":
            raise RuntimeError("enable_model_cpu_offload: expected a GPU, found none; give device=")
        self._offload_to = chosen if gpu_id is None else torch.device(chosen.type, gpu_id)
        self.to("cpu")  # type: ignore[attr-defined]

    def remove_all_hooks(self) -> None:
        self._offload_to = None
        super().remove_all_hooks()  # type: ignore[misc]

    @contextmanager
    def resident(self, module: nn.Module | None) -> Iterator[None]:
        """A module on the device that it is kept away from, for the time being."""
        if module is None or self._offload_to is None:
            yield
            return
        module.to(self._offload_to)
        try:
            yield
        finally:
            module.to("cpu")


def _align(module: nn.Module) -> None:
    """Move weights to where torch would have allocated them.

    Weights mapped from a file lie at any address, for which CPU kernels round differently.
    """
    for parameter in module.parameters():
        if parameter.device.type == "cpu" and parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
