"""Colours of ICC profiles that are made here, compared with the formulas of ICC.1 in double precision."""

import struct

import numpy as np
import pytest

from sonjit.media.sources.profiles import in_srgb, is_srgb

SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
WIDE = np.array([[0.515, 0.292, 0.157], [0.241, 0.692, 0.067], [-0.001, 0.042, 0.784]])
RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))


def xyz(values):
    return b"XYZ \1\1\1\1" + fixed(*values)


def power(value):
    return b"curv\1\1\1\1\0\0\0\1" + struct.pack(">H", round(256 * value))


def table(*values):
    return b"curv\1\1\1\1" + struct.pack(f">I{len(values)}H", len(values), *(round(65535 * value) for value in values))


def parametric(kind, *values):
    return b"para\1\1\1\1" + struct.pack(">H2x", kind) + fixed(*values)


def profile_of(tags, space=b"RGB ", values=b"XYZ "):
    head = bytes(16) + space + values + bytes(12) + b"acsp" + bytes(88)
    listed, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        listed += name + struct.pack(">2I", start + len(body), len(tag))
        body += tag
    return head + listed + body


def tags_of(primaries=WIDE, curves=None):
    curves = curves or (power(2), power(1.5), power(2.5))
    colours = {name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    return colours | dict(zip((b"rTRC", b"gTRC", b"bTRC"), curves, strict=True))


def grey(curve, values=b"XYZ "):
    return profile_of({b"kTRC": curve}, b"GRAY", values)


def encoded(linear):
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_each_channel_has_its_curve_and_its_primary(noise):
    linear = (noise / 255) ** [2, 1.5, 2.5]
    expected = encoded(linear @ np.linalg.solve(SRGB, WIDE).T)
    shown = in_srgb(noise, profile_of(tags_of()))
    np.testing.assert_allclose(shown, expected, atol=0.9)
    assert np.abs(shown - expected).mean() < 0.26  # of numbers that are rounded


@pytest.mark.parametrize("shape", [(700, 500, 3), (2, 270_000, 3), (1, 1, 3)])
def test_large_images_are_converted_in_all_their_rows(shape):
    values = np.random.default_rng(0).integers(0, 256, (shape[0], 1, 3), np.uint8)
    shown, profile = in_srgb(np.broadcast_to(values, shape), profile_of(tags_of())), profile_of(tags_of())
    assert shown.shape == shape
    np.testing.assert_array_equal(shown, np.broadcast_to(in_srgb(values, profile), shape))


CURVES = {
    "none": (table(), lambda x: x),
    "a power": (power(1.75), lambda x: x**1.75),
    "two values": (table(0.2, 0.7), lambda x: 0.2 + 0.5 * x),
    "three values": (table(0.1, 0.9, 0.3), lambda x: np.interp(x, [0, 0.5, 1], [0.1, 0.9, 0.3])),
    "kind 0": (parametric(0, 1.75), lambda x: x**1.75),
    "kind 1": (parametric(1, 2, 1.25, -0.25), lambda x: np.where(x >= 0.2, (1.25 * x - 0.25) ** 2, 0)),
    "kind 1 that starts above 0": (parametric(1, 2, 0.75, 0.25), lambda x: (0.75 * x + 0.25) ** 2),
    "kind 1 without a scale": (parametric(1, 2, 0, 0.5), lambda x: 0.25 + 0 * x),
    "kind 2": (parametric(2, 2, 1.25, -0.25, 0.125), lambda x: np.where(x >= 0.2, (1.25 * x - 0.25) ** 2, 0) + 0.125),
    "kind 3": (parametric(3, 2, 0.8, 0.2, 0.5, 0.4), lambda x: np.where(x >= 0.4, (0.8 * x + 0.2) ** 2, 0.5 * x)),
    "kind 4": (
        parametric(4, 2, 0.7, 0.2, 0.5, 0.4, 0.0625, 0.125),
        lambda x: np.where(x >= 0.4, (0.7 * x + 0.2) ** 2 + 0.0625, 0.5 * x + 0.125),
    ),
    "beyond 1": (parametric(4, 1, 2, 0.5, 3, 0.4, 0, 0.5), lambda x: np.where(x >= 0.4, 2 * x + 0.5, 3 * x + 0.5)),
}


@pytest.mark.parametrize("name", CURVES)
def test_grey_values_are_those_of_the_curve(name):
    curve, function = CURVES[name]
    expected = encoded(np.minimum(function(np.arange(256) / 255), 1))
    shown = in_srgb(RAMP, grey(curve))
    np.testing.assert_allclose(shown[0], np.repeat(expected[:, None], 3, axis=1), atol=0.9)


@pytest.mark.parametrize("name", [name for name in CURVES if name != "none"])
def test_a_curve_that_is_cut_is_unknown(name):
    curve = CURVES[name][0]
    assert in_srgb(RAMP, grey(curve[:-1])) is None
    assert in_srgb(RAMP, grey(curve + b"\0\0\0\0")) is not None
    for changed in (b"xxxx", b"aaaa", b"zzzz"):
        assert in_srgb(RAMP, grey(changed + curve[4:])) is None


@pytest.mark.parametrize(
    "curve", [parametric(5, *range(7)), parametric(5, *range(9)), table()[:-1], b"curv", b"para", b""]
)
def test_an_unknown_curve_is_not_applied(curve):
    assert in_srgb(RAMP, grey(curve)) is None


def test_values_of_a_curve_below_0_are_0_before_the_matrix():
    low = parametric(4, 1, 1, 0, 0.5, 0.5, 0, -0.25)  # -0.25 at 0
    shown = in_srgb(np.array([[[0, 255, 255]]], np.uint8), profile_of(tags_of(curves=(low, table(), table()))))
    expected = encoded(np.linalg.solve(SRGB, WIDE) @ [0, 1, 1])
    np.testing.assert_allclose(shown[0, 0], expected, atol=0.9)


def test_grey_values_of_lightness_are_those_of_cie():
    values = np.arange(256) / 255
    lightness = 100 * values**1.25
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    shown = in_srgb(RAMP, grey(power(1.25), b"Lab "))
    np.testing.assert_allclose(shown[0, :, 1], encoded(luminance), atol=0.9)


@pytest.mark.parametrize(
    ("space", "values"),
    [*((space, b"XYZ ") for space in (b"AAAA", b"CMYK", b"HSV ", b"ZZZZ")), (b"RGB ", b"Lab "), (b"RGB ", b"ZZZZ")],
)
def test_profiles_of_other_colours_are_not_applied(space, values, noise):
    tags = tags_of() | {b"kTRC": power(2)}
    assert in_srgb(noise, profile_of(tags)) is not None
    assert in_srgb(noise, profile_of(tags, space, values)) is None
    assert in_srgb(RAMP, profile_of(tags, space, values)) is None


def test_a_grey_profile_is_not_applied_to_colours():
    nearly = RAMP.copy()
    nearly[0, 9, 2] += 1
    assert in_srgb(RAMP, grey(power(2))) is not None
    assert in_srgb(nearly, grey(power(2))) is None


@pytest.mark.parametrize("name", tags_of())
def test_each_tag_is_needed(name, noise):
    tags = tags_of()
    length = len(tags[name])
    assert in_srgb(noise, profile_of(tags | {name: tags[name] + b"\0" * 4})) is not None
    for changed in (tags[name][: length - 1], b"Aaaa" + tags[name][4:], b"zzzz" + tags[name][4:]):
        assert in_srgb(noise, profile_of(tags | {name: changed})) is None
    assert in_srgb(noise, profile_of({other: tag for other, tag in tags.items() if other != name})) is None


@pytest.mark.parametrize(("before", "is_read"), [(94, True), (95, False)])
def test_at_most_100_tags_are_read(before, is_read, noise):
    tags = {f"{number:04d}".encode(): b"" for number in range(before)} | tags_of()
    assert (in_srgb(noise, profile_of(tags)) is not None) == is_read


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.2398, False), (0.1, 0.2402, True), (0.2, 0.3198, True), (0.2, 0.3202, False)],
)
def test_the_middle_of_a_curve_decides_whether_it_is_that_of_srgb(low, high, expected):
    values = np.zeros(256)
    values[127:129] = low, high
    curve = table(*values)
    assert is_srgb(profile_of({b"rXYZ": xyz(SRGB[:, 0]), b"rTRC": curve})) == expected
    assert is_srgb(grey(curve)) == expected
    assert not is_srgb(profile_of({b"rTRC": curve}))


def test_red_decides_whether_a_profile_is_that_of_srgb():
    red = np.array([0.436, 0.222, 0.014])
    assert is_srgb(profile_of({b"rXYZ": xyz(red)}))
    for axis in range(3):
        for off, expected in ((0.0195, True), (0.0205, False), (-0.0195, True), (-0.0205, False)):
            moved = red + off * np.eye(3)[axis]
            assert is_srgb(profile_of({b"rXYZ": xyz(moved), b"gXYZ": xyz(red)})) == expected
    assert not is_srgb(b"")
    assert is_srgb(grey(b""))
    assert not is_srgb(grey(power(2.2), b"Lab "))  # lightness
    assert is_srgb(grey(power(1), b"Lab ")) == (0.17 < ((50 + 16) / 116) ** 3 < 0.26)
