"""Images of every kind: the values that OpenCV reads, or a refusal that names file and cause."""

from __future__ import annotations

import importlib.util
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qutils import images
from qutils.errors import DataError
from qutils.images import check_whole, image_facts, open_image, read_rgb

WIDTH, HEIGHT = 24, 16
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
CLEAR = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(COLOUR[:3, :3]).resize((WIDTH, HEIGHT)))


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def png(values: np.ndarray, bits: int, colour: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of rows as they are, whatever their depth."""
    width, height = size or (WIDTH, HEIGHT)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    parts = chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, bits: int, samples: int = 1, **tags: int) -> bytes:
    """A TIFF of one strip, whatever its depth; ``white`` is its photometric interpretation."""
    data, order = values.tobytes(), ">" if values.dtype.byteorder == ">" else "<"
    short = {256: WIDTH, 257: HEIGHT, 259: 1, 262: tags.get("photometric", 1), 277: samples}
    short |= {278: HEIGHT, 339: tags.get("kind", 1)}
    if "extra" in tags:
        short[338] = tags["extra"]
    end = 8 + len(data) + len(data) % 2
    entries = [(tag, 3, 1, struct.pack(order + "H2x", value)) for tag, value in short.items()]
    depth = struct.pack(order + f"{samples}H", *[bits] * samples)
    later = end + 2 + 12 * (len(entries) + 3) + 4
    place = depth.ljust(4, b"\0") if len(depth) <= 4 else struct.pack(order + "I", later)
    entries += [(258, 3, samples, place), (273, 4, 1, struct.pack(order + "I", 8))]
    entries += [(279, 4, 1, struct.pack(order + "I", len(data)))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", end)
    rows = [struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in sorted(entries)]
    table = struct.pack(order + "H", len(rows)) + b"".join(rows) + bytes(4)
    return (head + data).ljust(end, b"\0") + table + depth


def saved(values: np.ndarray, mode: str | None = None, **options: object) -> Callable[[Path], None]:
    """Save pixels by Pillow, in the format of the path's ending."""

    def save(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's ``mode``
            image = Image.fromarray(values, mode) if mode else Image.fromarray(values)
        image.save(path, **options)

    return save


def converted(mode: str, **options: object) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(SMOOTH).convert(mode).save(path, **options)


def frames(values: np.ndarray, **options: object) -> Callable[[Path], None]:
    return saved(values, save_all=True, append_images=[Image.fromarray(255 - values)], **options)


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def oriented(number: int, **options: object) -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[274] = number
    return saved(SMOOTH, exif=exif, **options)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'


def deep(bands: int) -> np.ndarray:
    return RNG.integers(0, 65536, (HEIGHT, WIDTH * bands)).astype(">u2")


#: By name of the file. OpenCV reads all of them.
KINDS: dict[str, Callable[[Path], None]] = {
    "grey.png": saved(GREY),
    "grey.jpg": saved(SMOOTH[..., 0]),
    "grey.bmp": saved(GREY),
    "grey.tif": saved(GREY),
    "grey_white_is_zero.tif": written(tiff(GREY, 8, photometric=0)),
    "grey_2_bits.png": written(png(GREY[:, : WIDTH // 4], 2, 0)),
    "grey_transparent.png": saved(GREY, transparency=7),
    "grey_alpha.png": saved(CLEAR[..., :2], "LA"),
    "grey_alpha_16.png": written(png(deep(2), 16, 4)),
    "grey_16.png": saved(DEEP),
    "grey_16.tif": saved(DEEP),
    "grey_16.jp2": saved(DEEP),
    "grey_16_big_endian.tif": written(tiff(DEEP.astype(">u2"), 16)),
    "grey_16_white_is_zero.tif": written(tiff(DEEP, 16, photometric=0)),
    "colour_16.png": written(png(deep(3), 16, 2)),
    "colour_16.tif": written(tiff(deep(3), 16, 3, photometric=2)),
    "rgba_16.png": written(png(deep(4), 16, 6)),
    "rgba.png": saved(CLEAR),
    "rgba.bmp": saved(CLEAR),
    "rgba.webp": saved(CLEAR, lossless=True, exact=True),
    "rgba_opaque.tif": saved(np.dstack([COLOUR, 255 + 0 * GREY])),
    "rgbx.tif": written(tiff(CLEAR, 8, 4, photometric=2, extra=0)),
    "palette.png": lambda path: Image.fromarray(COLOUR).quantize(16).save(path),
    "palette.tif": lambda path: Image.fromarray(COLOUR).quantize(16).save(path),
    "palette_transparent.png": (
        lambda path: Image.fromarray(COLOUR).quantize(16).save(path, transparency=3)
    ),
    "cmyk.jpg": saved(np.dstack([SMOOTH, 255 - SMOOTH[..., :1]]), "CMYK", quality=95),
    "cmyk.tif": saved(CLEAR, "CMYK"),
    "one_bit.png": saved(GREY > 127),
    "one_bit.tif": saved(GREY > 127),
    "colour.jpg": saved(SMOOTH),
    "progressive.jpg": saved(SMOOTH, progressive=True),
    "trailing_bytes.jpg": lambda path: (saved(SMOOTH)(path), path.open("ab").write(b"more"))[0],
    "lossy.webp": saved(SMOOTH),
    "colour.jp2": saved(SMOOTH),
    "colour.avif": saved(SMOOTH),
    "jpeg_inside.tif": saved(SMOOTH, compression="jpeg"),
    "animated.png": frames(COLOUR),
    "animated.webp": frames(COLOUR, lossless=True),
    "pages.tif": frames(COLOUR),
    "pages_grey.tif": frames(GREY),
    "burst.mpo": frames(SMOOTH),
    "png_called.jpg": saved(COLOUR, format="PNG"),
    "xmp_alone.jpg": saved(SMOOTH, xmp=XMP),
    "exif_damaged.jpg": saved(SMOOTH, exif=b"Exif\0\0MM\0*\0\0"),
    **{f"exif_{n}.jpg": oriented(n) for n in range(2, 9)},
    **{f"exif_{n}.png": oriented(n) for n in (2, 6)},
    **{f"exif_{n}.webp": oriented(n, lossless=True) for n in (3, 8)},
    **{f"exif_{n}.tif": oriented(n) for n in (4, 5)},
}  # fmt: skip


def make(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        {**KINDS, **REFUSED}[name](path)
    except (KeyError, OSError) as error:
        pytest.skip(f"Pillow was built without it: {error}")
    return path


@pytest.fixture(scope="module")
def imread() -> Callable[[str], np.ndarray]:
    """The reader of the scorer."""
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed: make detection")
    from qutils.detection.ultralytics import library

    library()
    from ultralytics.utils.patches import imread

    return imread


@pytest.mark.parametrize("name", KINDS)
def test_values_are_those_that_the_scorer_reads(tmp_path, imread, name):
    path = make(tmp_path, name)
    theirs = imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(np.asarray(read_rgb(path)), theirs)
    facts = image_facts(path)
    assert (facts.height, facts.width) == theirs.shape[:2]
    check_whole(path)


def test_upper_bits_of_deep_grey_are_read(tmp_path):
    path = make(tmp_path, "grey_16.png")
    expected = np.repeat((DEEP >> 8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(read_rgb(path)), expected)
    assert image_facts(path).deep
    assert not image_facts(make(tmp_path, "grey.png")).deep


@pytest.mark.parametrize("name", ["animated.png", "animated.webp", "pages.tif"])
def test_the_first_of_several_frames_is_read(tmp_path, name):
    path = make(tmp_path, name)
    np.testing.assert_array_equal(np.asarray(read_rgb(path)), COLOUR)
    assert image_facts(path).frames
    assert not image_facts(make(tmp_path, "grey.png")).frames


# Refused ------------------------------------------------------------------------------------------

#: What Pillow would read, but OpenCV not, or otherwise, and the cause that is named.
REFUSED: dict[str, Callable[[Path], None]] = {
    "float.tif": saved(GREY.astype(np.float32) / 255),
    "int_32.tif": saved(GREY.astype(np.int32)),
    "int_16.tif": written(tiff(DEEP, 16, kind=2)),
    "grey_12.tif": written(tiff(DEEP.view(np.uint8)[:, : WIDTH * 3 // 2], 12)),
    "grey_4.tif": written(tiff(GREY[:, : WIDTH // 2], 4)),
    "lab.tif": converted("LAB"),
    "ycbcr.tif": converted("YCbCr"),
    "transparent.tif": saved(CLEAR),
    "float_colour.tif": written(tiff(COLOUR.astype("<f4"), 32, 3, photometric=2, kind=3)),
}
CAUSES = {
    "float.tif": "32 bits a pixel; save it with 8 bits",
    "int_32.tif": "32 bits a pixel; save it with 8 bits",
    "int_16.tif": "more than 8 bits; save it with 8 bits",
    "grey_12.tif": "1 x 12 bits a pixel; save it with 8 bits",
    "grey_4.tif": "1 x 4 bits a pixel; save it with 8 bits",
    "lab.tif": "its pixels are LAB; save it as RGB",
    "ycbcr.tif": "its pixels are YCbCr; save it as RGB",
    "transparent.tif": "transparent pixels; save it without transparency",
    "float_colour.tif": "not an image",
}


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_that_readers_disagree_on_are_refused(tmp_path, name):
    path = make(tmp_path, name)
    with pytest.raises(DataError, match=CAUSES[name]) as error:
        read_rgb(path)
    assert str(error.value).startswith(f"{path} cannot be read: ")
    with pytest.raises(DataError, match=CAUSES[name]):
        check_whole(path)


@pytest.mark.parametrize("name", ["float.tif", "transparent.tif", "lab.tif"])
def test_the_advice_to_save_them_otherwise_works(tmp_path, name):
    with Image.open(make(tmp_path, name)) as image:
        image.convert("L" if image.mode == "F" else "RGB").save(tmp_path / "again.tif")
    read_rgb(tmp_path / "again.tif")


def torn(name: str, share: float = 0.6) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        KINDS[name](path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


DAMAGED: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "missing.png": (lambda path: None, "No such file"),
    "folder.png": (lambda path: path.mkdir(), "directory"),
    "empty.png": (written(b""), "not an image"),
    "text.jpg": (written(b"no image"), "not an image"),
    "torn.jpg": (torn("colour.jpg", 0.97), "truncated"),
    "torn.png": (torn("grey_16.png"), "truncated|Truncated"),
    "torn_end.png": (torn("grey.png", 0.99), None),
    "torn.tif": (torn("grey.tif", 0.5), None),
    "torn.bmp": (torn("grey.bmp"), "truncated"),
    "torn.webp": (torn("lossy.webp"), None),
    "torn.jp2": (torn("colour.jp2"), None),
    "no_pixels.png": (written(png(GREY, 8, 0, (0, 16))), None),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named_with_one_clear_error(tmp_path, name):
    write, cause = DAMAGED[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(DataError, match=cause) as error:
        check_whole(path)
    assert str(error.value).startswith(f"{path} cannot be read: ")
    assert str(error.value).endswith(". Remove or replace it.")
    if name != "torn_end.png":  # all its pixels are there
        with pytest.raises(DataError, match=cause):
            read_rgb(path)


@pytest.mark.parametrize("size", [(20_000, 10_000), (60_000, 60_000)], ids=["large", "bomb"])
def test_images_beyond_the_bound_are_refused_before_pixels_are_made(tmp_path, monkeypatch, size):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as many notebooks set it
    path = tmp_path / "bomb.png"
    path.write_bytes(png(np.zeros((4, 4), np.uint8), 8, 0, size))
    with pytest.raises(DataError, match=r"0 pixels are more than the 178,956,970 that are decoded"):
        read_rgb(path)


def test_pillows_own_bound_is_reported_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = make(tmp_path, "grey.png")
    with pytest.raises(DataError, match=r"cannot be read: it has more than .* pixels"):
        read_rgb(path)


def test_a_large_but_bounded_image_is_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)  # Pillow warns from here on
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_rgb(make(tmp_path, "grey.png")).size == (WIDTH, HEIGHT)


def test_errors_of_this_package_pass_through(tmp_path):
    path = make(tmp_path, "grey.png")
    own = images.UnreadableImageError(Path("other"), "of another file")
    with pytest.raises(DataError) as error, open_image(path):
        raise own
    assert error.value is own
