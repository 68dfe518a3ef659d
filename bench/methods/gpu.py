"""Whether a GPU runs what an environment's torch was built for."""

from __future__ import annotations

from collections.abc import Sequence

from bench.methods.checks import Check

LEAST_MEMORY = 0.9
"""Of what a card says about a GPU's memory: a "24 GB" one tells of a little less or more."""


def gpu(kernels: Sequence[str], least_gb: int = 0) -> Check:
    """Whether this machine's GPU runs these kernels, and has as much memory."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "missing", "no CUDA device", "run it on a machine with one")
    name, has = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
    if kernels and not runs_on(kernels, has):
        found = f"{name} is sm_{has[0]}{has[1]}, its torch has kernels for {', '.join(kernels)}"
        return Check("GPU", "broken", found, "run it on an older GPU")
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    if memory < least_gb * LEAST_MEMORY:
        found = f"{name} has {memory:.0f} GB, about {least_gb} GB are needed"
        return Check("GPU", "broken", found, "run it on a larger GPU")
    return Check("GPU", "ok", name)


def runs_on(kernels: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for these GPU generations runs on one: binaries (sm_86) on the same major
    version from their minor one on, intermediate code (compute_86) on all later ones."""
    major, minor = capability
    for kernel in kernels:
        kind, _, number = kernel.partition("_")
        made = divmod(int(number.rstrip("af")), 10)
        same = made[0] == major and made[1] <= minor
        if same or (kind == "compute" and made <= capability):
            return True
    return False
