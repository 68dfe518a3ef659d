"""Copy a trained model in half precision, as it is shipped.

python -m cassr.training.release results/training/mini/guidance/model cassr/models/cassr-mini
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from cassr.base.errors import TrainingError
from cassr.base.model_card import CARD, CUSTOM_PIPELINE
from cassr.pipeline import CasSRPipeline
from cassr.training.train import save_model


def release(source: Path, target: Path) -> int:
    """Write `source` to `target`, inside the package, in float16; gives the bytes of its weights.

    Other files there, as its card, stay. Raises TrainingError: the source is no saved pipeline.
    """
    if not (source / "model_index.json").is_file():
        raise TrainingError(f"{source}: expected the folder of a trained model, found none")
    pipeline = CasSRPipeline.from_pretrained(source, torch_dtype=torch.float16)
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder:
        save_model(pipeline, Path(folder) / "model")
        for config in (Path(folder) / "model").rglob("*.json"):
            _forget_origin(config)
        for made in (Path(folder) / "model").iterdir():
            if made.name == CUSTOM_PIPELINE or (made.name == CARD and (target / CARD).exists()):
                continue
            if made.is_dir():
                shutil.rmtree(target / made.name, ignore_errors=True)
            made.replace(target / made.name)
    return sum(file.stat().st_size for file in target.rglob("*.safetensors"))


def _forget_origin(config: Path) -> None:
    """Drop the folder that diffusers notes where a module was loaded from."""
    values = json.loads(config.read_text(encoding="utf-8"))
    values.pop("_name_or_path", None)
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m cassr.training.release MODEL TARGET")
    try:
        size = release(Path(sys.argv[1]), Path(sys.argv[2]))
    except TrainingError as error:
        sys.exit(f"error: {error}")
    print(f"{sys.argv[2]}: {size / 2**20:.1f} MiB of weights")
