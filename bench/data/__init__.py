"""Test sets: cards, and ways from a card, a folder or the hub to hashed pairs of images."""

from bench.data.degrade import downscale

__all__ = ["downscale"]  # so cards and stored manifests call it
