"""The size in the header equals the size of the image, for every supported format."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sonjit.media.sources.images import image_format, image_size

FORMATS = {
    "jpeg": ({}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xd8\xff\xc0" * 9}),
    "png": ({},),
    "webp": ({}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (37, 23), 9)]}),
    "bmp": ({},),
    "gif": ({},),
    "tiff": ({}, {"compression": "tiff_lzw"}, {"big_tiff": True}),
    "avif": ({},),
    "ppm": ({},),
    "jpeg2000": ({},),
}


def size_of(data):
    return image_size(data, image_format(data[:64]))


@pytest.mark.parametrize(("name", "options"), [(name, o) for name, options in FORMATS.items() for o in options])
def test_the_header_has_the_size(name, options):
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (23, 37, 3), np.uint8)
    if name == "avif" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow writes no AVIF")
    Image.fromarray(noise).save(file, name, **options)
    assert size_of(file.getvalue()) == (37, 23)


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (640, 448))).save(file)
    assert size_of(file.getvalue()) == (640, 448)


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (65_000, 60_000)])
def test_jpegs_and_bitmaps_of_any_size(size):
    width, height = size
    frame = b"\xff\xd8\xff\xe0\x00\x04ab\x00junk\xff\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)
    assert size_of(frame) == size
    assert size_of(b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height)) == size


def test_a_png_of_a_few_bytes_has_its_stated_size():
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I4s", 13, b"IHDR") + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    assert size_of(b"\x89PNG\r\n\x1a\n" + chunk) == (60_000, 60_000)


MAGICS = [
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8X", b"BM", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0",
    b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", b"P6\n", b"\0\0\0\x0cjP  ",
]  # fmt: skip


@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_damaged_headers_are_no_size_or_a_positive_one(magic, rest):
    size = size_of(magic + rest)
    assert size is None or min(size) > 0


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@given(cut=st.integers(0, 400))
def test_cut_files_are_no_error(ending, cut):
    data = cv2.imencode(ending, np.zeros((12, 34, 3), np.uint8))[1].tobytes()
    assert size_of(data[:cut]) in (None, (34, 12))
