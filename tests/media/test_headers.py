"""Formats, sizes, ends and damage of image files whose bytes are made here, number by number."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources.headers import (
    chunks,
    image_damage,
    image_end,
    image_format,
    image_size,
    is_media,
    is_motion_jpeg,
    is_text,
    jpeg_channels,
    jpeg_segments,
    png_head,
    scan_start,
    tiff_numbers,
)
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


@pytest.mark.parametrize("marker", range(0xC0, 0xD0))
def test_the_size_and_channels_of_a_jpeg_are_those_of_its_frame(marker):
    is_frame = marker not in (0xC4, 0xC8, 0xCC)
    for channels in (1, 3, 4):
        data = START + segment(0xE1, b"\xff\xc0" * 9) + frame_of(marker, channels=channels) + SCAN
        assert image_size(data, "jpeg") == ((300, 515) if is_frame else None)
        assert jpeg_channels(data) == (channels if is_frame else 0)
    assert image_size(START + segment(marker, bytes(6)), "jpeg") is None  # a size of 0
    after = START + SCAN + frame_of(0xC0)
    assert (image_size(after, "jpeg"), jpeg_channels(after)) == (None, 0)


@pytest.mark.parametrize("marker", [0xBF, 0xD9, 0xDB, 0xFE])
def test_other_segments_of_a_jpeg_state_no_size(marker):
    data = START + frame_of(marker)
    assert (image_size(data, "jpeg"), jpeg_channels(data)) == (None, 0)


def test_segments_of_a_jpeg_are_found_between_junk_up_to_the_scan():
    parts = [segment(0xE0, b"abc"), segment(0xC4, bytes(5)), b"junk\xff\xff" + segment(0xFE, b""), frame_of(0xC2), SCAN]
    data, at, expected = START + b"".join(parts), 2, []
    for part in parts:
        marked = part.index(b"\xff")
        while part[marked + 1] == 0xFF:
            marked += 1
        expected.append((part[marked + 1], at + marked + 2))
        at += len(part)
    assert list(jpeg_segments(data + frame_of(0xC0) + END)) == expected
    assert scan_start(data) == expected[-1][1]
    assert image_size(data, "jpeg") == (300, 515)
    head = START + b"".join(parts[:-1])
    assert scan_start(head) == len(head)
    assert list(jpeg_segments(START + b"\xff\xe0\0\0" + parts[1])) == [(0xE0, 4), (0xC4, 8)]  # a length of 0
    assert list(jpeg_segments(START + b"\xff\xe0\0")) == []
    assert list(jpeg_segments(START + b"\xff\xe0\0\2")) == [(0xE0, 4)]
    for restart in (0, 1, 0xD0, 0xD8, 0xFF):  # these have no length
        assert list(jpeg_segments(START + bytes([0xFF, restart, 0, 2]))) == []


def test_channels_of_a_jpeg_that_is_cut_are_unknown():
    head = START + frame_of(0xC0)[:9]
    assert jpeg_channels(head) == 0
    assert jpeg_channels(head + b"\4") == 4


def webp(kind, content):
    return b"RIFF" + struct.pack("<I", 12 + len(content)) + b"WEBP" + kind + struct.pack("<I", len(content)) + content


def pnm(text, pixels=0):
    return text.encode() + bytes(pixels)


J2K = b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">4I", 705, 340, 5, 40)


@pytest.mark.parametrize(
    ("name", "data", "size"),
    [
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">2I", 70_000, 3), (70_000, 3)),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIDAT" + struct.pack(">2I", 70_000, 3), None),
        ("gif", b"GIF89a" + struct.pack("<2H", 258, 517), (258, 517)), ("gif", b"GIF89a\1\1\2", None),
        ("webp", webp(b"VP8X", bytes(4) + b"\x01\x02\x03\x04\x05\x06"), (0x030202, 0x060505)),
        ("webp", webp(b"VP8L", b"\x2f" + struct.pack("<I", 0xF0000000 | 701 << 14 | 16_383)), (16_384, 702)),
        ("webp", webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_383 << 14 | 12)), (13, 16_384)),
        ("webp", webp(b"VP8 ", bytes(6) + struct.pack("<2H", 0xC000 | 300, 0x4000 | 16_383)), (300, 16_383)),
        ("webp", webp(b"XMP ", bytes(6) + struct.pack("<2H", 300, 200)), None),
        ("webp", webp(b"ALPH", bytes(6) + struct.pack("<2H", 300, 200)), None),
        ("bmp", b"BM" + bytes(12) + struct.pack("<IHH", 12, 258, 517), (258, 517)),
        ("bmp", b"BM" + bytes(12) + struct.pack("<Iii", 40, 258, 517), (258, 517)),
        ("bmp", b"BM" + bytes(12) + struct.pack("<Iii", 40, 70_000, -517), (70_000, 517)),
        ("bmp", b"BM" + bytes(12) + struct.pack("<Iii", 40, -258, 517), None),
        ("bmp", b"BM" + bytes(12) + struct.pack("<Iii", 40, 258, 0), None),
        ("jpeg2000", J2K, (700, 300)), ("jpeg2000", bytes(85) + J2K, (700, 300)),
        ("jpeg2000", bytes(range(99, 0, -1)), None),
        ("pnm", b"P5\n12 345 255\n", (12, 345)), ("pnm", b"P4 # 1 2\n# 3\n12\n# 4\n345 ", (12, 345)),
        ("pnm", b"P5 12 345", None), ("pnm", b"P5 12 1234567890 ", None), ("pnm", b"P6 123456789 1 ", (123456789, 1)),
        ("pnm", b"P6 12 # " + bytes(4084) + b"\n34\n", (12, 34)), ("pnm", b"P6 12 # " + bytes(4085) + b"\n34\n", None),
        ("avif", bytes(80), None), ("svg", bytes(80), None), (None, bytes(80), None), ("jpeg", b"", None),
    ],
)  # fmt: skip
def test_the_size_is_the_one_that_a_header_states(name, data, size):
    assert image_size(data, name) == size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_numbers_of_tiff_are_read_in_each_order_and_width(order, is_big):
    mark, address, count, head = (b"II", "Q", "Q", 16) if is_big else (b"II", "I", "H", 8)
    mark = mark if order == "<" else b"MM"
    entries = [(256, 3, 258), (257, 4, 70_001), (258, 13, 66_000), (259, 2, 9), (330, 7, 1234), (274, 3, 6)]
    entries += [(400, 16, 77_777), (401, 18, 88_888)] if is_big else []
    wide = {3: "H", 2: "H", 16: "Q", 18: "Q", 7: address}
    body = struct.pack(order + count, len(entries))
    for tag, kind, value in entries:
        field = struct.pack(order + wide.get(kind, "I"), value).ljust(8 if is_big else 4, b"\xee")
        body += struct.pack(order + "HH" + address, tag, kind, 1) + field
    start = head + 6
    first = mark + struct.pack(order + "H", 43 if is_big else 42)
    first += struct.pack(order + "HHQ", 8, 0, start) if is_big else struct.pack(order + "I", start)
    data = first + bytes(6) + body + struct.pack(order + address, 4321)
    asked = [tag for tag, *_ in entries]
    expected = [0 if kind == 2 else value for _, kind, value in entries]
    assert tiff_numbers(data, *asked) == expected
    assert tiff_numbers(data, 0, 500, 257) == [4321, 0, 70_001]
    assert image_size(data, "tiff") == (258, 70_001)
    assert tiff_numbers(data[:-1], 0, 257) == [0, 70_001]
    assert tiff_numbers(data[: start + 4], 256) == [0]
    assert tiff_numbers(b"", 256) == [0]
    last = struct.calcsize(address) + (20 if is_big else 12)
    assert tiff_numbers(data[:-last], *asked) == [*expected[:-1], 0]


def test_at_most_65535_entries_of_a_tiff_directory_are_read():
    for count, found in ((65_535, [65_535, 7]), (1 << 40, [65_535, 0])):
        data = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, count)
        entry = [struct.pack("<HHQ8s", 300, 3, 1, bytes(8))] * 65_534
        entry += [struct.pack("<HHQQ", 256, 4, 1, 65_535), struct.pack("<HHQQ", 257, 4, 1, 9)]
        data += b"".join(entry[: 65_536 if count > 65_535 else 65_535]) + (b"" if count > 65_535 else b"\7" + bytes(7))
        assert tiff_numbers(data, 256, 0 if count == 65_535 else 257) == found


def box(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_the_size_of_a_heif_file_is_the_largest_that_it_states():
    sizes = [box(b"ispe", struct.pack(">4xII", *size)) for size in ((900, 10), (300, 515), (64, 64))]
    data = ftyp(b"heic") + box(b"meta", b"".join(sizes)) + box(b"mdat", box(b"ispe", struct.pack(">4xII", 5000, 5000)))
    assert image_size(data, "heic") == image_size(data, "avif") == (300, 515)
    assert image_size(ftyp(b"heic") + box(b"meta", b"none"), "heic") is None
    assert image_size(ftyp(b"heic"), "heic") is None


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


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", b"head")
    + chunk(b"sRGB", b"\0")
    + chunk(b"IDAT", b"xyz")
    + chunk(b"IEND", b"")
)


def test_parts_of_png_and_webp_have_their_places():
    found = [(kind, PNG[start:end]) for kind, start, end in chunks(PNG, "png")]
    assert found == [(b"IHDR", b"head"), (b"sRGB", b"\0"), (b"IDAT", b"xyz"), (b"IEND", b"")]
    assert png_head(PNG) == dict(found[:2])
    parts = [(b"VP8X", b"0123456789"), (b"odd ", b"abc"), (b"EXIF", b""), (b"last", b"z")]
    data = b"RIFF\0\0\0\0WEBP"
    for kind, content in parts:
        data += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    assert [(kind, data[start:end]) for kind, start, end in chunks(data, "webp")] == parts
    assert len(list(chunks(data[: data.index(b"EXIF") + 8], "webp"))) == 3
    assert len(list(chunks(data[: data.index(b"EXIF") + 7], "webp"))) == 2


def test_damage_of_an_image_is_named():
    assert image_damage(PNG, "png") is None
    assert image_damage(PNG + b"more", "png") is None
    for cut in (0, 8, 19, len(PNG) - 12, len(PNG) - 1):
        assert image_damage(PNG[:cut], "png") == "the image is cut short (PNG without its last part)"
    for kind in (b"IHDR", b"sRGB", b"IDAT", b"IEND"):
        at = PNG.index(kind)
        size = int.from_bytes(PNG[at - 4 : at])
        for place in (at + 3, at + 3 + size, at + 4 + size, at + 7 + size):
            changed = bytearray(PNG)
            changed[place] ^= 1
            name = bytes(changed[at : at + 4]).decode()
            assert image_damage(bytes(changed), "png") == (
                f"the PNG image is damaged (checksum of its {name!r} part is wrong)"
            )
    assert image_damage(START + SCAN, "jpeg") == "the image is cut short (JPEG without its end marker)"
    assert image_damage(START + SCAN + END, "jpeg") is None
    bmp = b"BM" + struct.pack("<I", 60) + bytes(54)
    assert (image_damage(bmp, "bmp"), image_damage(bmp + b"x", "bmp")) == (None, None)
    assert image_damage(bmp[:-1], "bmp") == "the image is cut short (59 of 60 bytes)"
    web = b"RIFF" + struct.pack("<I", 52) + bytes(52)
    assert (image_damage(web, "webp"), image_damage(web[:-1], "webp")) == (None, None)  # a last byte may be padding
    assert image_damage(web[:-2], "webp") == "the image is cut short (58 of 59 bytes)"
    for name, head, size in (("bmp", b"BM", 1 << 24 | 60), ("webp", b"RIFF", (1 << 24 | 60) + 7)):
        data = head + struct.pack("<I", 1 << 24 | 60) + b"\xff" * 9
        assert image_damage(data, name) == f"the image is cut short ({len(data)} of {size} bytes)"
    assert [image_damage(data, name) for data in (bmp[:9], b"") for name in ("gif", "tiff", None)] == [None] * 6


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
