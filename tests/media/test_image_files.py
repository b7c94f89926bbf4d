"""Decoding and encoding of image files, with values and bytes that are made here."""

import io
import struct
import subprocess
import sys
import threading
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from sonjit._util.errors import InputError
from sonjit.media.sources.geometry import Geometry
from sonjit.media.sources.images import (
    decode_channels,
    decode_image,
    encode_image,
    load_image,
    quiet_opencv,
    rgb_from,
    still_geometry,
)
from sonjit.media.sources.levels import Levels

MORE = "a: only the first image of the file is read"


def encoded(image, ending, *options):
    return cv2.imencode(ending, image[..., ::-1] if image.ndim == 3 else image, options)[1].tobytes()


def notes_of(data, name="a"):
    notes = []
    decode_image(data, name, notes=notes)
    return notes


def png_with(data, *parts):
    """Insert parts, a kind and content each, after the header of a PNG file."""
    for part in parts:
        data = data[:33] + struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) + data[33:]
    return data


def exif(orientation, order="<"):
    mark = {"<": b"II", ">": b"MM"}[order]
    return struct.pack(f"{order}2sHIHHHIH2xI", mark, 42, 8, 1, 274, 3, 1, orientation, 0)


def test_the_log_level_of_opencv_is_restored_by_the_last_thread(monkeypatch):
    logging = cv2.utils.logging
    before = logging.setLogLevel(3)
    entered, leave = threading.Event(), threading.Event()

    def other():
        with quiet_opencv():
            entered.set()
            leave.wait(20)

    try:
        for _ in range(2):
            entered.clear(), leave.clear()
            with quiet_opencv():
                assert logging.getLogLevel() == 0
                with pytest.raises(ZeroDivisionError), quiet_opencv():
                    _ = 1 / 0
                assert logging.getLogLevel() == 0
                thread = threading.Thread(target=other)
                thread.start()
                entered.wait(20)
            assert logging.getLogLevel() == 0
            leave.set()
            thread.join()
            assert logging.getLogLevel() == 3
    finally:
        leave.set()
        logging.setLogLevel(before)


def test_a_file_is_loaded_upright_unless_its_stored_pixels_are_wanted(tmp_path, noise):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(encoded(noise, ".png"), b"eXIf" + exif(6)))
    np.testing.assert_array_equal(load_image(path), np.rot90(noise, -1))
    np.testing.assert_array_equal(load_image(path, upright=False), noise)
    for upright in (True, False):
        Image.fromarray(noise).save(tmp_path / "a.tiff", exif=exif_of(6))
        shown = load_image(tmp_path / "a.tiff", upright=upright)
        np.testing.assert_array_equal(shown, np.rot90(noise, -1) if upright else noise)


def exif_of(orientation):
    data = Image.Exif()
    data[274] = orientation
    return data


def segment(content):
    return b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_each_format_is_found_between_other_parts(noise, order, orientation):
    data, other = exif(orientation, order), exif(3 if orientation == 8 else 8, order)
    png, jpeg = encoded(noise, ".png"), encoded(noise, ".jpg")
    expected = Geometry.of_orientation(orientation)
    for prefix in (b"", b"Exif\0\0"):
        assert still_geometry(png_with(png, b"eXIf" + prefix + data, b"tEXt" + other)) == expected
        at = png.index(b"IEND") - 4
        assert still_geometry(png[:at] + png_with(b"x" * 33, b"eXIf" + prefix + data)[33:] + png[at:]) == expected
        Image.fromarray(noise).save(webp := io.BytesIO(), "WEBP", exif=prefix + data)
        assert still_geometry(webp.getvalue()) == expected
    xmp, flash = segment(b"http" + other), segment(b"ExiF\0\0" + other)
    assert still_geometry(jpeg[:2] + xmp + flash + segment(b"Exif\0\0" + data) + jpeg[2:]) == expected
    for ending in (".png", ".jpg", ".bmp", ".webp", ".jp2", ".tiff", ".ppm"):  # none is stated
        assert still_geometry(encoded(noise, ending)) == Geometry()


def test_channels_and_depth_of_an_image_are_kept(noise):
    rgba = np.dstack([noise, noise[::-1, :, 0]])
    deep = noise.astype(np.uint16) * 257 + 3
    for image in (noise[..., 0], noise, deep, deep[..., 2]):
        np.testing.assert_array_equal(decode_channels(encoded(image, ".png"), "a"), image)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    np.testing.assert_array_equal(decode_channels(buffer.getvalue(), "a"), rgba)
    turned = png_with(encoded(noise, ".png"), b"eXIf" + exif(6))
    np.testing.assert_array_equal(decode_channels(turned, "a"), noise)
    with pytest.raises(InputError, match="is empty"):
        decode_channels(b"", "a")


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]), (".jpeg", [cv2.IMWRITE_JPEG_QUALITY, 95]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 95]), (".png", []), (".tiff", []),
    ],
)  # fmt: skip
def test_images_are_encoded_with_quality_95_or_given_options(noise, ending, options):
    for image in (noise, noise[..., 0]):
        assert encode_image(image, ending) == encoded(image, ending, *options)
    rgba = np.dstack([noise, noise[..., 0]])
    if ending in (".png", ".tiff"):
        np.testing.assert_array_equal(decode_channels(encode_image(rgba, ending), "a"), rgba)
        deep = noise.astype(np.uint16) * 257
        np.testing.assert_array_equal(decode_channels(encode_image(deep, ending), "a"), deep)
    else:
        own = [options[0], 20]
        assert encode_image(noise, ending, own) == encoded(noise, ending, *own)
    if ending == ".png":
        own = [cv2.IMWRITE_PNG_COMPRESSION, 0]
        assert encode_image(noise, ending, own) == encoded(noise, ending, *own)
        assert encode_image(noise, ending, []) == encoded(noise, ending)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, 5, 3), bool, "bool array is a mask, no image: pass uint8 RGB, (H, W, 3), 0..255"),
        ((4, 5, 3), "f4", "float32 array: scale to uint8 yourself, 0..255"),
        *(((4, 5, 3), kind, f"{np.dtype(kind)} array: an image is uint8 (or uint16); convert it with .astype('uint8') "
           "if it is 0..255") for kind in ("i2", "u4", "u8", "i1")),
        *(
            ((high, 40, 50), "u1", f"array of shape ({high}, 40, 50) looks channels-first: pass "
             "image.transpose(1, 2, 0), (H, W, 3)") for high in (1, 3, 4)
        ),
        *(((high, 6, wide), "u1", f"array of shape ({high}, 6, {wide}) has {wide} channels (6 wide): pass RGB, "
           "(H, W, 3)") for high in (2, 5) for wide in (2, 5)),
        ((2, 3, 4, 3), "u1", "array of shape (2, 3, 4, 3): one image has 2 or 3 axes, (H, W) or (H, W, 3); pass the "
         "images of a batch one by one"),
        ((0, 5), "u1", "array of shape (0, 5, 1) is empty: an image needs at least one pixel"),
        ((4, 5, 0), "u2", "array of shape (4, 5, 0) is empty: an image needs at least one pixel"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_named(shape, dtype, message):
    with pytest.raises(InputError) as caught:
        rgb_from(np.zeros(shape, dtype))
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2"])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays_of_each_depth_and_number_of_channels_are_images(dtype, channels):
    shape = (3, 5) if channels is None else (3, 5, channels)
    values = np.arange(np.prod(shape)).reshape(shape) + 60
    image = (values * (1 if dtype == "u1" else 256) + (dtype != "u1") * 255).astype(dtype)
    expected = values.reshape(3, 5, -1)
    expected = expected.repeat(3, axis=2) if channels in (None, 1) else expected[..., :3]
    shown = rgb_from(image)
    np.testing.assert_array_equal(shown, expected)
    assert shown.flags.c_contiguous
    assert (shown is image) == (dtype == "u1" and channels == 3)


def test_a_16_bit_array_in_a_narrow_band_is_named_once():
    code = """
import numpy as np
from sonjit.media import rgb_from
image = np.linspace(29000, 30530, 2400).astype(np.uint16).reshape(40, 60)
wide = np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60)
for one in (wide, image, image + 9):
    np.testing.assert_array_equal(rgb_from(one)[..., 0], one >> 8)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert "a uint16 array with values from 29001 to 3052" in line
    image = np.linspace(29000, 30530, 2400).astype(np.uint16).reshape(40, 60)
    advice = line.partition("instead: ")[2]
    stretched = eval(advice, {"np": np, "image": image})  # the line can be used as it is
    assert np.ptp(stretched) > 250


def test_a_mode_of_pil_with_more_than_eight_bits_is_not_clipped():
    deep = Image.fromarray(np.full((2, 3), 40_000, np.uint16))
    assert rgb_from(deep).tolist() == np.full((2, 3, 3), 40_000 >> 8).tolist()
    for mode, words in (("F", "float32 array"), ("I", "int32 array")):
        with pytest.raises(InputError, match=words):
            rgb_from(Image.new(mode, (3, 2)))
    for mode in ("1", "L", "P", "RGBA", "CMYK", "HSV"):
        image = Image.new(mode, (3, 2), 1)
        np.testing.assert_array_equal(rgb_from(image), np.asarray(image.convert("RGB")))


def test_what_is_neither_an_array_nor_a_file_is_named():
    class Tensor:
        def numpy(self):
            return None

    for value, advice in (
        (3, "give a (H, W, 3) uint8 RGB array, a path, encoded bytes or a PIL image"),
        (Tensor(), "convert it, such as image.cpu().numpy(), to a (H, W, 3) uint8 RGB array"),
    ):
        with pytest.raises(InputError) as caught:
            rgb_from(value)
        assert str(caught.value) == f"a {type(value).__name__} is not an image: {advice}"


@pytest.mark.parametrize("ending", [".png", ".jp2", ".tiff", ".pgm", ".avif"])
def test_white_of_a_deep_file_is_white(ending):
    bits = 12 if ending == ".avif" else 16
    values = np.array([[0, 1 << (bits - 1), (1 << bits) - 1]] * 2, np.uint16).repeat(20, 0).repeat(20, 1)
    options = [cv2.IMWRITE_AVIF_DEPTH, 12, cv2.IMWRITE_AVIF_QUALITY, 100] if ending == ".avif" else []
    image = np.dstack([values] * 3) if ending == ".avif" else values
    shown = decode_image(encoded(image, ending, *options), "a")
    np.testing.assert_allclose(shown[9, 9::20, 1].astype(int), [0, 128, 255], atol=2 if ending == ".avif" else 0)


def narrow(shape=(64, 96), low=29_000, step=6):
    """Return grey values in a narrow band of 16 bits, as of a thermal camera, and the 8 bits they are made of."""
    eight = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    return low + step * eight.astype(np.uint16), eight


def is_stretched(shown, eight):
    """Check that 8-bit values are a linear function of others, over nearly all levels."""
    fitted = np.polyval(np.polyfit(eight.ravel(), shown[..., 0].ravel(), 1), eight)
    return np.abs(fitted - shown[..., 0]).max() < 3 and np.ptp(shown) > 250


@pytest.mark.parametrize("ending", [".png", ".tiff", ".jp2", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("low", "step"), [(29_000, 6), (0, 1), (0, 16), (300, 16), (65_000, 2), (1, 63)])
def test_a_narrow_band_of_16_bits_is_stretched_with_a_note(ending, channels, low, step):
    values, eight = narrow(low=low, step=step)
    if channels == 3 and ending in (".pgm", ".jp2"):
        pytest.skip("a lossy file, or one of grey values")
    data = encoded(values if channels == 1 else np.dstack([values] * 3), ending, *LOSSLESS.get(ending, ()))
    shown = decode_image(data, "a", notes=(notes := []))
    assert is_stretched(shown, eight)
    (note,) = notes
    assert note.startswith("a: 16-bit values are stretched from ")
    limits = [int(word) for word in note.split() if word.isdecimal()]
    assert limits == pytest.approx([max(values.min(), 1), values.max()], abs=2 * step)


LOSSLESS = {".jp2": (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)}


@pytest.mark.parametrize("ending", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("low", [0, 20_000])
def test_16_bits_that_use_64_levels_or_more_keep_their_upper_8(ending, low):
    values = np.linspace(low, low + (1 << 14) + 100, 64 * 96).astype(np.uint16).reshape(64, 96)
    shown = decode_image(encoded(values, ending), "a", notes=(notes := []))
    np.testing.assert_array_equal(shown[..., 0], values >> 8)
    assert notes == []


def test_missing_values_and_single_ones_do_not_widen_the_band():
    values, eight = narrow()
    values[0], values[1, :3] = 0, 65_535
    shown = decode_image(encoded(values, ".png"), "a")
    assert is_stretched(shown[2:], eight[2:])
    assert shown[0].max() == 0
    assert shown[1, :3].min() == 255


def test_a_stretch_of_the_caller_replaces_that_of_the_image():
    values, _ = narrow()
    for levels, expected in ((Levels(0, 65535), values >> 8), (Levels(28_000, 32_095), (values - 28_000) >> 4)):
        shown = decode_image(encoded(values, ".png"), "a", notes=(notes := []), levels=levels)
        np.testing.assert_array_equal(shown[..., 1], expected)
        assert notes == []


def test_a_png_with_significant_bits_has_them_at_the_top():
    values = np.linspace(0, 4095, 64 * 96).astype(np.uint16).reshape(64, 96) << 4
    shown = decode_image(png_with(encoded(values, ".png"), b"sBIT\x0c"), "a", notes=(notes := []))
    np.testing.assert_array_equal(shown[..., 0], values >> 8)
    assert notes == []


@pytest.mark.parametrize(("low", "high"), [(29_000, 31_047), (0, 1023), (None, 1023), (100, 40_000)])
def test_levels_that_a_tiff_states_are_used(low, high):
    values, _ = narrow(step=2)
    values = values if low == 29_000 else values - 29_000
    tags = {281: high} | ({} if low is None else {280: low})
    Image.fromarray(values).save(file := io.BytesIO(), "TIFF", tiffinfo=tags)
    shown = decode_image(file.getvalue(), "a", notes=(notes := []))
    low = low or 0
    expected = np.clip((values.astype(int) - low) * 256 // (high - low + 1), 0, 255)
    np.testing.assert_array_equal(shown[..., 0], expected)
    assert notes == []


def test_a_tiff_of_12_bits_is_scaled_by_them():
    values = np.linspace(0, 300, 64).astype(np.uint16).reshape(8, 8)
    packed = np.concatenate([[a >> 4, (a & 15) << 4 | b >> 8, b & 255] for a, b in values.reshape(-1, 2).tolist()])
    tags = {256: 8, 257: 8, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 96}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = struct.pack("<2sHI", b"II", 42, 8 + 96) + bytes(packed.tolist()) + struct.pack("<H", len(tags)) + entries
    shown = decode_image(data + bytes(4), "a", notes=(notes := []))
    np.testing.assert_array_equal(shown[..., 0], values >> 4)
    assert notes == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [9, 10, 12])
def test_bits_of_a_jpeg_2000_file_are_those_of_its_header(bits, channels):
    centre = (1 << 15) - (1 << (bits - 1))  # the middle of its values is stored as 0
    values = np.random.default_rng(0).integers(0, 1 << (bits - 2), (64, 64, channels), np.uint16)
    data = bytearray(encoded(values + centre, ".jp2", *LOSSLESS[".jp2"]))
    for channel in range(channels):
        data[data.index(b"\xff\x4f\xff\x51") + 42 + 3 * channel] = bits - 1
    shown = decode_image(bytes(data), "a", notes=(notes := []))
    np.testing.assert_array_equal(shown, np.broadcast_to(values >> (bits - 8), shown.shape))
    assert notes == []


@pytest.mark.parametrize(("maximum", "shown"), [(255, 200), (511, 100), (1023, 50), (4095, 12)])
def test_bits_of_a_pnm_file_are_those_of_its_maximum(maximum, shown):
    kind = "u1" if maximum < 256 else ">u2"
    data = f"P5 2 2 {maximum}\n".encode() + np.full(4, 200, kind).tobytes()
    assert decode_image(data, "a", notes=(notes := [])).max() == shown
    assert notes == []


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_second_tiff_file_is_named(noise, order, big):
    files = []
    for _ in range(2):
        Image.fromarray(noise).save(file := io.BytesIO(), "TIFF", big_tiff=big)
        files.append(file.getvalue())
    noted = {">": b"MM\0*\0\0\0\x08" + bytes(40), "<": b"II*\0\x08\0\0\0" + bytes(40)}[order]
    assert notes_of(files[0] + noted) == []  # the head of a file without an image
    assert notes_of(files[0] + files[1]) == [MORE]


@pytest.mark.parametrize(
    ("tag", "value", "is_more"), [(254, 1, True), (254, 0, False), (330, 8, True), (330, 0, False)]
)
def test_previews_and_further_directories_of_a_tiff_are_named(tag, value, is_more):
    pixels = np.full(4, 77, np.uint8).tobytes()
    tags = {tag: value} | {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4}
    for following in (0, 500):
        entries = b"".join(struct.pack("<HHII", one, 4, 1, number) for one, number in sorted(tags.items()))
        data = struct.pack("<2sHI", b"II", 42, 12) + pixels + struct.pack("<H", len(tags)) + entries
        data += struct.pack("<I", following)
        shown = decode_image(data, "a", notes=(notes := []))
        assert shown.tolist() == np.full((2, 2, 3), 77).tolist()
        assert notes == ([MORE] if is_more or following else [])


def test_names_of_multi_picture_files_and_animations_have_more_images(noise):
    data = encoded(noise, ".jpg")
    assert [notes_of(data, name) for name in ("a.mpo", "a.MPO", "a.jpg", "mpo")] == [
        ["a.mpo: only the first image of the file is read"],
        ["a.MPO: only the first image of the file is read"], [], [],
    ]  # fmt: skip
    png = encoded(noise, ".png")
    assert notes_of(png_with(png, b"acTL" + struct.pack(">2I", 1, 0))) == [MORE]
    assert notes_of(png + png) == [MORE]
    assert notes_of(png + b"\x89QNG") == []


GAMMA = "a: its gamma or primaries are not those of sRGB and are not applied"
SRGB = (45455, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # gamma, white, red, green and blue


def srgb_but(changed, limit):
    """Return gamma and primaries of sRGB, one of them as much larger or smaller as is no difference, or by one more."""
    off = SRGB[changed] * 5 // 100 + (limit == "over")
    return [value + off * (number == changed) for number, value in enumerate(SRGB)]


@pytest.mark.parametrize(
    ("parts", "is_noted"),
    [
        *(([(b"gAMA", *values[:1]), (b"cHRM", *values[1:])], limit == "over")
          for limit in ("at", "over") for values in (srgb_but(changed, limit) for changed in range(9))),
        ([(b"gAMA", 43200)], False), ([(b"gAMA", 43100)], True), ([(b"cHRM", *SRGB[1:])], False),
        ([(b"gAMA", 100_000), (b"cHRM", *SRGB[1:])], True), ([(b"gAMA", 45455), (b"cHRM", *8 * [30000])], True),
        ([(b"gAMA", 100_000), (b"sRGB",)], False), ([(b"tEXt", 5)], False),
    ],
)  # fmt: skip
def test_gamma_and_primaries_of_a_png_are_noted_unless_they_are_those_of_srgb(noise, parts, is_noted):
    made = [kind + struct.pack(f">{len(numbers)}I", *numbers) for kind, *numbers in parts]
    made = [part + b"\0" if part == b"sRGB" else part for part in made]
    assert notes_of(png_with(encoded(noise, ".png"), *made)) == ([GAMMA] if is_noted else [])


@pytest.mark.parametrize(
    ("cicp", "is_noted"),
    [
        ((9, 1), True), ((11, 1), True), ((12, 13), True), ((1, 1), False), ((10, 1), False), ((9, 16), False),
        ((9, 18), False), ((9, 17), True),
    ],
)  # fmt: skip
def test_a_wide_gamut_of_a_png_is_noted_unless_it_is_hdr(noise, cicp, is_noted):
    lines = notes_of(png_with(encoded(noise, ".png"), b"cICP" + bytes([*cicp, 0, 1])))
    assert [line for line in lines if "HDR" not in line] == (
        ["a: its colour profile is not sRGB and is not applied"] if is_noted else []
    )
    assert any("HDR" in line for line in lines) == (cicp[1] in (16, 18))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_transparency_of_a_tiff_changes_no_colour(noise, order):
    rgba = np.dstack([noise, noise[..., 0] // 2])[:4, :4]
    tags = {256: 4, 257: 4, 258: 200, 259: 1, 262: 2, 273: 8, 277: 4, 278: 4, 279: 64, 338: 2}
    mark, at = {"<": b"II", ">": b"MM"}[order], 8 + 64
    counts = {258: 4}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 3, counts.get(tag, 1))
        + (struct.pack(f"{order}I", at) if tag == 258 else struct.pack(f"{order}H2x", value))
        for tag, value in tags.items()
    )
    data = struct.pack(f"{order}2sHI", mark, 42, at + 8) + rgba.tobytes() + struct.pack(f"{order}4H", 8, 8, 8, 8)
    data += struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    np.testing.assert_array_equal(decode_image(data, "a"), rgba[..., :3])


@pytest.mark.parametrize("ending", ["PNG", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "RGB"])
def test_images_of_each_kind_of_pixels_are_rgb(noise, ending, mode):
    image = Image.fromarray(noise).convert(mode)
    image.save(buffer := io.BytesIO(), ending, **({"lossless": True, "exact": True} if ending == "WEBP" else {}))
    shown = decode_image(buffer.getvalue(), "a", notes=(notes := []))
    np.testing.assert_array_equal(shown, np.asarray(image.convert("RGB")))
    assert notes == []


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
@pytest.mark.parametrize(
    "rest", [b"", bytes(8), struct.pack(">I", 16) + b"meta" + bytes(8), struct.pack(">I", 7) + b"meta"]
)
def test_an_avif_file_without_its_properties_is_damaged(brand, rest):
    if brand == b"heic":
        pytest.importorskip("pillow_heif")
    with pytest.raises(InputError, match="a") as caught:
        decode_image(struct.pack(">I", 16) + b"ftyp" + brand + bytes(4) + rest, "a")
    assert "\n" not in str(caught.value)


XMP_TURN = "a: the orientation in its XMP data is not applied, as in browsers"


@pytest.mark.parametrize(
    ("xmp", "stated", "is_noted"),
    [
        (b'tiff:Orientation="6"', None, True), (b"tiff:Orientation>6<", None, True),
        (b'tiff:Orientation="6"', 6, False),
        (b'tiff:Orientation="6"', 8, True), (b'tiff:Orientation="1"', None, False),
        (b'tiff:Orientation="9"', None, False),
        (b'tiff:Orientation="0"', None, False), (b'tiff:Orientation="8"', 8, False), (b'tiff:Orientation="1"', 8, True),
    ],
)  # fmt: skip
def test_another_orientation_in_xmp_data_is_noted(noise, xmp, stated, is_noted):
    lines, turn = [XMP_TURN] if is_noted else [], [] if stated is None else [exif(stated)]
    text = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp
    assert notes_of(png_with(encoded(noise, ".png"), text, *(b"eXIf" + one for one in turn))) == lines
    jpeg = encoded(noise, ".jpg")
    parts = b"".join(
        b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part
        for part in (b"http://ns.adobe.com/xap/1.0/\0" + xmp, *(b"Exif\0\0" + one for one in turn))
    )
    assert notes_of(jpeg[:2] + parts + jpeg[2:]) == lines
    assert notes_of(jpeg + parts) == []  # after the image
