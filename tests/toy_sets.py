"""Small test sets in archives, made for the tests."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.card import DatasetCard
from bench.files import images

Files = dict[str, bytes]


def nothing(done: int, total: int) -> None:
    pass


def png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def scene(height: int, width: int, seed: int = 0, scale: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(LR, HR) of a picture with texture enough to be told from another."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 255, (height * scale // 16 + 1, width * scale // 16 + 1, 3))
    big = Image.fromarray(blobs.astype(np.uint8)).resize(
        (width * scale, height * scale), Image.Resampling.BICUBIC
    )
    hr = np.asarray(big)
    return images.resize(hr, width, height, "box"), hr


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def card(**fields: object) -> DatasetCard:
    base = {
        "name": "toy",
        "title": "Toy",
        "summary": "pairs in an archive",
        "licence": "CC0-1.0",
        "archive": {"name": "toy.zip"},
        "lr": {"files": "**/test_LR/*"},
        "hr": {"files": "**/test_HR/*"},
    }
    return DatasetCard.model_validate({**base, **fields})


def pairs(count: int = 3, side: int = 32, folder: str = "set") -> Files:
    files: Files = {}
    for index in range(count):
        lr, hr = scene(side, side + 4 * index, index)
        files[f"{folder}/test_LR/im{index}.png"] = png(lr)
        files[f"{folder}/test_HR/im{index}.png"] = png(hr)
    return files


def left_over(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
