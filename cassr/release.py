"""Copy a trained model in half precision, as it is shipped.

python -m cassr.release results/training/mini/guidance-image/model cassr/models/cassr-mini
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from cassr.pipeline import CasSRPipeline
from cassr.train import save_model


def release(source: Path, target: Path) -> int:
    """Write `source` to `target` in float16.

    Returns:
        bytes of the weights.

    Raises:
        OSError, ValueError: the source is no saved pipeline.
    """
    pipeline = CasSRPipeline.from_pretrained(source, torch_dtype=torch.float16)
    card = target / "README.md"
    kept = card.read_bytes() if card.is_file() else b""
    save_model(pipeline, target)
    if kept:
        card.write_bytes(kept)
    return sum(file.stat().st_size for file in target.rglob("*.safetensors"))


if __name__ == "__main__":
    size = release(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{sys.argv[2]}: {size / 2**20:.1f} MiB of weights")
