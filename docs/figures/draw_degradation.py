"""Draw docs/figures/degradation.png: one photograph under six seeds of both presets.

python docs/figures/draw_degradation.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from cassr.degradation import DegradationParameters, apply, resolve_options, seeded_parameters

SEEDS = range(6)
TARGET = Path(__file__).with_name("degradation.png")


def caption(parameters: DegradationParameters) -> str:
    """Resize factor, noise and JPEG quality of both orders."""
    return "\n".join(
        f"x {order.resize.factor:.2f}, {noise.kind} {noise.strength:.1f}, q {order.jpeg_quality}"
        for order in (parameters.first, parameters.second)
        if (noise := order.noise) is not None
    )


def main() -> None:
    hr = np.ascontiguousarray(skimage.data.astronaut()[:400, 56:456])
    figure, rows = plt.subplots(2, len(SEEDS) + 1, figsize=(14, 4.9), layout="constrained")
    for axes, preset in zip(rows, ("full", "mild"), strict=True):
        axes[0].imshow(hr)
        axes[0].set_title("HR", fontsize=9)
        axes[0].set_ylabel(preset, fontsize=12)
        for axis, seed in zip(axes[1:], SEEDS, strict=True):
            parameters = seeded_parameters(resolve_options(preset), seed)
            axis.imshow(apply(hr, parameters), interpolation="nearest")
            axis.set_title(f"seed {seed}", fontsize=9)
            axis.set_xlabel(caption(parameters), fontsize=7)
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.savefig(TARGET, dpi=130)


if __name__ == "__main__":
    main()
