"""What a saved model tells of itself: a card, and the file by which diffusers finds its class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

CARD = "README.md"
CUSTOM_PIPELINE = "pipeline.py"
CUSTOM_PIPELINE_CODE = """\
\"\"\"For DiffusionPipeline.from_pretrained(custom_pipeline=...); needs the package cassr.\"\"\"

from cassr.pipeline import CasSRPipeline  # noqa: F401
"""


def write_card(folder: Path, config: Mapping[str, Any]) -> None:
    """A model card in a folder that has none, from a pipeline's config."""
    if (folder / CARD).exists():
        return
    whole = (folder / "model_index.json").exists()
    base = config["base"]
    data = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-image",
        tags=["super-resolution", "cassr"],
        base_model=base or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_suffix(".md")),
        load="from_pretrained" if whole else "from_adapters",
        folder=folder.name,
        activation=config["activation_kind"],
        base=base or "trained with it",
        options={name: repr(value) for name, value in config["sampling"].items()},
    )
    card.save(folder / CARD)
