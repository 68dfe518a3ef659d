"""The only place that reads, writes, converts or crops pixels.

Everything inside the harness is 8-bit RGB. What can be converted to it without loss of meaning is
(grey, palette, opaque alpha, EXIF orientation); the rest is refused by name.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.errors import ImageError
from bench.text import printable

if TYPE_CHECKING:
    from torch import Tensor

READABLE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
        # Named like images, so that they are refused by name rather than passed over.
        *(".gif", ".apng", ".avif", ".heic", ".jp2", ".jxl", ".psd", ".dng"),
    )
)
BRIGHTEST = 4.0
"""The largest value taken for an image whose white is 1. What networks and sharpening overshoot
stays below 2; an image in 0..255 that stays below 4 is black to the eye."""
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def read_rgb(path: Path) -> np.ndarray:
    """Decode one image file.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: not a readable image, or one whose conversion to 8-bit RGB would lose meaning
            (16-bit, CMYK, transparency, several frames).
    """
    _require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=READABLE_FORMATS) as image:
                _refuse_meaningful_loss(path, image)
                return np.asarray(_to_rgb(path, image))
    except ImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _refused(path, f"has too many pixels ({error})") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise _refused(path, f"cannot be decoded ({_one_line(error)})") from error


def _require_file(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise _refused(path, "is a link to a file that does not exist")
    if not path.exists():
        raise _refused(path, "does not exist")
    if not path.is_file():
        raise _refused(path, "is not a file")
    if path.stat().st_size == 0:
        raise _refused(path, "is empty (0 bytes)")


def _refuse_meaningful_loss(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise _refused(path, f"has {frames} frames; one still image is expected")
    if bits_per_channel(path, image) > 8:
        raise _refused(path, "has 16 bits per channel; convert it to 8 bits first")
    if image.mode in ("CMYK", "LAB", "HSV") or image.info.get("adobe_transform") == 2:
        raise _refused(path, f"is {image.mode}; convert it to RGB first")


def bits_per_channel(path: Path, image: Image.Image) -> int:
    """Bits of one channel as stored (Pillow quietly reads 16-bit RGB PNGs as 8-bit)."""
    if image.mode.startswith(("I", "F")):
        return 16
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(25)
        return int(struct.unpack("B", header[24:25])[0])
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (8,))))  # type: ignore[attr-defined]
    return 8


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    has_alpha = upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info
    if has_alpha:
        rgba = upright.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise _refused(path, "has transparent pixels; flatten it onto a background first")
        return rgba.convert("RGB")
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _refused(path: Path, why: str) -> ImageError:
    return ImageError(why, printable(path))


def _one_line(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return printable(str(error) or type(error).__name__)


def encode_png(rgb: np.ndarray, file: Path) -> None:
    Image.fromarray(rgb, "RGB").save(file, format="PNG")


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8 as PNG; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".part-", suffix=".png", dir=path.parent)
    os.close(handle)
    try:
        encode_png(rgb, Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_tensor(rgb: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1]."""
    import torch

    # A copy, since decoded arrays are read-only and torch warns about sharing those.
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].to(torch.float32).div_(255)


def to_uint8(x: Tensor) -> np.ndarray:
    """(1, 3, H, W) float, nominally in [0, 1] -> (H, W, 3) uint8, clamped and rounded.

    Raises:
        ImageError: it is no such tensor; says what was found instead and how to mend it.
    """
    problem = _problem(x)
    if problem:
        raise ImageError(f"expected floats in [0, 1] of shape (1, 3, H, W), found {problem}")
    scaled = x[0].detach().float().clamp(0, 1).mul(255).round()
    return scaled.byte().permute(1, 2, 0).cpu().numpy()


def _problem(x: object) -> str:
    """What is wrong with an upscaled image, and the remedy; "" when nothing is."""
    import torch

    if not isinstance(x, torch.Tensor):
        return _SWAPS.get(type(x).__name__, f"{type(x).__name__}; return a torch tensor")
    if x.dim() != 4 or x.shape[:2] != (1, 3):
        remedy = "; return x.permute(2, 0, 1)[None]" if x.dim() == 3 and x.shape[2] == 3 else ""
        return f"shape {tuple(x.shape)}{remedy}"
    if not x.is_floating_point():
        return f"{x.dtype}; return x.float() / 255 if it holds 0 to 255"
    if not bool(x.isfinite().all()):
        return "values that are not finite (NaN or infinity)"
    brightest = float(x.max()) if x.numel() else 0.0
    if brightest > BRIGHTEST:
        return f"values up to {brightest:g}; divide by 255 if white is 255"
    return ""


_SWAPS = {
    "NoneType": "None; return the upscaled image",
    "ndarray": "a numpy array; return torch.from_numpy(x)",
}


def resize(rgb: np.ndarray, width: int, height: int, filter: str) -> np.ndarray:
    """Pillow's resize (antialiased when shrinking, a = -0.5 for bicubic), uint8 in and out."""
    image = Image.fromarray(rgb, "RGB").resize((width, height), RESAMPLING[filter])
    return np.asarray(image)


def crop(rgb: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Cut a box out of (H, W, 3); ImageError when it does not lie inside."""
    rows, columns = rgb.shape[:2]
    inside = left >= 0 and top >= 0 and left + width <= columns and top + height <= rows
    if not inside or width < 1 or height < 1:
        box = f"{width}x{height} at ({left}, {top})"
        raise ImageError(f"crop {box} does not lie inside an image of {columns}x{rows}")
    return rgb[top : top + height, left : left + width]


def crop_to_multiple(rgb: np.ndarray, of: int) -> np.ndarray:
    """Cut the right and bottom edge so that both sides are multiples of `of`."""
    height, width = rgb.shape[:2]
    return crop(rgb, 0, 0, width - width % of, height - height % of)


def mirror_to_multiple(rgb: np.ndarray, of: int) -> np.ndarray:
    """Extend (H, W, 3) at the right and bottom by its mirror image, to sides that `of` divides."""
    below, right = (-side % of for side in rgb.shape[:2])
    return np.pad(rgb, ((0, below), (0, right), (0, 0)), mode="symmetric")


def pixels_sha256(rgb: np.ndarray) -> str:
    """Hash of size and pixels: equal for equal pictures, whatever encoder wrote the file."""
    header = struct.pack("<II", *rgb.shape[:2])
    return hashlib.sha256(header + np.ascontiguousarray(rgb).tobytes()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_sha256(path: Path) -> str:
    """Hash of an image file's bytes, not decoding it.

    Raises:
        ImageError: it is missing, empty, no file or cannot be read.
    """
    _require_file(path)
    try:
        return file_sha256(path)
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error


def image_files(folder: Path) -> list[Path]:
    """Everything directly in `folder` that is named like an image, sorted by name.

    Raises:
        ImageError: the folder is missing or holds no such file.
    """
    if not folder.is_dir():
        raise _refused(folder, "expected a folder of images, found none there")
    named = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    files = sorted((p for p in named if not p.name.startswith(".")), key=lambda p: p.name)
    if not files:
        raise _refused(folder, "no image file in it (PNG, JPEG, TIFF, BMP, WebP)")
    return files


def by_stem(files: Iterable[Path]) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """Index files by stem.

    Returns:
        The files whose stem is unique, and (file, reason) for those that share one.
    """
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.stem, []).append(file)
    unique = {stem: group[0] for stem, group in groups.items() if len(group) == 1}
    clashes = [
        (file, f"shares the name '{printable(stem)}' with {len(group) - 1} other image(s)")
        for stem, group in groups.items()
        if len(group) > 1
        for file in group
    ]
    return unique, clashes
