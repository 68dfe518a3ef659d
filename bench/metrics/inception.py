"""FID and KID on the Inception features of clean-fid, resized as clean-fid does ("clean").

The network is the TorchScript one that clean-fid loads; only where its file is found differs:
bench.weights, not /tmp. Distances are our own (bench.metrics.frechet).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import Tensor

from bench import weights
from bench.metrics import fingerprint
from bench.metrics.frechet import Features, frechet_distance, kernel_distance
from bench.types import Fingerprint, MetricSpec


class _InceptionSet:
    """What FID and KID share: the features."""

    def __init__(self, spec: MetricSpec, device: str) -> None:
        self.spec, self.device = spec, device
        folder = weights.place(spec.weights[0]).parent
        self._network = InceptionV3W(str(folder), download=False).to(device).eval()
        self._resize = build_resizer("clean")

    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.spec, self.device)

    def features(self, image: Tensor) -> Features:
        """Pool features of one image, numpy (2048,) float64.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
        """
        pixels = image[0].mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        resized = torch.from_numpy(np.asarray(self._resize(pixels))).permute(2, 0, 1)[None]
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact, torch.jit.optimized_execution(False):
            values: Any = self._network(resized.to(self.device))
        return values[0].double().cpu().numpy()


class Fid(_InceptionSet):
    """Frechet Inception distance; a `bench.types.SetMetric`."""

    def distance(self, sr_features: Features, hr_features: Features) -> float:
        """FID of the SR set against the HR set; numpy (n_sr, 2048), (n_hr, 2048)."""
        return frechet_distance(sr_features, hr_features)


class Kid(_InceptionSet):
    """Kernel Inception distance; a `bench.types.SetMetric`."""

    def distance(self, sr_features: Features, hr_features: Features) -> float:
        """KID of the SR set against the HR set; numpy (n_sr, 2048), (n_hr, 2048)."""
        return kernel_distance(sr_features, hr_features)
