"""FID and KID, of images and of their crops, on clean-fid's features with its "clean" resize and
TorchScript network, whose file is ours; distances are our own, too (bench.metrics.frechet)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from numpy.typing import NDArray
from torch import Tensor

from bench.base.types import MetricSpec
from bench.files.images import to_uint8
from bench.metrics.filters import check_image, exact
from bench.metrics.frechet import Features, covered, frechet_distance, kernel_distance
from bench.remote import weights

_CROPS_AT_ONCE = 16


class InceptionSet:
    """A `bench.base.types.SetMetric`: a distance of (n_sr, 2048) from (n_hr, 2048), of images, or
    of their crops where the spec has a `patch`."""

    def __init__(self, spec: MetricSpec, device: str, distance: Callable[..., float]) -> None:
        self.spec, self.device, self.distance = spec, device, distance
        folder = weights.place(spec.weights[0]).parent
        self._network = InceptionV3W(str(folder), download=False).to(device).eval()
        self._resize = build_resizer("clean")

    def features(self, image: Tensor) -> Features:
        """(1, 3, H, W) float32 in [0, 1] -> pool features, numpy (2048,) float64; of every crop
        (crops, 2048), of which the network sees `_CROPS_AT_ONCE` together, whatever else is scored.
        """
        check_image(self.spec, image)
        if "patch" not in self.spec.options:
            return self._vectors(to_uint8(image)[None])[0]
        crops = grid(to_uint8(image), self.spec.options["patch"], self.spec.options["stride"])
        starts = range(0, len(crops), _CROPS_AT_ONCE)
        return np.concatenate([self._vectors(crops[k : k + _CROPS_AT_ONCE]) for k in starts])

    def _vectors(self, crops: NDArray[np.uint8]) -> Features:
        """(k, h, w, 3) uint8 -> (k, 2048)."""
        resized = np.stack([np.asarray(self._resize(crop)) for crop in crops])
        batch = torch.from_numpy(resized).permute(0, 3, 1, 2)
        with exact(), torch.jit.optimized_execution(False):
            values: Any = self._network(batch.to(self.device))
        return values.double().cpu().numpy()


Fid = partial(InceptionSet, distance=frechet_distance)
Kid = partial(InceptionSet, distance=kernel_distance)
Precision = partial(InceptionSet, distance=covered)
Recall = partial(InceptionSet, distance=lambda sr, hr: covered(hr, sr))


def grid(pixels: NDArray[np.uint8], side: int, stride: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (crops, side, side, 3), a copy: all that fit, row by row from the top left."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (side, side), axis=(0, 1))
    picked = windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
    return picked.reshape(-1, side, side, 3)
