"""Crops, pixels that are not square, turns, and brightness of HDR images, compared with their definitions."""

import math
import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from sonjit.media.sources.geometry import HDR, Geometry, container_crop, tone_curve
from sonjit.media.sources.images import tone_mapped

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
    for bits in (10, 12, 16):
        deep = np.arange(1 << bits, dtype=np.uint16)
        np.testing.assert_array_equal(tone_mapped(deep, transfer, bits), curve[deep.astype(int) * 65535 // deep[-1]])
    np.testing.assert_array_equal(tone_mapped(np.array([1023, 1024, 65535], np.uint16), transfer, 10), curve[-1])
    eight = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(tone_mapped(eight, transfer, 10), curve[eight.astype(int) * 257])
