"""The loop of a typical paper's script: pyiqa's functions, batch 1, one decode per image.

    python benchmarks/paper_loop.py SR_FOLDER HR_FOLDER psnr ssim niqe

One method per run, one process, all cores to torch; every value is printed.
"""

import sys
from pathlib import Path

import numpy as np
import pyiqa
import torch
from PIL import Image

Y = {"test_y_channel": True, "color_space": "ycbcr"}


def read(path: Path) -> torch.Tensor:
    """(1, 3, H, W) float32 in [0, 1]."""
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    sr, hr, *names = sys.argv[1:]
    y, cpu = dict.fromkeys(("psnr", "ssim"), Y), torch.device("cpu")
    metrics = {n: pyiqa.create_metric(n, device=cpu, **y.get(n, {})) for n in names}
    with torch.no_grad():
        for path in sorted(Path(sr).iterdir()):
            pair = read(path), read(Path(hr) / path.name)
            for name, metric in metrics.items():
                score = metric(*pair) if metric.metric_mode == "FR" else metric(pair[0])
                print(path.name, name, score.item())
