import struct
import sys
from io import BytesIO
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from sonjit._util.errors import InputError
from sonjit._util.extras import MissingExtraError
from sonjit.media import open_source, rgb_from
from sonjit.media.sources.images import decode_image, image_size


def encoded(rgb, ending):
    return cv2.imencode(ending, rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        *((lambda a, n=n: a[..., n], lambda a: np.repeat(a[..., :1], 3, 2)) for n in (0, slice(1))),
        (lambda a: np.dstack([a, a[..., 0]]), lambda a: a), (lambda a: a.astype(np.uint16) * 256 + 200, lambda a: a),
        *((change, change) for change in (lambda a: a[:, ::-1], lambda a: a.transpose(1, 0, 2))),
        (lambda a: (a.astype(np.uint16) * 256).astype(">u2"), lambda a: a),
    ],
)  # fmt: skip
def test_array_layouts(noise, make, expected):
    rgb = rgb_from(make(noise))
    assert rgb.flags.c_contiguous
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, expected(noise))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((4, 5, 3), np.float32), "scale to uint8 yourself"), (np.full((4, 5, 3), np.nan), "NaN"),
        (np.zeros((4, 5, 3), bool), "bool"), (np.zeros((4, 5, 3), np.int64), "int64"),
        (np.zeros((3, 40, 50), np.uint8), "channels-first"), (np.zeros((2, 4, 5, 3), np.uint8), "one by one"),
        (np.zeros(7, np.uint8), "2 or 3 axes"), (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.zeros((7, 5, 2), np.uint8), "2 channels"), ([[1, 2], [3, 4]], "list"), (None, "NoneType"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(bad, says):
    with pytest.raises(InputError, match=says) as caught:
        rgb_from(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
@pytest.mark.parametrize("shape", [(40, 60, 3), (1, 1, 3), (2, 20_000, 3)])
def test_files_round_trip(tmp_path, ending, shape):
    if ending == ".webp" and max(shape) > 16_383:
        pytest.skip("WebP ends at 16,383 px")
    ramp = np.broadcast_to(np.linspace(0, 255, shape[1]).astype(np.uint8)[None, :, None], shape)
    path = tmp_path / f"image{ending}"
    path.write_bytes(encoded(ramp, ending))
    for given_as in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        rgb = rgb_from(given_as)
        assert rgb.shape == shape
        assert np.abs(rgb.astype(int) - ramp).max() <= (0 if ending in (".png", ".bmp", ".tiff") else 8)


def test_sixteen_bits_and_alpha_of_files(noise):
    deep = noise.astype(np.uint16) * 256 + 255
    np.testing.assert_array_equal(rgb_from(encoded(deep, ".png")), noise)
    np.testing.assert_array_equal(rgb_from(encoded(deep[..., 0], ".tiff"))[..., 1], noise[..., 0])
    rgba = np.dstack([noise, noise[..., 0] // 2])
    for kind in ("PNG", "TIFF"):
        Image.fromarray(rgba).save(file := BytesIO(), kind)
        np.testing.assert_array_equal(rgb_from(file.getvalue()), noise)
    dark = encoded(65535 - deep[..., 0], ".tiff").replace(b"\x06\1\3\0\1\0\0\0\1", b"\x06\1\3\0\1\0\0\0\0")
    np.testing.assert_array_equal(rgb_from(dark)[..., 1], noise[..., 0])  # 0 is white


def test_pil_images(noise):
    np.testing.assert_array_equal(rgb_from(Image.fromarray(noise)), noise)
    grey = Image.fromarray(noise).convert("L")
    np.testing.assert_array_equal(rgb_from(grey), np.repeat(np.asarray(grey)[..., None], 3, 2))
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 256)
    np.testing.assert_array_equal(rgb_from(deep)[..., 2], noise[..., 0])
    with pytest.raises(InputError, match="float32"):
        rgb_from(Image.fromarray(noise[..., 0].astype(np.float32)))


def test_heic(noise, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    file = BytesIO()
    two = heif.from_pillow(Image.fromarray(np.full((64, 48, 3), 90, np.uint8)))
    two.add_from_pillow(Image.fromarray(noise))
    two.save(file)
    assert np.abs(decode_image(file.getvalue(), "a", notes=(notes := [])).astype(int) - 90).max() < 4
    assert notes == ["a: only the first image of the file is read"]
    assert image_size(file.getvalue()) == (48, 64)
    with pytest.raises(InputError, match="heic image is damaged") as caught:
        rgb_from(file.getvalue()[:400])
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"\[heic\]"):
        rgb_from(file.getvalue())


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_cut_files_are_refused(tmp_path, noise, ending, part, capfd):
    data = encoded(np.tile(noise, (8, 8, 1)), ending)
    path = tmp_path / f"cut{ending}"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match=f"cut{ending}") as caught:
        rgb_from(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_a_cut_file_is_refused_or_has_all_its_pixels(noise, ending):
    smooth = np.asarray(Image.fromarray(noise).resize((90, 60), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(file := BytesIO(), ending)
    data = file.getvalue()
    expected, refused = rgb_from(data), list[str]()
    for size in {*range(1, len(data), 1 + len(data) // 150), *range(len(data) - 30, len(data))}:
        try:
            np.testing.assert_array_equal(rgb_from(data[:size]), expected)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert "\n" not in "".join(refused)
    if ending not in ("TIFF", "AVIF"):  # a TIFF ends with its header
        np.testing.assert_array_equal(rgb_from(data + b"more"), expected)


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "BMP", "PPM"])
def test_that_a_file_is_cut_is_named(noise, ending):
    Image.fromarray(noise).save(file := BytesIO(), ending)
    with pytest.raises(InputError, match="cut short"):
        rgb_from(file.getvalue()[: len(file.getvalue()) * 2 // 3])


def test_a_thumbnail_does_not_hide_that_a_photo_is_cut(noise):
    file = BytesIO()
    thumbnail = encoded(noise, ".jpg")
    Image.fromarray(np.tile(noise, (8, 8, 1))).save(file, "JPEG", exif=b"Exif\0\0" + thumbnail)
    data = file.getvalue()
    assert rgb_from(data).shape == (320, 480, 3)
    with pytest.raises(InputError, match="cut"):
        rgb_from(data[: len(data) - 200])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"), (b"this is a text, no image", "text"), (bytes(5000), "not an image"), (b"\xff\xd8\xff", "cut"),
        (b"#?RGBE\n\n-Y 1 +X 1\n\1\2\3\x80", "float32"), (b"PF\n1 1\n-1\n" + bytes(12), "float32"),
    ],
)  # fmt: skip
def test_invalid_images(tmp_path, content, says):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        rgb_from(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        rgb_from(tmp_path / "none.png")
    with pytest.raises(InputError, match="is a folder"):
        rgb_from(tmp_path)


def test_a_bomb_is_refused():
    head = encoded(np.zeros((1, 1, 3), np.uint8), ".bmp")
    huge = head[:18] + (60_000).to_bytes(4, "little") * 2 + head[26:]
    with pytest.raises(InputError):
        rgb_from(huge)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ending=st.sampled_from([".jpg", ".png", ".webp", ".bmp", ".tiff"]),
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    keep=st.floats(0, 1),
)
@pytest.mark.slow
def test_damaged_files_never_raise_anything_else(noise, ending, damage, keep):
    data = bytearray(encoded(noise, ending))
    for where, byte in damage:
        data[int(where * (len(data) - 1))] = byte
    data = bytes(data[: int(len(data) * keep) if keep < 0.8 else None])
    try:
        rgb = rgb_from(data)
    except InputError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3


FORMATS = {
    "jpeg": ({}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xd8\xff\xc0" * 9}),
    "webp": ({}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (37, 23), 9)]}),
    "tiff": ({}, {"compression": "tiff_lzw"}, {"big_tiff": True}),
    **dict.fromkeys(("avif", "bmp", "gif", "jpeg2000", "png", "ppm"), ({},)),
}


@pytest.mark.parametrize(("name", "options"), [(name, o) for name, options in FORMATS.items() for o in options])
def test_the_header_has_the_size(name, options):
    file = BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (23, 37, 3), np.uint8)
    if name == "avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    Image.fromarray(noise).save(file, name, **options)
    assert image_size(file.getvalue()) == (37, 23)


MAGICS = [
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8X", b"BM", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0",
    b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", b"P6\n", b"\0\0\0\x0cjP  ",
]  # fmt: skip


@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_damaged_headers_are_no_size_or_a_positive_one(magic, rest):
    size = image_size(magic + rest)
    assert size is None or min(size) > 0


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@given(cut=st.integers(0, 400))
def test_cut_files_are_no_error(ending, cut):
    data = cv2.imencode(ending, np.zeros((12, 34, 3), np.uint8))[1].tobytes()
    assert image_size(data[:cut]) in (None, (34, 12))


def test_the_colour_profile_of_heic_is_applied(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    pixels = np.full((32, 32, 3), (200, 60, 30), np.uint8)
    for profile, expected in ((srgb, (200, 60, 30)), (exchanged, (30, 60, 200)), (b"damaged", (200, 60, 30))):
        path = tmp_path / "a.heic"
        pillow_heif.from_bytes("RGB", (32, 32), pixels.tobytes()).save(path, quality=-1, icc_profile=profile)
        with open_source(path) as source:
            (frame,) = source
        np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), expected, atol=4)
        assert [note for note in source.notes if "profile is damaged" in note] == source.notes[: profile == b"damaged"]


@pytest.mark.parametrize(
    ("ending", "turned"), [*product(["JPEG", "PNG", "TIFF", "WEBP"], [False, True]), ("AVIF", False)]
)
def test_colour_profiles_are_applied(ending, turned):
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    image = Image.new("RGB", (48, 32), (200, 60, 30))
    exif = Image.Exif()
    exif[274] = 6 if turned else 1
    for profile, expected in ((None, (200, 60, 30)), (srgb, (200, 60, 30)), (exchanged, (30, 60, 200))):
        buffer, notes = BytesIO(), []
        image.save(buffer, ending, icc_profile=profile, exif=exif)
        shown = decode_image(buffer.getvalue(), "a", notes=notes)
        assert shown.shape == ((48, 32, 3) if turned else (32, 48, 3))
        np.testing.assert_allclose(shown.mean(axis=(0, 1)), expected, atol=5)
        assert notes == []


def test_colour_profiles_of_grey_deep_and_large_profiles_are_applied():
    from PIL import ImageCms

    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    start = int.from_bytes(linear[(at := linear.index(b"rTRC")) + 4 : at + 8])
    linear = linear[:start] + b"curv" + bytes(8) + linear[start + 12 :]  # 128 is brighter in sRGB
    long = (len(linear) + 100_000).to_bytes(4) + linear[4:] + bytes(100_000)  # in two segments of a JPEG
    cases = (("RGB", (128,) * 3, "PNG", linear), ("I;16", 128 * 257, "PNG", linear), ("RGB", (128,) * 3, "JPEG", long))
    for mode, value, ending, profile in cases:
        buffer = BytesIO()
        Image.new(mode, (32, 32), value).save(buffer, ending, icc_profile=profile)
        assert decode_image(buffer.getvalue(), "a")[0, 0] == pytest.approx(188, abs=2)


@pytest.mark.parametrize("first", [b"II", b"MM"])
def test_tiff_files_in_a_row_are_named(tmp_path, noise, first):
    parts = []
    for _ in range(3):
        buffer = BytesIO()
        Image.fromarray(noise).save(buffer, "TIFF", big_tiff=False)
        parts.append(buffer.getvalue())
    assert parts[0][:2] == b"II"
    if first == b"MM":
        header = struct.pack(">2sHI", b"MM", 42, 8)
        entries = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 1, 8 << 16), (259, 3, 1, 1 << 16), (262, 3, 1, 1 << 16),
                   (273, 4, 1, 8 + 2 + 9 * 12 + 4), (277, 3, 1, 1 << 16), (278, 4, 1, 2), (279, 4, 1, 4)]  # fmt: skip
        directory = struct.pack(">H", 9) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
        parts = [header + directory + bytes((0, 80, 160, 240))] * 2
    for count in (1, len(parts)):
        (tmp_path / "a.tif").write_bytes(b"".join(parts[:count]))
        with open_source(tmp_path / "a.tif") as source:
            assert any("only the first image of the file is read" in note for note in source.notes) == (count > 1)


@pytest.mark.parametrize("first_is_big", [False, True])
@pytest.mark.parametrize("second_is_big", [False, True])
def test_tiff_and_bigtiff_files_in_a_row_are_named(noise, first_is_big, second_is_big):
    parts = []
    for is_big in (first_is_big, second_is_big):
        buffer = BytesIO()
        Image.fromarray(noise).save(buffer, "TIFF", big_tiff=is_big)
        parts.append(buffer.getvalue())
    parts[0] += b"II+\0\x08\0\0\0" + 8 * b"\xff"  # begins as a file and is none
    assert (parts[0][2], parts[1][2]) == (b"*+"[first_is_big], b"*+"[second_is_big])
    for count in (1, 2):
        notes = []
        decode_image(b"".join(parts[:count]), "a.tif", notes=notes)
        assert notes == ["a.tif: only the first image of the file is read"][: count - 1]


P3 = ((0.515121, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
CURVES = {
    "as sRGB": b"para\0\0\0\0\0\3\0\0" + struct.pack(">5i", 157286, 62119, 3417, 5073, 2651),
    "with an offset": b"para\0\0\0\0\0\4\0\0" + struct.pack(">7i", 157286, 62119, 3417, 5073, 2651, 655, 655),
    "a power": b"para\0\0\0\0\0\0\0\0" + struct.pack(">i", 117965),
    "black below a limit": b"para\0\0\0\0\0\1\0\0" + struct.pack(">3i", 131072, 72090, -6554),
    "grey below a limit": b"para\0\0\0\0\0\2\0\0" + struct.pack(">4i", 131072, 68813, -6554, 3277),
    "2.2": b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", 563),
    "linear": b"curv" + bytes(8),
    "a table": b"curv\0\0\0\0" + struct.pack(">I", 64) + struct.pack(">64H", *(k * k * 16 for k in range(64))),
}


def profile_of(primaries, curve):
    """Return a matrix profile with primaries as XYZ under D50, and one curve."""
    from PIL import ImageCms

    head = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:128]
    tags = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061), b"cprt": b"text\0\0\0\0a\0\0\0"}
    tags |= {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in colour))
        for name, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve + bytes(-len(curve) % 4))
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">2I", start + len(body), len(tag))
        body += tag
    return struct.pack(">I", start + len(body)) + head[4:] + table + body


@pytest.mark.parametrize("curve", ["a power", "2.2", "as sRGB"])
def test_the_curve_of_a_grey_profile_is_of_lightness_if_it_says_so(curve):
    from PIL import ImageCms

    grey = profile_of(P3, CURVES[curve]).replace(b"RGB XYZ ", b"GRAYLab ", 1).replace(b"rTRC", b"kTRC", 1)
    values, srgb = np.arange(256, dtype=np.uint8)[None], ImageCms.createProfile("sRGB")
    given, intent = ImageCms.ImageCmsProfile(BytesIO(grey)), ImageCms.Intent.RELATIVE_COLORIMETRIC
    expected = np.asarray(ImageCms.profileToProfile(Image.fromarray(values), given, srgb, intent, "RGB"))
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", icc_profile=grey)
    assert np.abs(decode_image(buffer.getvalue(), "a").astype(int) - expected).max() <= 2


def test_the_colour_profile_of_a_jpeg_2000_file_is_applied():
    pixels, buffer = np.full((32, 32, 3), (200, 60, 30), np.uint8), BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000", no_jp2=False)
    data, profile = buffer.getvalue(), profile_of(P3[::-1], CURVES["as sRGB"])  # red and blue exchanged
    at, start = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    more = struct.pack(">I4s3B", 11 + len(profile), b"colr", 2, 0, 0) + profile
    length = int.from_bytes(data[start : start + 4]) - 15 + len(more)
    red, _, blue = decode_image(
        data[:start] + struct.pack(">I", length) + data[start + 4 : at] + more + data[at + 15 :], "a"
    )[0, 0]
    assert (red, blue) != (200, 30)
    assert blue > 150 > red


@pytest.mark.parametrize("ending", ["JPEG", "TIFF"])
@pytest.mark.parametrize("profile", [None, b"\0\0\1\0lcms\2\0\0\0prtrCMYKLab " + bytes(12) + b"acsp" + bytes(216)])
def test_cmyk_images_without_a_profile_are_converted_approximately(ending, profile, noise):
    smooth = np.asarray(Image.fromarray(noise).resize((48, 32), Image.Resampling.BICUBIC, (0, 0, 4, 4)))
    buffer, notes = BytesIO(), []
    Image.fromarray(smooth).convert("CMYK").save(buffer, ending, quality=95, icc_profile=profile)
    shown = decode_image(buffer.getvalue(), "a", notes=notes)
    assert np.abs(shown.astype(int) - smooth).mean() < 3
    assert notes[-1] == "a: its CMYK colours are converted approximately, without a profile"
    assert notes[:-1] == ([] if profile is None else ["a: its colour profile is damaged and is not applied"])


def test_a_grey_profile_of_a_colour_image_and_a_damaged_profile_are_named(noise):
    grey = profile_of(P3, CURVES["linear"]).replace(b"RGB XYZ ", b"GRAYXYZ ", 1).replace(b"rTRC", b"kTRC", 1)
    missing = profile_of(P3, CURVES["linear"]).replace(b"rXYZ", b"A2B0", 1)
    for profile, line in (
        (grey, "its colour profile is for grey images and is not applied"),
        (missing, "its colour profile is damaged and is not applied"),
    ):
        buffer, notes = BytesIO(), []
        Image.fromarray(noise).save(buffer, "PNG", icc_profile=profile)
        np.testing.assert_array_equal(decode_image(buffer.getvalue(), "a", notes=notes), noise)
        assert notes == [f"a: {line}"]


XYZ_OF_SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)  # under D50


@pytest.mark.parametrize("primaries", [P3, ADOBE])
def test_colours_of_a_matrix_profile_are_those_of_its_definition(primaries, noise):
    linear = (noise / 255) ** (563 / 256) @ np.array(primaries) @ np.linalg.inv(XYZ_OF_SRGB).T
    linear = np.clip(linear, 0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    buffer, notes = BytesIO(), []
    Image.fromarray(noise).save(buffer, "PNG", icc_profile=profile_of(primaries, CURVES["2.2"]))
    shown = decode_image(buffer.getvalue(), "a", notes=notes)
    assert np.abs(shown - expected).max() <= 3  # dark linear values are rounded
    assert np.abs(shown - expected).mean() < 0.6
    assert np.abs(shown.astype(int) - noise).max() > 20
    assert notes == []


def inverse_cmyk_profile():
    """Return a profile of a table in which all ink is white and no ink is black."""
    head = (
        b"\0\0\0\0lcms\2\x40\0\0prtrCMYKLab "
        + bytes(12)
        + b"acsp"
        + bytes(28)
        + struct.pack(">3I", 63190, 65536, 54061)
    )
    head = head.ljust(128, b"\0")
    ramp = bytes(range(256))
    corners = b"".join(bytes([255 * (number == 15), 128, 128]) for number in range(16))
    table = b"mft1\0\0\0\0\4\3\2\0" + struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table += 4 * ramp + corners + 3 * ramp
    tags = {
        b"desc": b"desc\0\0\0\0\0\0\0\2a\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": table,
        b"A2B1": table,
    }
    listed, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        listed += name + struct.pack(">2I", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    return struct.pack(">I", start + len(body)) + head[4:] + listed + body


@pytest.mark.parametrize("ending", ["JPEG", "TIFF"])
def test_the_profile_of_a_cmyk_image_is_applied(ending):
    for ink, expected in ((0, 0), (255, 255)):
        buffer, notes = BytesIO(), []
        image = Image.new("CMYK", (32, 32), (ink,) * 4)
        image.save(buffer, ending, icc_profile=inverse_cmyk_profile())
        assert decode_image(buffer.getvalue(), "a", notes=notes)[9, 9] == pytest.approx(expected, abs=2)
        assert notes == []


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 600), at=st.integers(0, 500), value=st.integers(0, 255))
def test_damaged_profiles_are_no_error(cut, at, value):
    damaged = bytearray(profile_of(P3, CURVES["with an offset"]))
    damaged[at : at + 1] = bytes([value])
    for profile in (bytes(damaged), bytes(damaged[:cut])):
        Image.new("RGB", (2, 2)).save(buffer := BytesIO(), "PNG", icc_profile=profile or None)
        assert decode_image(buffer.getvalue(), "a").shape == (2, 2, 3)
