"""Colour profiles: pixels are upscaled and compared as stored, and their profile goes with them."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from bench.base.text import printable
from bench.files.images import opened

_SAME = 2
"""Levels of 255 by which profiles of sRGB differ from each other."""
_MODES = {b"RGB ": ("RGB", "RGBA", "P", "L"), b"GRAY": ("L", "LA")}
"""Which pixels a profile may be of, by what it says of itself."""


def profile_of(path: Path) -> bytes:
    """The ICC profile of an image file whose colours are not sRGB's; b"" where they are, as
    without a profile, where the profile is not of such pixels, and of what is no image."""
    try:
        with opened(path) as image:
            profile, mode = bytes(image.info.get("icc_profile") or b""), image.mode
    except Exception:  # whoever decodes it says what is wrong
        return b""
    fits = mode in _MODES.get(profile[16:20], ())
    return b"" if not fits or _is_srgb(profile) else profile


def name_of(profile: bytes) -> str:
    """What a profile calls itself; sRGB without one."""
    if not profile:
        return "sRGB"
    text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    return printable(text.strip())


def is_grey(profile: bytes) -> bool:
    return profile[16:20] == b"GRAY"


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Whether it changes no colour; one that cannot be read changes none either."""
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(16, -1, 3)
    try:
        return bool(np.abs(to_srgb(colours, profile).astype(int) - colours).max() <= _SAME)
    except (ImageCms.PyCMSError, OSError):
        return True


def to_srgb(rgb: np.ndarray, profile: bytes) -> np.ndarray:
    """(H, W, 3) uint8 in a profile's colours -> the same in sRGB's, relative colorimetric; of a
    grey profile, the tones of each channel."""
    source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    stored = np.arange(256, dtype=np.uint8)[None] if is_grey(profile) else rgb
    picture, intent = Image.fromarray(stored), ImageCms.Intent.RELATIVE_COLORIMETRIC
    made = np.asarray(ImageCms.profileToProfile(picture, source, srgb, intent, "RGB"))
    return made[0, :, 0][rgb] if is_grey(profile) else made
