"""CasSR: cascaded diffusion for real-world image super-resolution.

``cassr.CasSRPipeline.from_pretrained(folder_or_hub_id)(image)`` upscales an image. Importing this
package loads nothing heavy; the names below are resolved when they are first used.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cassr.activation import CSCTuners as CSCTuners
    from cassr.attention import MultipleAttention as MultipleAttention
    from cassr.build import build_pipeline as build_pipeline
    from cassr.build import pipeline_from_base as pipeline_from_base
    from cassr.config import PRESETS as PRESETS
    from cassr.config import SamplingOptions as SamplingOptions
    from cassr.pipeline import CasSRPipeline as CasSRPipeline
    from cassr.pipeline import CasSRPipelineOutput as CasSRPipelineOutput
    from cassr.prompts import PromptEmbeddings as PromptEmbeddings
    from cassr.stages import ControlNetActivation as ControlNetActivation
    from cassr.stages import Guidance as Guidance
    from cassr.stages import TunerActivation as TunerActivation

# diffusers imports it where it is installed; on some CPUs it then warns of what nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

_HOME = {
    "CasSRPipeline": "cassr.pipeline",
    "CasSRPipelineOutput": "cassr.pipeline",
    "CSCTuners": "cassr.activation",
    "ControlNetActivation": "cassr.stages",
    "Guidance": "cassr.stages",
    "MultipleAttention": "cassr.attention",
    "PRESETS": "cassr.config",
    "PromptEmbeddings": "cassr.prompts",
    "SamplingOptions": "cassr.config",
    "TunerActivation": "cassr.stages",
    "build_pipeline": "cassr.build",
    "pipeline_from_base": "cassr.build",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cassr' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
