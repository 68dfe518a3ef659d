"""Pixels: what is converted, what is refused and why, and that writing is atomic and rounds."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import Cli
from pictures import hostile_files, photo
from PIL import Image

import bench
from bench.base.errors import ImageError
from bench.files import early_ends, image_folders, images, png
from bench.files.colour import profile_of
from bench.files.depths import bits_per_channel
from bench.files.image_folders import image_files


def test_every_hostile_file_is_refused_in_one_line_with_its_reason(tmp_path: Path) -> None:
    for name, word in hostile_files(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            images.read_rgb(tmp_path / name)
        line = str(caught.value)
        assert name in line and word in line, line
        assert "\n" not in line


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
ADAM7 += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column and row, and the steps to the next, of the passes of an interlaced PNG."""


def _png(rgb: np.ndarray, interlaced: int, left_out: int = 0) -> bytes:
    """A whole file of (H, W, 3) uint8, without the last rows of its data."""
    header = struct.pack(">IIBBBBB", rgb.shape[1], len(rgb), 8, 2, 0, 0, interlaced)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = (rgb[y::down, x::right] for x, y, right, down in passes)
    rows = [b"\0" + row.tobytes() for part in parts if part.size for row in part]
    data = zlib.compress(b"".join(rows[: len(rows) - left_out]))
    chunks = (b"IHDR" + header, b"IDAT" + data, b"IEND")
    sealed = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_png_whose_data_end_early_is_not_taken_for_one_that_is_black_there(
    tmp_path: Path, interlaced: int
) -> None:
    rgb, file = photo(24, 20), tmp_path / "x.png"
    rgb[-9:] = 0
    file.write_bytes(_png(rgb, interlaced))
    np.testing.assert_array_equal(images.read_rgb(file), rgb)
    file.write_bytes(_png(rgb, interlaced, left_out=1))
    with pytest.raises(ImageError, match=r"x\.png: ends early: a part of the picture is missing"):
        images.read_rgb(file)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "kind", [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"subsampling": 0}]
)
def test_a_jpeg_that_ends_early_is_not_taken_for_one_that_is_grey_or_coarse(
    tmp_path: Path, mode: str, kind: dict[str, object]
) -> None:
    rgb, file = photo(64, 64), tmp_path / "x.jpg"
    rgb[32:] = 128
    Image.fromarray(rgb).convert(mode).save(file, **kind)
    assert images.read_rgb(file).shape == (64, 64, 3)
    Image.fromarray(photo(64, 64)).convert(mode).save(file, **kind)
    data = file.read_bytes()
    file.write_bytes(data + b"of another kind \xff\xd9" * 9)
    assert images.read_rgb(file).shape == (64, 64, 3)
    start = data.index(b"\xff\xda") + 20
    for length in range(start, len(data) - 32, (len(data) - start) // 15):
        file.write_bytes(data[:length] + b"\xff\xd9")
        with pytest.raises(ImageError, match=r"ends early|cannot be decoded"):
            images.read_rgb(file)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", [{}, {"restart_marker_blocks": 7}, {"optimize": True}])
def test_a_whole_baseline_jpeg_is_decoded_once_and_one_cut_anywhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, kind: dict[str, object]
) -> None:
    file = tmp_path / "x.jpg"
    Image.fromarray(photo(64, 64)).convert(mode).save(file, **kind)
    data = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(early_ends, "_differs", lambda *_: pytest.fail("decoded again"))
        assert images.read_rgb(file).shape == (64, 64, 3)
    for cut in range(4, 60):  # in the last blocks too, of which the end is not grey
        file.write_bytes(data[:-cut] + b"\xff\xd9")
        with pytest.raises(ImageError, match="ends early"):
            images.read_rgb(file)


@pytest.mark.parametrize("grey", [False, True])
def test_whole_jpegs_of_odd_writers_are_read(tmp_path: Path, grey: bool) -> None:
    """What progressive ones alone need may be left out of a scan's header; any marker may have
    bytes to fill before it."""
    file = tmp_path / "x.jpg"
    Image.fromarray(photo(64, 64) if not grey else np.full((64, 64, 3), 128, np.uint8)).save(file)
    data, expected = file.read_bytes(), images.read_rgb(file)
    at = data.index(b"\xff\xda") + 11
    assert data[at : at + 3] == b"\0\x3f\0"
    for odd in (data[:at] + bytes(3) + data[at + 3 :], data[:-2] + b"\xff\xff\xff\xd9"):
        file.write_bytes(odd)
        np.testing.assert_array_equal(images.read_rgb(file), expected)


def test_a_progressive_jpeg_without_its_last_scan_is_not_taken_for_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    Image.fromarray(photo(64, 64)).save(file, progressive=True)
    file.write_bytes(file.read_bytes().rpartition(b"\xff\xda")[0] + b"\xff\xd9")
    with pytest.raises(ImageError, match="ends early"):
        images.read_rgb(file)


def _outcomes(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is read of a file, or why it is refused: as usual, and by Pillow alone."""
    found: list[object] = []
    for decoder in (png.plain_rgb, lambda path, image: None):
        monkeypatch.setattr(images, "plain_rgb", decoder)
        try:
            found.append(images.read_rgb(file).tolist())
        except ImageError as error:
            found.append(str(error))
    return found


def test_the_fast_decoder_takes_plain_pngs_as_pillow_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, file = photo(9, 7), tmp_path / "x.png"
    Image.fromarray(rgb).save(file, icc_profile=b"any")
    with Image.open(file) as image:
        np.testing.assert_array_equal(png.plain_rgb(file, image), rgb)
    data = _png(rgb, interlaced=0)
    cut = [data[:length] for length in range(1, len(data), 3)]
    flipped = [
        data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))
    ]
    for damaged in cut + flipped:
        file.write_bytes(damaged)
        usual, pillows = _outcomes(file, monkeypatch)
        assert usual == pillows
    for more in ({"exif": b"Exif\0\0"}, {"transparency": (0, 0, 0)}):  # turned; transparent
        Image.fromarray(rgb).save(file, **more)
        with Image.open(file) as image:
            assert png.plain_rgb(file, image) is None


def test_the_fast_decoder_is_for_the_main_thread_and_pillow_for_those_that_would_wait(
    tmp_path: Path,
) -> None:
    """Whatever becomes of torch meanwhile."""
    images.write_png(tmp_path / "x.png", photo(9, 7))

    def plain() -> bool:
        with Image.open(tmp_path / "x.png") as image:
            return png.plain_rgb(tmp_path / "x.png", image) is not None

    with ThreadPoolExecutor(1) as pool:
        assert plain() and not pool.submit(plain).result()


def test_where_the_fast_decoder_panics_pillow_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panic = type("PanicException", (BaseException,), {})  # as of Rust, where memory runs out
    images.write_png(tmp_path / "x.png", photo(9, 7))
    for raised in (panic, MemoryError, KeyboardInterrupt):
        decode = Mock(side_effect=raised)
        monkeypatch.setattr("kornia_rs.io.decode_image_png_u8", decode)
        if raised is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                images.read_rgb(tmp_path / "x.png")
        else:
            np.testing.assert_array_equal(images.read_rgb(tmp_path / "x.png"), photo(9, 7))
        assert decode.called


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "avif", "jp2", "gif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_download_that_ended_early_is_refused_with_and_without_its_zeros(
    tmp_path: Path, kind: str, share: float
) -> None:
    file = tmp_path / f"x.{kind}"
    Image.fromarray(photo(120, 160)).save(file)
    data = file.read_bytes()
    cut = data[: int(len(data) * share)]
    for end in (b"", bytes(len(data) - len(cut)))[: 1 if kind == "webp" else 2]:
        file.write_bytes(cut + end)
        with pytest.raises(ImageError, match=r"ends early|cannot be decoded"):
            images.read_rgb(file)


PLUGIN = """
import io
from PIL import Image

def opened(fp, name=""):
    image = Image.open(io.BytesIO(fp.read()[12:]))
    image.format = "{format}"
    image.info["bit_depth"] = {bits}
    return image

def add():
    Image.register_open("{format}", opened, lambda start: start[4:6] == {brand})

if "{format}" == "JXL":
    add()
else:
    register_heif_opener = add
"""
"""In place of the packages, whose decoders are not ours to test: a PNG behind the first bytes."""
HEIC, JXL = b"\0\0\0\x1cftypheic", b"\0\0\0\x0cJXL \r\n\x87\n"


def test_heic_and_jxl_are_read_where_a_plug_in_is_installed(cli: Cli, tmp_path: Path) -> None:
    plugins, sr, hr = (tmp_path / name for name in ("plugins", "sr", "hr"))
    for folder in (plugins, sr, hr):
        folder.mkdir()
    (plugins / "pillow_heif.py").write_text(PLUGIN.format(format="HEIF", brand=b"ft", bits=8))
    (plugins / "pillow_jxl.py").write_text(PLUGIN.format(format="JXL", brand=b"JX", bits=8))
    for name, start in (("a.heic", HEIC), ("b.HIF", HEIC), ("c.jxl", JXL)):
        images.write_png(hr / f"{name[0]}.png", photo(64, 64))
        (sr / name).write_bytes(start + (hr / f"{name[0]}.png").read_bytes())
    words = ("score", "--sr", sr, "--hr", hr, "--metrics", "psnr_y")
    if not image_folders.PLUGINS:
        without = cli(*words)
        assert without.returncode == 2 and "'a.heic', 'b.HIF', 'c.jxl'" in without.stderr
    path = os.pathsep.join([str(plugins), str(Path(bench.__file__).parents[1])])
    done = cli(*words, PYTHONPATH=path)
    assert done.returncode == 0 and "(n = 3)" in done.stdout, done.stderr
    (plugins / "pillow_heif.py").write_text(PLUGIN.format(format="HEIF", brand=b"ft", bits=10))
    deep = cli(*words, "--store", tmp_path / "anew", PYTHONPATH=path)
    assert "a.heic: has 16 bits" in deep.stderr and "(n = 1)" in deep.stdout


@pytest.mark.parametrize(
    ("header", "bits"),
    [
        ("f007f281480804010092c6042bf943c448017a3661d700190c1ce7d0313811c6", 8),  # lossless
        ("09ce0013880200ac0eb59f200000152aa38c1bbc9cebf9f24387c5b48deb0c6d", 8),  # lossy
        ("1873fc00142d02080401006eef002bf9038c1440d91661dbe21c3a0627c21863", 16),
        ("00015c904b285a040013880200000cb59f200000152aa38c1bbc9cebf9f24387", 16),  # floats
        ("4f40240800010040004b188b158055ff7f0000c52f00ac2904", 8),  # of one colour
        ("7f044d0020260804010012e4032bf943c4480113700e1d8313618c31faaa6c8e", None),  # animated
    ],
)
@pytest.mark.parametrize("before", [b"", JXL + bytes(8) + b"jxlp\0\0\0\0"])
def test_the_depth_of_a_jxl_is_read_from_its_header(
    tmp_path: Path, header: str, bits: int | None, before: bytes
) -> None:
    (tmp_path / "x.jxl").write_bytes(before + b"\xff\x0a" + bytes.fromhex(header))
    image = _of_format("x.jxl")
    if bits is None:
        with pytest.raises(ValueError, match="is animated"):
            bits_per_channel(tmp_path / "x.jxl", image)
    else:
        assert bits_per_channel(tmp_path / "x.jxl", image) == bits


def test_a_whole_webp_that_ends_in_zeros_is_read(tmp_path: Path) -> None:
    letterboxed = np.zeros((768, 1012, 3), np.uint8)
    letterboxed[:268] = photo(268, 1012)
    Image.fromarray(letterboxed).save(tmp_path / "x.webp", method=0)
    assert (tmp_path / "x.webp").read_bytes().endswith(bytes(64))
    assert images.read_rgb(tmp_path / "x.webp").shape == letterboxed.shape


def test_folders_without_images_are_searched_no_further_than_the_first_that_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        images.write_png(tmp_path / name / "x.png", photo(4, 4))
    looked: list[str] = []
    monkeypatch.setattr(image_folders, "_holds_images", lambda at: looked.append(at.name) or True)
    with pytest.raises(ImageError, match=r"no image file in it .*; \S+a holds images"):
        image_files(tmp_path)
    assert looked == ["a"]


def test_a_file_that_pretends_to_be_huge_is_not_read(tmp_path: Path) -> None:
    Image.fromarray(photo(8, 8)).save(tmp_path / "x.png")
    os.truncate(tmp_path / "x.png", 20 * 2**30)
    for read in (images.read_rgb, images.image_sha256):
        with pytest.raises(ImageError, match=r"is 20480 MiB; images of up to 2048 are read"):
            read(tmp_path / "x.png")


def test_nobody_waits_for_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "x.png")
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    assert profile_of(tmp_path / "x.png") == b""
    with pytest.raises(ImageError, match="is not a file"):
        images.read_rgb(tmp_path / "x.png")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.png: does not exist"):
        images.read_rgb(tmp_path / "absent.png")


def test_damaged_exif_costs_nothing_and_is_not_spoken_of(cli: Cli, tmp_path: Path) -> None:
    cut = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"
    Image.fromarray(photo(32, 32)).save(tmp_path / "a.jpg", exif=cut)
    for words in (
        ("upscale", "--method", "bicubic", "--input", tmp_path / "a.jpg", "--output", "big"),
        ("cut", tmp_path / "a.jpg", "--out", "crops", "--side", 16, "--workers", 0),
    ):
        done = cli(*words)
        assert done.returncode == 0
        assert "Warning" not in done.stderr and "EXIF" not in done.stderr


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "1"])
def test_lossless_conversions_keep_the_picture(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(photo(20, 30)).convert(mode)
    source.save(tmp_path / "x.png")
    expected = np.asarray(source.convert("RGB"))
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.jp2", "x.avif", "x.pgm", "x.pbm", "x.webp"])
def test_every_suffix_of_a_folder_is_read(tmp_path: Path, name: str) -> None:
    mode = {".pgm": "L", ".pbm": "1"}.get(Path(name).suffix, "RGB")
    kind = "JPEG" if Path(name).suffix in (".jfif", ".jpe") else None
    Image.fromarray(photo(32, 48)).convert(mode).save(tmp_path / name, kind)
    (found,) = image_files(tmp_path)
    assert images.read_rgb(found).shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("x.jp2", b"\0\x03\x07\x01\x01\x07\x01\x01\x07", b"\0\x03\x0f\x01\x01\x0f\x01\x01\x0f"),
        ("x.ppm", b"\n255\n", b"\n65535\n"),
        ("x.avif", None, None),
    ],
)
def test_deep_files_are_refused(
    tmp_path: Path, name: str, old: bytes | None, new: bytes | None
) -> None:
    Image.fromarray(photo(32, 48)).save(tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    if old is None:
        data[data.index(b"av1C") + 6] |= 0x40
    else:
        assert new is not None and data.count(old) == 1
        data = data.replace(old, new)
    (tmp_path / name).write_bytes(data + bytes(32 * 48 * 3))
    with pytest.raises(ImageError, match=r"16 bits|cannot be decoded"):
        images.read_rgb(tmp_path / name)
    assert bits_per_channel(tmp_path / name, _of_format(name)) > 8


def test_a_deep_heic_from_memory_is_refused() -> None:
    image = Image.new("RGB", (8, 8))
    image.info["bit_depth"] = 10
    with pytest.raises(ImageError, match="16 bits per channel"):
        images.rgb_of(image)


def _of_format(name: str) -> Image.Image:
    image = Image.new("RGB", (1, 1))
    known = {".jp2": "JPEG2000", ".ppm": "PPM", ".avif": "AVIF", ".jxl": "JXL"}
    image.format = known[Path(name).suffix]
    return image


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.fromarray(photo(20, 30))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    assert images.read_rgb(tmp_path / "turned.png").shape == (30, 20, 3)


def test_tensor_round_trip_is_exact() -> None:
    rgb = photo(17, 23)
    tensor = images.to_tensor(rgb)
    assert tensor.shape == (1, 3, 17, 23) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(images.to_uint8(tensor), rgb)


def test_to_uint8_rounds_and_clamps_and_refuses_nan() -> None:
    values = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 1.7]).view(1, 1, 1, 4).repeat(1, 3, 1, 1)
    assert images.to_uint8(values)[0, :, 0].tolist() == [0, 0, 1, 255]
    with pytest.raises(ImageError, match="not finite"):
        images.to_uint8(torch.full((1, 3, 2, 2), float("nan")))
    with pytest.raises(ImageError, match=r"shape \(1, 3, H, W\)"):
        images.to_uint8(torch.zeros(1, 4, 2, 2))


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.png"
    images.write_png(target, photo(8, 8))
    before = target.read_bytes()

    def full_disk(image: Image.Image, file: Path, **how: object) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        images.write_png(target, photo(8, 8, 1))
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_pixel_hash_ignores_the_encoder_but_not_the_shape(tmp_path: Path) -> None:
    rgb = photo(12, 8)
    Image.fromarray(rgb).save(tmp_path / "a.png", compress_level=0)
    Image.fromarray(rgb).save(tmp_path / "b.bmp")
    hashes = {images.pixels_sha256(images.read_rgb(tmp_path / n)) for n in ("a.png", "b.bmp")}
    assert len(hashes) == 1
    assert images.pixels_sha256(rgb.reshape(8, 12, 3)) not in hashes


def test_crops_stay_inside() -> None:
    rgb = photo(10, 11)
    assert images.crop_to_multiple(rgb, 4).shape == (8, 8, 3)
    with pytest.raises(ImageError, match="does not lie inside an image of 11x10"):
        images.crop(rgb, 5, 5, 7, 2)


def test_clashing_stems_are_all_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png"):
        Image.fromarray(photo(4, 4)).save(tmp_path / name)
    unique, clashes = images.by_stem(image_files(tmp_path))
    assert set(unique) == {"b"}
    assert sorted(Path(file).name for file, _ in clashes) == ["a.bmp", "a.png"]


def test_written_pictures_are_readable_by_others(tmp_path: Path) -> None:
    """A report links to them, and a web server runs as somebody else."""
    images.write_png(tmp_path / "a.png", photo(8, 8))
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("mode", "suffix", "loss"),
    [("RGB", "png", ""), ("L", "png", "grey"), ("P", "png", "palette"), ("RGB", "jpg", "JPEG")],
)
def test_what_a_program_may_have_lost_is_told(
    tmp_path: Path, mode: str, suffix: str, loss: str
) -> None:
    Image.fromarray(photo(8, 8)).convert(mode).save(tmp_path / f"a.{suffix}")
    path = (tmp_path / f"a.{suffix}").rename(tmp_path / "named.png")
    assert images.losses(path) == loss


def test_too_many_pixels_are_refused_in_every_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between Pillow's limit and twice that, where Pillow only warns."""
    Image.new("RGB", (40, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    def reason(_: int) -> str:
        with pytest.raises(ImageError, match="too many pixels") as refusal:
            images.read_rgb(tmp_path / "large.png")
        return refusal.value.reason

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(reason, range(200)))) == 1


def test_an_undecoded_picture_whose_file_is_closed_is_one_line(tmp_path: Path) -> None:
    Image.fromarray(photo(32, 32)).save(tmp_path / "x.png")
    with (tmp_path / "x.png").open("rb") as file:
        picture = Image.open(file)
    with pytest.raises(ImageError, match="closed file"):
        images.rgb_of(picture)
