"""Random weights with the right names and shapes, saved in the formats the libraries load.

Parts of a network that a metric never uses are stored as one number seen many times, which keeps
the files small.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.base.types import MetricSpec


def plant(spec: MetricSpec, hub: Path) -> None:
    """Put substitutes for every weight of a metric below `hub` (TORCH_HOME/hub)."""
    for weight in spec.weights:
        path = hub.parent / weight.folder / weight.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_made(weight.name), path)


@cache
def _made(name: str) -> Path:
    """The substitute called so, made once for all tests of this process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    torch.manual_seed(0)
    MAKERS[name](Path(folder.name, name))
    return Path(folder.name, name)


def _save(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)


def _unused(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name: torch.zeros(()).expand(value.shape) if name.startswith(prefix) else value
        for name, value in state.items()
    }


def _alexnet(path: Path) -> None:
    from torchvision.models import alexnet

    _save(_unused(alexnet(weights=None).state_dict(), "classifier"), path)


def _vgg16(path: Path) -> None:
    from torchvision.models import vgg16

    with torch.device("meta"):
        shapes = vgg16(weights=None).state_dict()
    state = {
        name: torch.randn(value.shape) * 0.05
        for name, value in shapes.items()
        if name.startswith("features")
    }
    rest = {name: torch.zeros(()).expand(value.shape) for name, value in shapes.items()}
    _save(rest | state, path)


def _lpips(path: Path) -> None:
    channels = (64, 192, 384, 256, 256)
    _save({f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(channels)}, path)


def _dists(path: Path) -> None:
    _save({name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")}, path)


def _musiq(path: Path) -> None:
    from pyiqa.archs.musiq_arch import MUSIQ

    _save(MUSIQ(num_class=1, pretrained=False).state_dict(), path)


def _maniqa(path: Path) -> None:
    import timm
    from pyiqa.archs.maniqa_arch import MANIQA

    create = timm.create_model
    timm.create_model = lambda name, pretrained: create(name, pretrained=False)
    try:
        _save(MANIQA(pretrained=False).state_dict(), path)
    finally:
        timm.create_model = create


def _clip(path: Path) -> None:
    """ResNet-50's class with fewer blocks, and a small text encoder: both are read off the file."""
    from pyiqa.archs.clip_model import CLIP

    model = CLIP(
        embed_dim=1024,
        image_resolution=224,
        vision_layers=(1, 1, 1, 1),
        vision_width=64,
        vision_patch_size=None,
        context_length=77,
        vocab_size=49408,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=1,
    )
    _archive({name: value.half() for name, value in model.state_dict().items()}, path)


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def _archive(state: dict[str, Tensor], path: Path) -> None:
    """A TorchScript archive whose parameters have the names and values of `state`."""
    root = _Node()
    for name, value in state.items():
        node = root
        *folders, leaf = name.split(".")
        for folder in folders:
            if folder not in node._modules:
                node.add_module(folder, _Node())
            node = node.get_submodule(folder)
        node.register_buffer(leaf, value)
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), path)


class _Layers(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _inception(path: Path) -> None:
    """TorchScript with `.layers`: (b, 3, 299, 299) in [-1, 1] -> (b, 2048)."""
    first = (nn.Conv2d(3, 64, 7, stride=4), nn.ReLU(), nn.Conv2d(64, 2048, 3, stride=4))
    layers = nn.Sequential(*first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.jit.save(torch.jit.script(_Layers(layers.eval())), path)


def _checkpoint(make: Callable[[], nn.Module], path: Path) -> None:
    """A network of pyiqa's on an untrained backbone, as its checkpoints are saved."""
    import timm

    create = timm.create_model
    timm.create_model = lambda name, pretrained, **options: create(name, **options)
    try:
        _save({"params": make().state_dict()}, path)
    finally:
        timm.create_model = create


def _topiq(path: Path) -> None:
    from pyiqa.archs.topiq_arch import CFANet

    options = {"semantic_model_name": "resnet50", "model_name": "cfanet_nr_koniq_res50"}
    _checkpoint(lambda: CFANet(**options, use_ref=False, pretrained=False), path)


def _hyperiqa(path: Path) -> None:
    from pyiqa.archs.hypernet_arch import HyperNet

    _checkpoint(lambda: HyperNet(pretrained=False), path)


def _small_clip(path: Path) -> None:
    """CLIP's class, small: ViT-B/32 is known by its file's name alone."""
    from clip.model import CLIP

    _archive(CLIP(32, 32, 2, 64, 16, 77, 49408, 64, 1, 1).state_dict(), path)


MAKERS = {
    "cfanet_nr_koniq_res50-9a73138b.pth": _topiq,
    "HyperIQA-resnet50-koniq10k-c96c41b1.pth": _hyperiqa,
    "ViT-B-32.pt": _small_clip,
    "alexnet-owt-7be5be79.pth": _alexnet,
    "vgg16-397923af.pth": _vgg16,
    "LPIPS_v0.1_alex-df73285e.pth": _lpips,
    "DISTS_weights-f5e65c96.pth": _dists,
    "musiq_koniq_ckpt-e95806b9.pth": _musiq,
    "MANIQA_PIPAL-ae6d356b.pth": _maniqa,
    "RN50.pt": _clip,
    "inception-2015-12-05.pt": _inception,
}
