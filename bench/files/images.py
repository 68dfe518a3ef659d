"""The only place that reads, writes, converts or crops pixels: 8-bit RGB everywhere inside."""

import hashlib
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.base.errors import ImageError
from bench.base.hashing import file_sha256
from bench.base.records import part_of
from bench.base.text import printable
from bench.files.depths import bits_per_channel
from bench.files.early_ends import ends_early
from bench.files.image_folders import PLUGINS
from bench.files.names import same
from bench.files.png import plain_rgb

if TYPE_CHECKING:
    from torch import Tensor

# Of bombs, which `opened` refuses, and of EXIF and other data beside the pixels that is damaged.
# A filter for a while would be one for all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

_BUILT_IN = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000", "AVIF")
LOSSY_FORMATS = ("JPEG", "WEBP", "GIF", "JPEG2000", "AVIF", "HEIF", "JXL")
MAX_BYTES = 2**31
"""As many pixels as Pillow decodes take less; files with holes pretend to more."""
_FEWER = {"1": "black and white", "L": "grey", "LA": "grey", "P": "palette", "PA": "palette"}
BRIGHTEST = 4.0
"""The largest value taken for an image whose white is 1. What networks and sharpening overshoot
stays below 2; an image in 0..255 that stays below 4 is black to the eye."""


def read_rgb(path: Path) -> np.ndarray:
    """Decode one image file, (H, W, 3) uint8 RGB, upright; ImageError where it is none, or where
    conversion to 8-bit RGB would lose meaning (16-bit, CMYK, transparency, several frames)."""
    with _refusing(path), opened(path) as image:
        _refuse_meaningful_loss(path, image)
        if (plain := plain_rgb(path, image)) is not None:
            return plain
        rgb = np.asarray(_to_rgb(path, image))
        if ends_early(path, image):
            raise _refused(path, "ends early: a part of the picture is missing")
        return rgb


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever Pillow raises on an image as an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _refused(path, f"has too many pixels ({error})") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise _refused(path, f"cannot be decoded ({_one_line(error)})") from error


def opened(file: Path | BinaryIO) -> Image.Image:
    """An image that is not decoded yet.

    Raises:
        ImageError: there is no file, or one that is empty or huge, or a pipe, which may never end.
        DecompressionBombError: above the number of pixels at which Pillow only warns.
    """
    if isinstance(file, Path):
        _require_file(file)
    image = Image.open(file, formats=_readable_formats())
    if (limit := Image.MAX_IMAGE_PIXELS) and image.width * image.height > limit:
        image.close()
        raise Image.DecompressionBombError(f"{image.width}x{image.height}, the limit is {limit}")
    return image


@cache
def _readable_formats() -> tuple[str, ...]:
    """Pillow's own, and those of plug-ins, which are registered."""
    for package in PLUGINS:
        with suppress(ImportError):  # it is there, but broken
            getattr(import_module(package), "register_heif_opener", lambda: None)()
    return (*_BUILT_IN, *(name for name in ("HEIF", "JXL") if name in Image.OPEN))


def rgb_of(image: Image.Image) -> np.ndarray:
    """As `read_rgb`, of an image that is open already; of one that is decoded neither an early end
    is seen nor the depth of JPEG 2000 and of PPM."""
    file = Path(getattr(image, "filename", "") or "the image given")
    source = getattr(image, "fp", None) if getattr(image, "tile", ()) else None
    with _refusing(file):
        if source:
            return _read_again(file, source)
        _refuse_meaningful_loss(file, image)
        return np.asarray(_to_rgb(file, image))


def _read_again(name: Path, source: BinaryIO) -> np.ndarray:
    """Of an image that is not decoded yet, from its data: a file by which it is checked whole."""
    place = source.tell()
    source.seek(0)
    with TemporaryDirectory() as folder:
        copy = Path(folder, "image")
        copy.write_bytes(source.read())
        source.seek(place)
        try:
            return read_rgb(copy)
        except ImageError as error:
            raise _refused(name, error.reason) from error


def losses(path: Path) -> str:
    """How a readable file may hold less than the RGB pixels that were written; "" if it cannot."""
    with opened(path) as image:
        kind = image.format if image.format in LOSSY_FORMATS else _FEWER.get(image.mode, "")
        return str(kind)


def _require_file(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise _refused(path, "is a link to a file that does not exist")
    if not path.exists():
        raise _refused(path, "does not exist")
    if not path.is_file():
        raise _refused(path, "is not a file")
    size = path.stat().st_size
    if size == 0:
        raise _refused(path, "is empty (0 bytes)")
    if size > MAX_BYTES:
        raise _refused(path, f"is {size >> 20} MiB; images of up to {MAX_BYTES >> 20} are read")


def _refuse_meaningful_loss(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise _refused(path, f"has {frames} frames; one still image is expected")
    if bits_per_channel(path, image) > 8:
        raise _refused(path, "has 16 bits per channel; convert it to 8 bits first")
    if image.mode in ("CMYK", "LAB", "HSV") or image.info.get("adobe_transform") == 2:
        raise _refused(path, f"is {image.mode}; convert it to RGB first")


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    turned = image.format == "JXL" and not getattr(image, "jpeg", False)  # by its decoder
    upright = image if turned else ImageOps.exif_transpose(image)
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
    if isinstance(error, OSError) and error.strerror:  # its text names the file once more
        return error.strerror
    return printable(str(error) or type(error).__name__)


def write_png(path: Path, rgb: np.ndarray, profile: bytes = b"") -> None:
    """Write (H, W, 3) uint8 as PNG, with the ICC profile of its colours, by the fastest deflate (a
    quarter of the time, 13 % more bytes); the file appears whole or not at all."""
    image = Image.fromarray(rgb, "RGB")
    with part_of(path) as part:
        image.save(part, format="PNG", compress_level=1, icc_profile=profile or None)


def to_tensor(rgb: np.ndarray) -> "Tensor":
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1]."""
    import torch

    # A copy, since decoded arrays are read-only and torch warns about sharing those.
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].to(torch.float32).div_(255)


def to_uint8(x: "Tensor") -> np.ndarray:
    """(1, 3, H, W) float, nominally in [0, 1] -> (H, W, 3) uint8, clamped and rounded; ImageError,
    with what was found and how to mend it, for any other."""
    found = problem(x)
    if found:
        raise ImageError(f"expected floats in [0, 1] of shape (1, 3, H, W), found {found}")
    scaled = x[0].detach().float().clamp(0, 1).mul(255).round()
    return scaled.byte().permute(1, 2, 0).cpu().numpy()


def problem(x: object, count: int = 1) -> str:
    """What is wrong with `count` upscaled images, and the remedy; "" when nothing is."""
    import torch

    if not isinstance(x, torch.Tensor):
        return _SWAPS.get(type(x).__name__, f"{type(x).__name__}; return a torch tensor")
    if x.dim() != 4 or x.shape[:2] != (count, 3):
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
    """Pillow's resize (antialiased when shrinking, a = -0.5 for bicubic), uint8 in and out;
    `filter` is "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos"."""
    how = Image.Resampling[filter.upper()]
    return np.asarray(Image.fromarray(rgb, "RGB").resize((width, height), how))


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


def image_sha256(path: Path) -> str:
    """Hash of an image file's bytes, not decoding it; ImageError where it is missing, empty, no
    file or cannot be read."""
    _require_file(path)
    try:
        return file_sha256(path)
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error


def by_stem(files: Iterable[Path]) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """The files whose stem is unique, by stem, and (file, reason) for those that share one;
    composed and decomposed accents (NFC, NFD) are the same there."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(same(file.stem), []).append(file)
    unique: dict[str, Path] = {}
    clashes: list[tuple[str, str]] = []
    for stem, group in groups.items():
        if len(group) == 1:
            unique[group[0].stem] = group[0]
        else:
            why = f"shares the name '{printable(stem)}' with {len(group) - 1} other image(s)"
            clashes += [(printable(file), why) for file in group]
    return unique, clashes
