"""Hashes of weights, by which it is known what was computed with what."""

import hashlib

import torch
from torch import Tensor, nn


def module_digest(module: nn.Module, but: tuple[str, ...] = ()) -> str:
    """Hash of a module's weights, without those whose names begin as in `but`."""
    made = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if name.startswith(but or ("\0",)):
            continue
        made.update(name.encode())
        made.update(_bytes(value))
    return made.hexdigest()


def tensor_digest(value: Tensor) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
