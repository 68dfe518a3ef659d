"""How alike two images, or two sets of them, are to networks that know what images show."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from bench.base.types import MetricSpec
from bench.metrics.filters import FullReference, exact
from bench.metrics.frechet import Features, frechet_distance
from bench.remote import weights

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class DinoSimilarity(FullReference):
    """Cosine of DINOv2's class tokens of both images, whole, at 224 x 224 px; in [-1, 1]."""

    sees_pixels = False
    _scale, _side = _IMAGENET, 224

    def __init__(self, spec: MetricSpec, device: str) -> None:
        super().__init__(spec, device)
        self._network = self._loaded().to(device).eval()

    def _loaded(self) -> torch.nn.Module:
        """timm's network of the name that the weights have."""
        import timm

        (file,) = self.spec.weights
        name, own = file.name.removesuffix(".safetensors"), {"file": str(weights.locate(file))}
        sizes: dict[str, Any] = {"img_size": self._side, "num_classes": 0}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=own, **sizes)

    def seen(self, image: Tensor) -> Tensor:
        """(1, d) float32."""
        side = (self._side, self._side)
        small = interpolate(image, side, mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (image.new_tensor(row).view(3, 1, 1) for row in self._scale)
        with exact():
            return self._network((small - mean) / deviation)

    def compared(self, own: Tensor, reference: Tensor) -> Tensor:
        return cosine_similarity(own, reference)


class ClipSimilarity(DinoSimilarity):
    """Cosine of CLIP's embeddings of both images, whole; in [-1, 1]."""

    _scale = _CLIP

    def _loaded(self) -> torch.nn.Module:
        import clip

        (file,) = self.spec.weights
        network = clip.load(str(weights.locate(file)), "cpu")[0].visual.float()
        self._side = network.input_resolution
        return network


class DinoFd(DinoSimilarity):
    """Frechet distance of DINOv2's class tokens; a `bench.base.types.SetMetric`."""

    distance = staticmethod(frechet_distance)

    def features(self, image: Tensor) -> Features:
        """(1, 3, H, W) float32 in [0, 1] -> (d,) float64."""
        return self.prepare(image)[0].double().cpu().numpy()
