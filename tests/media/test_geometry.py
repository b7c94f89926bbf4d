"""Crops, pixels that are not square, turns, and brightness of HDR images, compared with their definitions."""

import math
import struct
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit.media.sources.geometry import (
    HDR,
    Geometry,
    bordered,
    box_spans,
    boxes,
    container_crop,
    crop_of_aperture,
    fitted,
    tone_curve,
    turns_of_matrix,
)

EBML, SEGMENT, TRACKS, ENTRY, VIDEO = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
CROPS = {b"\x54\xcc": 3, b"\x54\xbb": 5, b"\x54\xdd": 258, b"\x54\xaa": 7}  # left, top, right and bottom


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(4, 3), Fraction(2, 3)])
@pytest.mark.parametrize("crop", [(0, 0, 0, 0), (1, 2, 3, 5)])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_is_cropped_then_scaled_then_turned(noise, aspect, crop, turn):
    turns = Geometry.of_orientation(turn).turns
    assert Geometry.of_orientation(turn) == Geometry((0, 0, 0, 0), Fraction(1), *turns)
    geometry = Geometry(crop, aspect, *turns)
    left, top, right, bottom = crop
    expected = noise[top : noise.shape[0] - bottom, left : noise.shape[1] - right]
    high, wide = expected.shape[:2]
    size = (round(wide * aspect), high) if aspect > 1 else (wide, round(high / aspect))
    expected = cv2.resize(expected, size, interpolation=cv2.INTER_CUBIC)
    expected = expected.swapaxes(0, 1) if turns[0] else expected
    expected = expected[:, ::-1] if turns[1] else expected
    expected = expected[::-1] if turns[2] else expected
    np.testing.assert_array_equal(geometry.apply(noise), expected)
    assert geometry.shown_size(noise.shape[1], noise.shape[0]) == expected.shape[1::-1]


def element(name, content):
    return name + struct.pack(">Q", len(content) | 1 << 56) + content


def test_the_crop_of_an_mkv_file_is_read_and_that_of_a_damaged_one_is_nothing(tmp_path):
    path = tmp_path / "x.mkv"
    crops = b"".join(element(name, struct.pack(">H", pixels)) for name, pixels in CROPS.items())
    sound, shown = element(ENTRY, element(b"\xe1", b"")), element(ENTRY, element(VIDEO, crops))
    for entries, expected in ((sound + shown, (3, 5, 258, 7)), (sound, (0, 0, 0, 0))):
        data = element(EBML, b"") + element(SEGMENT, element(TRACKS, entries))
        path.write_bytes(data)
        assert container_crop(path, "matroska,webm") == expected
    assert container_crop(path, "avi") == (0, 0, 0, 0)
    for damaged in (data[:14], b"", bytes(8), struct.pack(">I", 8) + b"free"):
        path.write_bytes(damaged)
        assert container_crop(path, "matroska,webm") == container_crop(path, "mov,mp4") == (0, 0, 0, 0)


def srgb_of(value, transfer):
    """Return the level, 0 to 255, of one HDR value, 0..1. White has 203 cd/m2, and three quarters of it are kept."""
    if transfer == 16:  # SMPTE ST 2084 with its constants as decimals
        root = value ** (1 / 78.84375)
        light = 10_000 / 203 * (max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    else:  # ITU-R BT.2100, with the system gamma of a screen of 1000 cd/m2
        scene = value * value / 3 if value <= 0.5 else (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
        light = 1000 / 203 * scene**1.2
    light = light if light <= 0.75 else 0.75 + 0.25 * (1 - math.exp((0.75 - light) / 0.25))
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("transfer", HDR)
def test_hdr_levels_are_those_of_the_standards(transfer):
    curve = tone_curve(transfer)
    values = np.r_[0:3000:50, 3000:65536:300, 32767, 32768, 65535]
    exact = np.array([srgb_of(value / 65535, transfer) for value in values])
    assert np.abs(curve[values] - exact).max() < 0.5001


def test_other_orientations_change_nothing():
    for orientation in (-1, 0, 1, 9):
        assert Geometry.of_orientation(orientation) == Geometry()
        assert Geometry.of_orientation(orientation).to_dict() == {}


@pytest.mark.parametrize(
    ("geometry", "data"),
    [
        (Geometry(), {}), (Geometry((0, 0, 0, 1)), {"crop": [0, 0, 0, 1]}),
        (Geometry((9, 0, 0, 0)), {"crop": [9, 0, 0, 0]}),
        (Geometry(aspect=Fraction(4, 6)), {"pixel_aspect": "2:3"}),
        (Geometry(aspect=Fraction(3, 2)), {"pixel_aspect": "3:2"}),
    ],
)  # fmt: skip
def test_crop_and_aspect_are_in_a_table_if_they_change_an_image(geometry, data):
    assert geometry.to_dict() == data
    assert geometry.is_turn == (data == {})


@pytest.mark.parametrize(
    ("aspect", "used"),
    [
        (None, 1), (0, 1), (Fraction(20), 20), (Fraction(1, 20), Fraction(1, 20)), (Fraction(201, 10), 1),
        (Fraction(10, 201), 1), (Fraction(7, 5), Fraction(7, 5)), (Fraction(-2), 1),
    ],
)  # fmt: skip
def test_an_aspect_of_up_to_twenty_is_taken(aspect, used):
    frame = SimpleNamespace(width=16, height=12, side_data={})
    geometry = Geometry.of_frame(frame, aspect, (1, 2, 3, 4), Geometry(transposed=True, flip_y=True))
    assert geometry == Geometry((1, 2, 3, 4), Fraction(used), transposed=True, flip_y=True)
    assert Geometry.of_frame(frame) == Geometry()


@pytest.mark.parametrize(
    ("crop", "is_taken"),
    [
        ((7, 5, 8, 6), True), ((8, 5, 8, 6), False), ((7, 6, 8, 6), False), ((15, 0, 0, 0), True),
        ((0, 0, 16, 0), False),
        ((0, 11, 0, 0), True), ((0, 0, 0, 12), False), ((9, 0, 8, 0), False), ((0, 7, 0, 6), False),
        ((17, 0, 0, 0), False),
    ],
)  # fmt: skip
def test_a_crop_leaves_at_least_a_pixel(crop, is_taken):
    frame = SimpleNamespace(width=16, height=12, side_data={})
    geometry = Geometry.of_frame(frame, None, crop)
    assert geometry.crop == (crop if is_taken else (0, 0, 0, 0))
    assert geometry.cropped(np.zeros((12, 16, 3), np.uint8)).size > 0


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((480, 270), (270, 480), (270, 152)), ((270, 480), (480, 270), (152, 270)), ((100, 100), (50, 60), (50, 50)),
        ((100, 100), (70, 60), (60, 60)), ((100, 50), (30, 30), (30, 15)), ((1000, 1000), (1000, 981), (1000, 981)),
        ((1000, 1000), (1000, 980), (980, 980)), ((1000, 1000), (981, 1000), (981, 1000)),
        ((500, 500), (98, 100), (98, 98)),
        ((1000, 1), (10, 10), (10, 1)), ((1, 1000), (10, 10), (1, 10)), ((10_000, 1), (10, 10), (10, 1)),
        ((1, 10_000), (10, 10), (1, 10)),
    ],
)  # fmt: skip
def test_a_size_fills_one_side_of_a_box_or_the_box_for_a_similar_ratio(size, box, expected):
    assert fitted(size, box) == expected


@pytest.mark.parametrize("size", [(5, 3), (6, 3), (7, 3), (8, 3), (5, 4), (5, 6), (5, 7), (8, 6), (7, 8)])
def test_a_border_is_black_and_equal_or_a_pixel_wider_behind(size):
    pixels = np.full((3, 5, 3), (10, 20, 30), np.uint8)
    expected = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - 5) // 2, (size[1] - 3) // 2
    expected[top : top + 3, left : left + 5] = 10, 20, 30
    np.testing.assert_array_equal(bordered(pixels, size), expected)


def display(a, b, c, d, extra=b""):
    return SimpleNamespace(side_data={"DISPLAYMATRIX": struct.pack("9i", a, b, 99, c, d, -99, 7, 8, 9) + extra})


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_a_display_matrix_is_the_nearest_quarter_turn(signs):
    first, second = signs
    for small in (-3, 0, 3):  # x' = a x + c y, y' = b x + d y
        assert turns_of_matrix(display(9 * first, small, small, 8 * second)) == (False, first < 0, second < 0)
        assert turns_of_matrix(display(small, 9 * second, 8 * first, small)) == (True, first < 0, second < 0)
        assert turns_of_matrix(display(5 * first, 0, 4 * first, 0)) == (False, first < 0, False)
        assert turns_of_matrix(display(0, 4 * first, 0, 5 * second)) == (False, False, second < 0)
        assert turns_of_matrix(display(4 * first, 0, 5 * second, 0)) == (True, second < 0, False)
        assert turns_of_matrix(display(0, 5 * second, 0, 4)) == (True, False, second < 0)
    assert turns_of_matrix(display(first, 0, 0, second)) == (False, first < 0, second < 0)
    assert turns_of_matrix(display(0, second, first, 0)) == (True, first < 0, second < 0)
    assert turns_of_matrix(display(1, first, second, 1)) == (False, False, False)  # as near to both
    default = (True, False, True)
    assert turns_of_matrix(display(-9, 0, 0, -9, b"more"), default) == default
    assert turns_of_matrix(SimpleNamespace(side_data={}), default) == default
    assert turns_of_matrix(SimpleNamespace(side_data={})) == (False, False, False)


def box(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


@pytest.mark.parametrize(
    ("size", "aperture", "crop"),
    [
        ((60, 40), (60, 40, 0, 0), (0, 0, 0, 0)), ((60, 40), (30, 20, 0, 0), (15, 10, 15, 10)),
        ((60, 40), (30, 20, 5, -3), (20, 7, 10, 13)), ((60, 40), (31, 21, 0, 0), (15, 10, 14, 9)),
        ((61, 41), (30, 20, Fraction(1, 2), Fraction(-1, 2)), (16, 10, 15, 11)),
        ((60, 40), (30, 20, 20, 15), (35, 25, 0, 0)),
        ((60, 40), (30, 20, -20, -15), (0, 0, 35, 25)), ((60, 40), (80, 50, 0, 0), (0, 0, 0, 0)),
        ((60, 40), (30, 20, Fraction(1, 3), Fraction(-1, 3)), (15, 10, 15, 10)),
        ((60, 40), (30, 20, Fraction(2, 3), Fraction(-2, 3)), (16, 9, 14, 11)),
        ((60, 40), (Fraction(61, 2), Fraction(41, 2), 0, 0), (15, 10, 15, 10)),
    ],
)  # fmt: skip
def test_an_aperture_is_cut_around_its_centre(size, aperture, crop):
    assert crop_of_aperture(size, *map(Fraction, aperture)) == crop


def test_boxes_have_long_short_and_open_lengths():
    long = struct.pack(">I4sQ", 1, b"long", 16 + 3) + b"abc"
    data = box(b"free", b"12345") + long + box(b"none", b"") + struct.pack(">I4s", 0, b"open") + b"to the end"
    assert [*boxes(data)] == [(b"free", b"12345"), (b"long", b"abc"), (b"none", b""), (b"open", b"to the end")]
    assert [*box_spans(data)] == [
        (b"free", 0, 8, 13), (b"long", 13, 29, 32), (b"none", 32, 40, 40), (b"open", 40, 48, 58),
    ]  # fmt: skip
    for wrong in (
        struct.pack(">I4s", 7, b"bad ") + bytes(9),
        struct.pack(">I4sQ", 1, b"bad ", 15) + bytes(9),
        bytes(7),
    ):
        assert [*boxes(data[:40] + wrong)] == [(b"free", b"12345"), (b"long", b"abc"), (b"none", b"")]
    assert [*box_spans(data[:10])] == [(b"free", 0, 8, 13)]  # longer than the file
    assert [*boxes(struct.pack(">I4s", 8, b"last"))] == [(b"last", b"")]
    assert [*boxes(struct.pack(">I4sQ", 1, b"last", 16))] == [(b"last", b"")]


def track(width, height, *parts):
    entry = box(b"avc1", bytes(24) + struct.pack(">2H", width, height) + bytes(50) + b"".join(parts))
    table = box(b"stbl", box(b"stts", b"") + box(b"stsd", bytes(8) + entry))
    return box(b"trak", box(b"tkhd", b"x") + box(b"mdia", box(b"mdhd", b"x") + box(b"minf", box(b"vmhd", b"") + table)))


def test_the_crop_of_an_mp4_file_is_that_of_its_first_track_with_one(tmp_path):
    aperture = box(b"clap", struct.pack(">2I2I2i2i", 62, 2, 20, 1, -10, 2, 9, 3))
    other = box(b"clap", struct.pack(">2I2I2i2i", 10, 1, 10, 1, 0, 1, 0, 1))
    path, colours = tmp_path / "x.mp4", box(b"colr", b"nclx")
    plain, cut = track(60, 40), track(60, 40, colours, aperture)
    for tracks, crop in (
        (cut, (10, 13, 19, 7)), (plain + cut, (10, 13, 19, 7)), (cut + track(60, 40, other), (10, 13, 19, 7)),
        (track(0, 40, other) + track(60, 0, other) + cut, (10, 13, 19, 7)), (plain, (0, 0, 0, 0)), (b"", (0, 0, 0, 0)),
        (track(60, 40, box(b"clap", struct.pack(">2I2I2i2i", 62, 0, 20, 1, 0, 1, 0, 1))), (0, 0, 0, 0)),
        (box(b"trak", box(b"tkhd", b"")) + cut, (0, 0, 0, 0)), (track(60, 40, aperture[:-1]), (0, 0, 0, 0)),
    ):  # fmt: skip
        path.write_bytes(box(b"ftyp", b"isom") + box(b"mdat", b"x" * 9) + box(b"moov", box(b"mvhd", b"") + tracks))
        assert container_crop(path, "mov,mp4,m4a,3gp,3g2,mj2") == crop
        for name in ("avi", "zzz", "matroska,webm"):
            assert container_crop(path, name) == (0, 0, 0, 0)
    assert container_crop(tmp_path / "none", "mov,mp4") == (0, 0, 0, 0)


def test_elements_of_an_mkv_file_have_sizes_of_one_to_eight_bytes(tmp_path):
    path = tmp_path / "x.mkv"
    for width in range(1, 9):

        def sized(name, content, width=width):
            return name + (len(content) | 1 << 7 * width).to_bytes(width) + content

        numbers = b"".join(sized(name, bytes([pixels % 200])) for name, pixels in CROPS.items())
        video = sized(VIDEO, sized(b"\xb0", b"\x60") + numbers)
        entries = sized(ENTRY, sized(b"\xd7", b"\1")) + sized(ENTRY, sized(b"\x53\xac", b"") + video)
        data = sized(EBML, b"\x42") + sized(SEGMENT, sized(b"\xec", b"") + sized(TRACKS, entries))
        path.write_bytes(data)
        assert container_crop(path, "matroska,webm") == (3, 5, 58, 7)
        assert container_crop(path, "mov,mp4") == (0, 0, 0, 0)
