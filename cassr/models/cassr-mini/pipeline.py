"""For DiffusionPipeline.from_pretrained(custom_pipeline=...); needs the package cassr."""

from cassr.pipeline import CasSRPipeline  # noqa: F401
