"""Formats and ends of image files whose bytes are made here, number by number."""

import struct

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources.headers import image_end, image_format, is_media, is_motion_jpeg, is_text
from sonjit.media.sources.images import decode_image

MAGICS = {
    "jpeg": [b"\xff\xd8\xff"], "png": [b"\x89PNG\r\n\x1a\n"], "tiff": [b"II*\0", b"MM\0*", b"II+\0"], "bmp": [b"BM"],
    "gif": [b"GIF8"], "jpeg2000": [b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"], "webp": [b"RIFF\x9c\x01\0\0WEBP"],
    "pnm": [b"P4\n8", b"P5 #", b"P6\t\n1"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "magic"), [(name, magic) for name, magics in MAGICS.items() for magic in magics])
def test_a_format_is_known_by_all_bytes_of_its_start(name, magic):
    assert image_format(magic + bytes(40)) == image_format(magic) == name
    for at in range(len(magic)):
        changed = magic[:at] + bytes([magic[at] ^ 0x80]) + magic[at + 1 :]
        assert image_format(changed + bytes(40)) == ("webp" if name == "webp" and 4 <= at < 8 else None)
    assert image_format(b"\0" + magic) is None
    assert image_format(magic[:-1]) is None


def ftyp(*brands, length=None, minor=bytes(4)):
    size = 16 + 4 * len(brands[1:]) if length is None else length
    return struct.pack(">I", size) + b"ftyp" + brands[0] + minor + b"".join(brands[1:])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        *((ftyp(brand), "heic") for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
        (ftyp(b"avif"), "avif"), (ftyp(b"mif1", b"avif"), "avif"), (ftyp(b"mif1", b"miaf", b"avif"), "avif"),
        (ftyp(b"isom", b"mp42", b"heic"), None), (ftyp(b"mif1", b"heic", minor=b"avif"), "heic"),
        (ftyp(b"mif1", b"heic", b"avif", length=20), "heic"), (ftyp(b"mif1", b"heic", b"avif", length=24), "avif"),
        (ftyp(b"mif1", b"heic", b"avif", length=1 << 30), "avif"), (b"\0" + ftyp(b"avif"), None),
        (b"RIFF....AVI ", None),
        (b"P3 1 1", None), (b"P7 1 1", None), (b"P6 x", None), (b"P61", None), (b"", None),
    ],
)  # fmt: skip
def test_the_brands_of_a_file_and_the_numbers_of_pnm_are_its_format(head, name):
    assert image_format(head) == name


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", False), (b"a", True), (b" ~\t\n\r\f", True), (b"a\x1f", False), (b"a\x7f", False), (b"\x0b", False),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), True), (b"--frame", False), (b"-frame", True), (b"- -", True),
        (b"YUV4MPEG2 W4", False), (b"YUV4MPEG2", True), (b"a YUV4MPEG2 ", True), (b"a\0", False),
    ],
)  # fmt: skip
def test_text_is_printable_and_no_media(head, expected):
    assert is_text(head) is expected


def test_the_first_64_bytes_decide_what_is_text():
    for number, words in ((63, "is not an image"), (64, "contains text")):
        with pytest.raises(InputError, match=words):
            decode_image(number * b"a" + bytes(100), "x")


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def frame_of(marker, width=300, height=515, channels=3):
    return segment(marker, struct.pack(">BHHB", 8, height, width, channels) + bytes(3 * channels))


SCAN = segment(0xDA, bytes(10)) + b"\x12\xff\x00\x34\xff\xd0"
START, END = b"\xff\xd8", b"\xff\xd9"


def pnm(text, pixels=0):
    return text.encode() + bytes(pixels)


def test_images_in_a_row_are_motion_jpeg_unless_they_have_an_index():
    head = START + segment(0xE0, b"JFIF") + frame_of(0xC0)
    one = head + SCAN + END
    assert is_motion_jpeg(one + one)
    assert not is_motion_jpeg(one)
    assert not is_motion_jpeg(one + b"x" + one)
    index = segment(0xE2, b"MPF\0II")
    assert not is_motion_jpeg(START + index + one[2:] + one)
    assert is_motion_jpeg(one + START + index + one[2:])  # an index after the first scan is of another image
    thumbnail = segment(0xE1, END + START + b"\xff\xe0")
    assert not is_motion_jpeg(START + thumbnail + one[2:])


@pytest.mark.parametrize(
    ("name", "head", "pixels"),
    [
        ("pnm", "P4\n8 5\n", 5), ("pnm", "P4\n9 5\n", 10), ("pnm", "P4\n16 5 ", 10), ("pnm", "P5\n9 5\n255\n", 45),
        ("pnm", "P5\n9 5\n256\n", 90), ("pnm", "P6\n9 5\n255\n", 135), ("pnm", "P6 # 1\n9 # 2\n5\n65535\n", 270),
        ("pnm", "P6 9 5 # maximum\n100 ", 135),
    ],
)  # fmt: skip
def test_an_image_of_pnm_ends_after_its_pixels(name, head, pixels):
    assert image_end(pnm(head, pixels), name) == len(head) + pixels


def test_images_end_after_their_last_part():
    jpeg = START + segment(0xE1, END) + frame_of(0xC0) + SCAN + END
    last = b"\0\0\0\0IEND\xaeB`\x82"
    assert image_end(jpeg + jpeg, "jpeg") == len(jpeg)
    assert image_end(jpeg[:-2], "jpeg") == 0
    assert image_end(b"abc" + last + last, "png") == 3 + len(last)
    assert image_end(b"abc" + last[:-1], "png") == 0
    assert image_end(last, "png") == len(last)
    assert image_end(b"BM" + struct.pack("<I", 1 << 24 | 517) + b"\xff" * 8, "bmp") == 1 << 24 | 517
    assert image_end(b"RIFF" + struct.pack("<I", 1 << 24 | 517) + b"WEBP", "webp") == 1 << 24 | 525
    assert [image_end(b"BMxxxxxxx", name) for name in ("gif", None, "pnm")] == [0, 0, 0]
    for size, end in ((4086, 4097), (4087, 0)):  # the numbers are in the first 4096 bytes
        assert image_end(b"P4 # " + bytes(size) + b"\n8 1 ", "pnm") == end
    assert image_end(b"P5 # " + bytes(4084) + b"\n3 1 9 ", "pnm") == 4099


HEADS = {  # position and first bytes
    "MP4": (4, b"ftyp"), "MOV": (4, b"moov"), "MOV with data first": (4, b"mdat"), "old MOV": (4, b"wide"),
    "Matroska": (0, b"\x1aE\xdf\xa3"), "Flash": (0, b"FLV"), "Ogg": (0, b"OggS"), "AVI": (8, b"AVI "),
    "Windows Media": (0, b"\x30\x26\xb2\x75"), "GIF": (0, b"GIF8"), "raw frames": (0, b"YUV4MPEG2 "),
    "MPEG programme": (0, b"\0\0\x01\xba"), "MPEG video": (0, b"\0\0\x01\xb3"), "H.264": (0, b"\0\0\0\x01\x67"),
    "H.264 with delimiters": (0, b"\0\0\0\x01\x09"), "H.265": (0, b"\0\0\0\x01\x40\x01"),
    "MXF": (0, b"\x06\x0e\x2b\x34"), "Dahua": (0, b"DHAV"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_all_first_bytes_of_a_container_are_needed(name):
    at, magic = HEADS[name]
    assert is_media(bytes(at) + magic + bytes(500))
    assert is_media(bytes(at) + magic)
    assert not is_media(b"\x80" + bytes(at) + magic + bytes(500))
    for changed in range(len(magic)):
        head = bytearray(bytes(at) + magic + bytes(500))
        head[at + changed] ^= 0x80
        assert not is_media(bytes(head))


def test_two_packets_of_a_transport_stream_are_media():
    for first, step in ((0, 188), (4, 192)):
        for other in (step - 1, step, step + 1):
            head = bytearray(512)
            head[first] = head[first + other] = 0x47
            assert is_media(bytes(head)) == (other == step)
        head[first + step] = 0x47
        assert is_media(bytes(head[: first + step + 1]))
        assert not is_media(bytes(head[: first + step]))
        for other in (0x46, 0x48):
            head[first] = other
            assert not is_media(bytes(head))
            head[first], head[first + step] = 0x47, other
            assert not is_media(bytes(head))
            head[first + step] = 0x47
    assert not is_media(bytes(512))
    assert is_media(cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
