"""Which files of a folder are its images: nothing that looks like one is passed over in silence."""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.base.errors import ImageError
from bench.base.text import printable

RECORDS = ".cassr-bench"
"""A folder that holds one was written by us, and holds outputs."""
SEEN = ".png .jpg .jpeg .jpe .jfif .webp .tif .tiff .bmp .dib .jp2 .j2k .jpx .jpf .avif .ppm .pgm"
_ADDED = {"pillow_heif": ".heic .heif .hif", "pillow_jxl": ".jxl"}
PLUGINS = {package: suffixes for package, suffixes in _ADDED.items() if find_spec(package)}
"""Packages that are here and teach Pillow to read more, and suffixes of what they do."""
READ = frozenset(" ".join([SEEN, ".pbm .pnm", *PLUGINS.values()]).split())
OTHERS = ".apng .avifs .dds .exr .gif .hdr .heic .heif .hif .icns .ico .jls .jxl .jxr .mpo .pcx"
OTHERS += " .pfm .psb .psd .qoi .sgi .tga .wdp .xcf .xpm"
RAW = ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef"
RAW += " .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
SUFFIXES = READ.union(OTHERS.split(), RAW.split())
_FIRST_BYTES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|8BPS\0|qoif"
    rb"|P[56]\s+\d+\s+\d+\s+\d+\s|\0\0\0\x0c(?:jP  |JXL )\r\n\x87\n|\xff\x4f\xff\x51\0"
    rb"|\xff\x0a[^\r\n]|....ftyp(?:avi[fs]|hei[cfmsx]|hev[cx]|mif1|msf1|crx )|BM....\0\0\0\0"
    rb"|\x76\x2f\x31\x01|FUJIFILMCCD-RAW|DDS \x7c",
    re.DOTALL,
)
_NOT_LOOKED_INTO = ("__MACOSX", "@eaDir")
MAX_NAMES = 3
WAYS = "give it by itself, or --recursive to score or upscale"


def image_files(folder: Path) -> list[Path]:
    """Every image directly in `folder`, sorted by name; hidden files are none; ImageError where the
    folder is missing, holds no image, or holds some that cannot be read."""
    files = looked_at(folder)
    strange = [file for file in files if file.suffix.lower() not in READ]
    if strange:
        names = ", ".join(f"'{printable(file.name)}'" for file in strange[:MAX_NAMES])
        more = f" and {len(strange) - MAX_NAMES} more" if strange[MAX_NAMES:] else ""
        suffixes = "a suffix .png, .jpg, .webp, .tif, .bmp, .jp2, .avif or .ppm (.heic, .jxl with "
        suffixes += "pillow-heif, pillow-jxl-plugin)"
        found = f"{names}{more}; convert, rename or move what is not to be used"
        raise ImageError(f"expected images with {suffixes}, found {found}", printable(folder))
    if not files:
        first = next(subfolders(folder), None)  # no further: there may be many
        below = "; {} {}".format(*first) if first else ""
        raise ImageError(
            f"no image file in it (PNG, JPEG, TIFF, BMP, WebP){below}", printable(folder)
        )
    return files


def looked_at(folder: Path) -> list[Path]:
    """What is directly in `folder` and is an image by its name or its first bytes, by name;
    ImageError where the folder is missing."""
    if not folder.is_dir():
        raise ImageError("expected a folder of images, found none there", printable(folder))
    seen = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in seen if _is_image(path)), key=lambda path: path.name)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _FIRST_BYTES.match(file.read(64)) is not None
    except OSError:
        return False


def places(folder: Path, recursive: bool) -> list[Path]:
    """Where images are looked for, relative to `folder`: there alone or, where it is `recursive`,
    wherever below it there are some. Hidden folders and those with outputs of ours are left out."""
    walked = _walk(folder) if recursive else ()
    return sorted(at.relative_to(folder) for at, _ in walked if looked_at(at)) or [Path()]


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below that are looked into, and the names of the files in each."""
    for name, below, files in os.walk(folder):
        below[:] = [each for each in below if _is_looked_into(Path(name, each))]
        yield Path(name), files


def _is_looked_into(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _NOT_LOOKED_INTO
    return not hidden and not (folder / RECORDS).exists()


def subfolders(folder: Path) -> Iterator[tuple[str, str]]:
    """(folder, reason) of those directly in `folder` that hold images, which are not looked into.

    Folders that we wrote into hold outputs and are not named.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES and path.is_dir() and _holds_images(path):
            yield printable(path), "holds images, which are not looked for in subfolders; " + WAYS


def _holds_images(folder: Path) -> bool:
    names = (name for _, files in _walk(folder) for name in files if not name.startswith("."))
    return _is_looked_into(folder) and any(Path(n).suffix.lower() in SUFFIXES for n in names)
