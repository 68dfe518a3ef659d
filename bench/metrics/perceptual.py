"""Metrics that pyiqa computes, through pyiqa's own classes: no gradient, no download; what depends
on the reference image or the weights alone is computed once."""

import math
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from bench.base.errors import ImageError
from bench.base.types import MetricSpec
from bench.metrics.filters import check_image, exact
from bench.metrics.pyiqa_loading import build
from bench.remote import weights

NEED_TEXTURE = ("vif", "cw_ssim", "mad", "vsi")
"""Of a flat HR image these are 0 / 0, of which pyiqa makes a number."""


class PyiqaMetric:
    """Any per-image metric of pyiqa; a `bench.base.types.Metric`. `net` is pyiqa's network."""

    def __init__(self, spec: MetricSpec, device: str, **options: Any) -> None:
        self.spec, self.device = spec, device
        for weight in spec.weights:
            weights.place(weight)
        self.net = build(spec, device, options)

    def prepare(self, hr: Tensor) -> Any:
        """The HR image on the device, with whatever can be computed from it alone; ImageError where
        it is too small, or flat and the metric divides by what it shows."""
        check_image(self.spec, hr)
        if self.spec.pyiqa_name in NEED_TEXTURE and bool((hr == hr[..., :1, :1]).all()):
            raise ImageError(f"{self.spec.name} is not defined: its HR image is one flat colour")
        with exact():
            return self._prepare(hr.to(self.device))

    def score(self, sr: Tensor, hr: Tensor | None, prepared: Any) -> float:
        """pyiqa's value for one image; ImageError where that is not a finite number."""
        check_image(self.spec, sr)
        with exact():
            value = float(self._value(sr.to(self.device), prepared))
        if not math.isfinite(value):
            raise ImageError(f"{self.spec.name} is not defined for this image: it gives {value}")
        return value

    def _prepare(self, hr: Tensor) -> Any:
        return hr

    def _value(self, sr: Tensor, prepared: Any) -> Tensor:
        return self.net(sr, prepared) if self.spec.reference else self.net(sr)


class Lpips(PyiqaMetric):
    """LPIPS with the reference's AlexNet features computed once."""

    def _prepare(self, hr: Tensor) -> tuple[Tensor, Any]:
        return hr, self.net.net(self.net.scaling_layer(2 * hr - 1))

    def _value(self, sr: Tensor, prepared: tuple[Tensor, Any]) -> Tensor:
        hr, features = prepared
        backbone = self.net.net
        forward, known = backbone.forward, iter([features])
        # LPIPS passes the reference through the backbone first, then the other image.
        with patch.object(backbone, "forward", lambda image: next(known, None) or forward(image)):
            return self.net(sr, hr)


class Dists(PyiqaMetric):
    """DISTS with the reference's VGG features computed once."""

    def _prepare(self, hr: Tensor) -> tuple[Tensor, list[Tensor]]:
        return hr, self.net.forward_once(hr)

    def _value(self, sr: Tensor, prepared: tuple[Tensor, list[Tensor]]) -> Tensor:
        hr, features = prepared
        once = self.net.forward_once
        with patch.object(
            self.net, "forward_once", lambda image: features if image is hr else once(image)
        ):
            return self.net(sr, hr)


class ClipIqa(PyiqaMetric):
    """CLIPIQA with the ten prompts encoded once."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        super().__init__(spec, device, backbone=str(weights.locate(spec.weights[0])))
        clip = self.net.clip_model[0].to(device)
        with exact():
            prompts = clip.encode_text(self.net.prompt_pairs.to(device))
        clip.encode_text = lambda text: prompts


class OnBackbone(PyiqaMetric):
    """A network on backbones of timm, each from the weights `NAME.safetensors` on the spec; one
    that has none there is left untrained: the network's own checkpoint holds all of its parameters
    and is loaded strictly."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        import timm

        create = timm.create_model
        files = {weight.name: weight for weight in spec.weights}

        def from_file(name: str, pretrained: bool, **options: Any) -> torch.nn.Module:
            if weight := files.get(f"{name}.safetensors"):
                options["pretrained_cfg_overlay"] = {"file": str(weights.locate(weight))}
            return create(name, pretrained=weight is not None, **options)

        # With options pyiqa may read other files, and no one knows which.
        with patch.object(timm, "create_model", from_file if files else create):
            super().__init__(spec, device)


class Afine(PyiqaMetric):
    """A-FINE, which changes the images that it is given and takes whole squares of 32 px."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        clip = [str(weights.locate(weight)) for weight in spec.weights]
        super().__init__(spec, device, **({"clip_backbone": clip[0]} if clip else {}))

    def _value(self, sr: Tensor, prepared: Any) -> Tensor:
        height, width = sr.shape[-2:]
        if height % 32 or width % 32:
            raise ImageError(f"afine takes sides that 32 divides, found {width}x{height} px")
        return self.net(sr.clone(), prepared.clone())
