"""The method cards of CasSR and its ablations, made from one table of options.

`python -m baselines.cassr_variants` writes baselines/cards/cassr*.toml; a test fails when a card
is not what the table says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CARDS = Path(__file__).parent / "cards"
BLIP = "Salesforce/blip-image-captioning-base"
VERSION = 2
"""Of the pixels: 2 since tiles of large images lie where they belong."""
NO_CFG = {"guidance_scale": 1.0, "activation_guidance_scale": 1.0}


@dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    Attributes:
        name, title, summary: of the card.
        size: "sd15" or "mini".
        model: name of the trained model; rows that differ in sampling only share one.
        options: arguments of `CasSR` besides `model`.
        parameters: of all networks that run.
        needs: before it can run, in words; "" for what its size needs.
        ran: see `bench.cards`.
    """

    name: str
    title: str
    summary: str
    model: str = "cassr-sd15"
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 1_380_700_000
    size: str = "sd15"
    needs: str = ""
    ran: str = ""


PAPER_VARIANTS = (
    Variant("cassr", "CasSR", "the paper's model: SCEdit reference, multiple attention, SD-1.5"),
    Variant(
        "cassr-reference-lr",
        "CasSR, LR image as reference",
        "Table 2, first row: no stage 1, the upscaled LR image is the reference",
        model="cassr-sd15-lr",
        parameters=1_351_900_000,
    ),
    Variant(
        "cassr-reference-controlnet",
        "CasSR, ControlNet reference",
        "Table 2, second row: stage 1 is a ControlNet",
        model="cassr-sd15-controlnet",
        parameters=1_713_200_000,
    ),
    Variant(
        "cassr-no-attention",
        "CasSR without multiple attention",
        "Fig. 6e: features of both images are only added, as in a plain ControlNet",
        model="cassr-sd15-no-attention",
        parameters=1_333_200_000,
    ),
    Variant(
        "cassr-null-no-cfg",
        "CasSR, null prompt, no CFG",
        "Table 3, second row: no general description, no classifier-free guidance",
        options={"sampling": {"prompt": "", **NO_CFG}},
    ),
    Variant(
        "cassr-null-cfg",
        "CasSR, null prompt",
        "Table 3, third row: no general description, classifier-free guidance",
        options={"sampling": {"prompt": ""}},
    ),
    Variant(
        "cassr-caption",
        "CasSR with captions",
        "Table 3, last row: a caption of each image before the general description",
        model="cassr-sd15-text",
        options={"caption": BLIP},
        parameters=1_750_000_000,
    ),
)
MINI_NOTE = "CasSR miniature: shows that the pipeline works, says nothing about the paper's CasSR."
MINI_CFG = {"guidance_scale": 1.5, "activation_guidance_scale": 1.5}
TRAINING_SEEDS = (0, 1, 2)
MINI_PARAMETERS = {
    "scedit": 6_839_111,
    "controlnet": 8_305_191,
    "lr": 6_507_847,
    "no-attention": 6_559_047,
}
TEXTURE_PARAMETERS = 22_155
"""Of the VAE's last layers, which the shipped miniature has and the ablations have not."""


def _ablation(name: str, title: str, model: str, seed: int, **options: Any) -> Variant:
    return Variant(
        f"mini-{name}-{seed}",
        f"Miniature, {title}, training seed {seed}",
        f"miniature ablation: {title}; short training, seed {seed}",
        model=f"mini-{model}-{seed}",
        options=options,
        parameters=MINI_PARAMETERS[model],
        size="mini",
        needs="short trainings: nox -s train_mini ablate_mini",
        ran="20 sample photographs, CPU",
    )


MINI_VARIANTS = (
    Variant(
        "cassr-mini",
        "CasSR miniature",
        "the same classes at 7 M parameters, trained on 88 free photographs",
        model="cassr-mini",
        parameters=MINI_PARAMETERS["scedit"] + TEXTURE_PARAMETERS,
        size="mini",
        ran="39 real crops and 20 sample photographs, CPU",
    ),
    *(
        variant
        for seed in TRAINING_SEEDS
        for variant in (
            _ablation("reference-lr", "LR image as reference", "lr", seed),
            _ablation("reference-controlnet", "ControlNet reference", "controlnet", seed),
            _ablation("reference-scedit", "SCEdit reference", "scedit", seed),
            _ablation("no-attention", "without multiple attention", "no-attention", seed),
            _ablation("prompt-cfg", "description and CFG", "scedit", seed, sampling=dict(MINI_CFG)),
            _ablation(
                "null-no-cfg", "null prompt, no CFG", "scedit", seed, sampling={"prompt": ""}
            ),
            _ablation(
                "null-cfg", "null prompt, CFG", "scedit", seed, sampling={"prompt": "", **MINI_CFG}
            ),
        )
    ),
)
VARIANTS = PAPER_VARIANTS + MINI_VARIANTS
SIZES: dict[str, dict[str, Any]] = {
    "sd15": {
        "steps": 20,
        "max_workers": 1,
        "needs": "trained weights (none are published); 8 GB in float32",
        "licence": "Apache-2.0 (code); CreativeML Open RAIL-M (weights derived from SD-1.5)",
    },
    "mini": {
        "steps": 1,
        "note": MINI_NOTE,
        "licence": "Apache-2.0 (code); CC-BY-SA-4.0 (weights)",
    },
}


def card(variant: Variant) -> str:
    """The variant's method card as TOML."""
    entries = {
        "name": variant.name,
        "title": variant.title,
        "summary": variant.summary,
        "factory": "baselines.cassr_method:CasSR",
        "lookup": "baselines.cassr_files",
        "options": {"model": variant.model, **variant.options},
        "seeded": True,
        "version": VERSION,
        "parameters": variant.parameters,
        **SIZES[variant.size],
        "paper": "Chen et al., CasSR: Activating Image Power for Real-World Image "
        "Super-Resolution, 2024",
    }
    if variant.needs:
        entries["needs"] = variant.needs
    if variant.ran:
        entries["ran"] = variant.ran
    return "".join(f"{key} = {_toml(value)}\n" for key, value in entries.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    for variant in VARIANTS:
        path = CARDS / f"{variant.name}.toml"
        path.write_text(card(variant), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
