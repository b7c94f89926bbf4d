"""Images are read as players and browsers show them, with times that never run backwards, and nothing silently."""

import io
import math
import re
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.detectors.kinds import options_for
from sonjit.media import Header, load_frames, open_drawing_writer, open_writer
from sonjit.media.sources import Reading
from sonjit.media.sources.geometry import Geometry, tone_curve
from sonjit.media.sources.headers import image_end, is_media
from sonjit.media.sources.images import decode_image
from sonjit.results import Frame
from sonjit.runs import Detect, Inputs, Outputs, run_job

RED, GREEN, BLUE = (200, 30, 30), (30, 170, 30), (30, 30, 200)


def picture(height=64, width=96, shift=0):
    """Return an image whose quarters differ, so that each turn and mirror is visible."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[shift : shift + 4] = 240
    return image


def write_video(path, count=12, *, codec="libx264", options=None, rate=25, first=0, sound=0, change=id, **kwargs):
    with av.open(str(path), "w", **kwargs) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        change(stream)
        tone = container.add_stream("aac", rate=8000) if sound else None
        if tone is not None:
            for start in range(0, 16000, 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.rate, frame.pts = 8000, start
                container.mux(tone.encode(frame))
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(shift=4 * (index % 12)), format="rgb24")
            frame.pts, frame.time_base = first + index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            container.mux(tone.encode(None))
    return path


def read(path, **options):
    with sonjit.open_source(path, **options) as source:
        return source, [(frame.index, frame.time, frame.rgb) for frame in source]


def close_to(image, expected):
    return image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["avif", "jpg", "png", "webp", "tiff"])
def test_an_image_is_shown_as_its_properties_state(ending, orientation, tmp_path):
    pil, path = pytest.importorskip("PIL.Image"), tmp_path / f"a.{ending}"
    if ending == "avif" and not pytest.importorskip("PIL.features").check(ending):
        pytest.skip("Pillow without AVIF")
    exif, expected = pil.Exif(), Geometry.of_orientation(orientation)
    exif[0x112] = orientation
    pil.fromarray(picture()).save(path, exif=exif, quality=95)
    source, [(_, _, rgb)] = read(path)
    assert source.geometry.to_dict() == expected.to_dict()
    assert close_to(rgb, expected.apply(picture()))
    assert close_to(decode_image(path.read_bytes(), "a", upright=False), picture())


@pytest.mark.parametrize(("kind", "is_turned"), [(1, False), (3, True), (4, True)])
@pytest.mark.parametrize(("order", "mark"), [("<", b"II"), (">", b"MM")])
def test_pixels_and_header_agree_about_a_rare_orientation(tmp_path, order, mark, kind, is_turned):
    form = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    exif = b"Exif\0\0" + struct.pack(f"{order}2sHIHHHI{form}I", mark, 42, 8, 1, 274, kind, 1, 6, 0)
    data = cv2.imencode(".jpg", picture()[..., ::-1])[1].tobytes()
    (tmp_path / "a").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    source, [(_, _, rgb)] = read(tmp_path / "a")
    assert close_to(rgb, source.geometry.apply(picture()))
    assert (rgb.shape == (96, 64, 3)) == is_turned


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])  # some programs write that of JPEG
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_exif_data_of_a_png_may_have_a_prefix(prefix, order):
    mark = {"<": b"II", ">": b"MM"}[order]
    chunk = b"eXIf" + prefix + struct.pack(f"{order}2sHIHHHIH2xI", mark, 42, 8, 1, 274, 3, 1, 6, 0)
    data = cv2.imencode(".png", picture()[..., ::-1])[1].tobytes()
    data = data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    np.testing.assert_array_equal(decode_image(data, "a"), Geometry.of_orientation(6).apply(picture()))


@pytest.mark.parametrize(
    ("order", "colours", "shown"),
    [("<", 0, [255, 191, 127, 0]), ("<", 1, [0, 64, 128, 255]), (">", 1, [0, 64, 128, 255])],
)
def test_white_of_a_deep_tiff_is_0_if_it_says_so(order, colours, shown):
    values = np.array([0, 64 * 256, 128 * 256, 65535], order + "u2").tobytes()
    tags = {256: 4, 257: 1, 258: 16, 259: 1, 262: colours, 273: 8, 277: 1, 278: 1, 279: len(values)}
    entries = b"".join(struct.pack(f"{order}HHIH2x", tag, 3, 1, value) for tag, value in tags.items())
    mark = {"<": b"II", ">": b"MM"}[order]
    head = struct.pack(f"{order}2sHI", mark, 42, 8 + len(values))
    data = head + values + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    assert decode_image(data, "a")[0].tolist() == [[value] * 3 for value in shown]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_display_matrix_turns_and_mirrors_a_video(tmp_path, degrees, mirrored):
    path = write_video(
        tmp_path / "a.mp4", 3, change=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored)
    )
    source, frames = read(path)
    image = picture()[:, ::-1] if mirrored else picture()
    choices = {turn: np.rot90(image, turn) for turn in range(4)}
    matching = [turn for turn, expected in choices.items() if close_to(frames[0][2], expected)]
    assert len(matching) == 1
    assert matching[0] % 2 == degrees // 90 % 2
    assert source.geometry.to_dict().get("mirrored", False) == mirrored
    with sonjit.open_source(path) as opened, open_drawing_writer(tmp_path / "drawn.mp4", opened) as drawing:
        for frame in opened:
            drawing.write(frame.rgb, frame.time, under=frame)
    assert close_to(read(tmp_path / "drawn.mp4")[1][0][2], frames[0][2])


@pytest.mark.parametrize(("aspect", "size"), [("16:11", (140, 64)), ("1:2", (96, 128)), ("1:1", (96, 64))])
def test_pixels_become_square(tmp_path, aspect, size):
    def state(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(aspect.replace(":", "/"))

    source, frames = read(write_video(tmp_path / "a.mkv", 3, change=state))
    assert (source.width, source.height) == size == frames[0][2].shape[1::-1]
    assert source.geometry.to_dict() == ({} if aspect == "1:1" else {"pixel_aspect": aspect})
    assert close_to(frames[0][2], cv2.resize(picture(), size, interpolation=cv2.INTER_CUBIC))
    header = Header.from_source(source)
    assert (header.width, header.height) == size
    assert Header.from_dict(header.to_dict()).geometry == source.geometry.to_dict()


def grown(data, path, payload, skip):
    """Append a payload to the box at a path of kinds, and correct all sizes."""
    position, end, chain = 0, len(data), []
    for kind in path:
        while data[position + 4 : position + 8] != kind:
            position += int.from_bytes(data[position : position + 4])
        chain.append(position)
        end = position + int.from_bytes(data[position : position + 4])
        position += 8 + skip.get(kind, 0)
    data[end:end] = payload
    for start in chain:
        data[start : start + 4] = (int.from_bytes(data[start : start + 4]) + len(payload)).to_bytes(4)


def test_the_clean_aperture_of_an_mp4_is_cut(tmp_path):
    data = bytearray(write_video(tmp_path / "a.mp4", 3).read_bytes())
    aperture = struct.pack(">I4s2I2I2i2i", 40, b"clap", 72, 1, 58, 1, 4, 1, 1, 1)
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    grown(data, path, aperture, {b"stsd": 8, b"avc1": 78})
    (tmp_path / "b.mp4").write_bytes(data)
    source, frames = read(tmp_path / "b.mp4")
    assert source.geometry.to_dict() == {"crop": [16, 4, 8, 2]}
    assert close_to(frames[0][2], picture()[4:62, 16:88])


def test_the_crop_of_an_mkv_is_cut(tmp_path):
    plain = bytearray(write_video(tmp_path / "a.mkv", 3).read_bytes())
    old = b"\x54\xb2\x81\x04\x55\xee\x81\x00"  # DisplayUnit, the last element of Video, and one of the track after it
    at = plain.index(old)
    plain[at : at + 8] = b"\x54\xcc\x81\x10\x54\xdd\x81\x08"  # PixelCropLeft and PixelCropRight
    plain[plain.rindex(b"\xb0\x81\x60", 0, at) - 1] += 4  # the size of Video
    (tmp_path / "b.mkv").write_bytes(plain)
    source, frames = read(tmp_path / "b.mkv")
    assert source.geometry.to_dict() == {"crop": [16, 0, 8, 0]}
    assert close_to(frames[0][2], picture()[:, 16:88])


def test_the_crop_of_h264_may_begin_at_any_pixel(tmp_path):
    path = tmp_path / "cut.mkv"
    with av.open(str(write_video(tmp_path / "a.mp4", 3))) as whole, av.open(str(path), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        crop = av.BitStreamFilterContext("h264_metadata=crop_left=6:crop_right=10", whole.streams.video[0], stream)
        for packet in whole.demux(whole.streams.video[0]):
            for part in crop.filter(packet if packet.size else None):
                part.stream = stream
                cut.mux(part)
    assert close_to(read(path)[1][0][2], picture()[:, 6:86])


@pytest.mark.parametrize(
    ("codec", "message"),
    [  # mirrored left and right, then a quarter turn anticlockwise, from this frame on
        ("h264", "06 2f 03 48 00 09 80"), ("hevc", "4e 01 2f 03 48 00 18 80"),
    ],
)  # fmt: skip
def test_the_display_orientation_of_a_stream_holds_until_another(tmp_path, codec, message):
    encoder = {"h264": "libx264", "hevc": "libx265"}[codec]
    path = write_video(tmp_path / "a", 6, codec=encoder, options={"x265-params": "log-level=none"}, format=codec)
    data = path.read_bytes()
    slice_start = re.search({"h264": rb"\0?\0\0\x01\x65", "hevc": rb"\0?\0\0\x01[\x26-\x2a]\x01"}[codec], data).start()
    path.write_bytes(data[:slice_start] + b"\0\0\0\1" + bytes.fromhex(message) + data[slice_start:])
    source, frames = read(path)
    assert source.geometry.to_dict() == {"rotation_deg": 90, "mirrored": True}
    for number, (*_, image) in enumerate(frames):
        assert close_to(image, np.rot90(picture(shift=4 * number)[:, ::-1]))


def test_further_videos_of_a_file_are_named(tmp_path):
    def state(stream):
        stream.pix_fmt, stream.disposition = "yuvj420p", 1024  # a cover

    cover = write_video(tmp_path / "b.mp4", 1, codec="mjpeg", change=state)
    assert "only its cover image is read" in read(cover)[0].notes[0]
    path = write_video(tmp_path / "a.mkv", change=lambda stream: stream.container.add_stream("mpeg4", rate=5))
    assert "contains 2 video streams. Only number 0 is read" in read(path)[0].notes[0]


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_tone_mapped(tmp_path, transfer):
    def state(stream):
        stream.codec_context.color_trc = transfer

    source, frames = read(write_video(tmp_path / "a.mp4", 2, change=state))
    plain = read(write_video(tmp_path / "b.mp4", 2))[1][0][2]
    assert "tone-mapped" in source.notes[0]
    assert frames[0][2].astype(int).std() > plain.astype(int).std()  # contrast that HDR compresses


def with_chunk(data, chunk):
    return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_hdr_images_are_tone_mapped(transfer, dtype, channels):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (20, 30, channels), dtype)
    data = with_chunk(cv2.imencode(".png", values[..., ::-1])[1].tobytes(), b"cICP" + bytes([9, transfer, 0, 1]))
    shown = decode_image(data, "a", notes=(notes := []))
    deep = values.astype(int) * (257 if dtype == np.uint8 else 1)
    np.testing.assert_array_equal(shown, np.broadcast_to(tone_curve(transfer)[deep], shown.shape))
    assert notes == ["a: HDR image, tone-mapped to standard range"]


@pytest.mark.parametrize("others", [[], [16], [13]])
def test_hdr_avif_images_are_tone_mapped_unless_another_image_of_the_file_is_not_hdr(others):
    data, notes = io.BytesIO(), []
    pil = pytest.importorskip("PIL.Image")
    pil.fromarray(picture()).save(data, "AVIF", quality=100)
    content = re.sub(rb"(?<=colrnclx).{4}", b"\0\x09\0\x10", data.getvalue(), count=1, flags=re.DOTALL)
    for other in others:  # as of a gain map
        content += b"\0\0\0\x1bfree" + b"colrnclx\0\x09\0" + bytes([other]) + bytes(7)
    shown = decode_image(content, "a", notes=notes)
    is_hdr = 13 not in others
    assert ("a: HDR image, tone-mapped to standard range" in notes) == is_hdr
    assert (np.abs(shown[40, 20].astype(int) - picture()[40, 20]).max() < 9) != is_hdr


@pytest.mark.parametrize(("bits", "head"), [(10, b"P5\n96 64\n1023\n"), (12, b"P5 # dark\n96 64 4095\n"), (10, None)])
def test_dark_values_are_scaled_by_what_the_file_states(bits, head):
    values, notes = np.full((64, 96), 200, np.uint16), []
    if head is None:
        settings = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
        data = cv2.imencode(".avif", cv2.cvtColor(values, cv2.COLOR_GRAY2BGR), settings)[1].tobytes()
    else:
        data = head + values.astype(">u2").tobytes()
    assert decode_image(data, "a", notes=notes).max() == pytest.approx(200 >> (bits - 8), abs=1)
    assert notes == []


PREVIEW, NAMED = {"tiffinfo": {254: 1}}, {"tiffinfo": {270: 20 * "acsp"}}  # a raw photograph, a description


def info(kind, *numbers):
    chunks = pytest.importorskip("PIL.PngImagePlugin").PngInfo()
    chunks.add(kind, struct.pack(f">{len(numbers)}I", *numbers))
    return chunks


LINEAR, GAMMA = {"pnginfo": info(b"gAMA", 100_000)}, "its gamma or primaries are not those of sRGB and are not applied"
XMP = {"xmp": b'<rdf:Description tiff:Orientation="6"/>'}
MORE, COLOURS = "only the first image of the file is read", "its colour profile is not sRGB and is not applied"
DAMAGED = "its colour profile is damaged and is not applied"
TURN = "the orientation in its XMP data is not applied, as in browsers"


@pytest.mark.parametrize(
    ("ending", "options", "expected"),
    [
        *((ending, {"save_all": True}, [MORE]) for ending in ("WEBP", "PNG", "TIFF")), ("TIFF", PREVIEW, [MORE]),
        ("TIFF", {"save_all": True, "big_tiff": True}, [MORE]), ("JPEG", XMP, [TURN]), ("WEBP", XMP, [TURN]),
        ("TIFF", NAMED, []), ("PNG", LINEAR, [GAMMA]), ("PNG", {"pnginfo": info(b"cHRM", *8 * [30000])}, [GAMMA]),
        ("PNG", {"pnginfo": info(b"gAMA", 45455)}, []),
        *((ending, {"icc_profile": bytes(200)}, [DAMAGED]) for ending in ("JPEG", "WEBP", "PNG", "TIFF")),
    ],
)  # fmt: skip
def test_what_is_not_read_of_a_file_is_named(ending, options, expected):
    image, data, notes = pytest.importorskip("PIL.Image").fromarray(picture()), io.BytesIO(), []
    more = {"append_images": [image.rotate(90)]} if "save_all" in options else {}
    image.save(data, ending, **options, **more)
    decode_image(data.getvalue(), "a", notes=notes)
    assert notes == [f"a: {line}" for line in expected]


@pytest.mark.parametrize(("primaries", "expected"), [(1, []), (9, [f"a: {COLOURS}"]), (12, [f"a: {COLOURS}"])])
def test_colours_of_a_wider_gamut_are_named(primaries, expected):
    data, notes = io.BytesIO(), []
    pytest.importorskip("PIL.Image").fromarray(picture()).save(data, "AVIF")
    content = re.sub(rb"(?<=colrnclx\0).", bytes([primaries]), data.getvalue())
    decode_image(content, "a", notes=notes)
    assert notes == expected
    assert content.count(b"colrnclx") == 1


def test_images_of_a_video_keep_the_first_size(tmp_path):
    path = tmp_path / "a.mjpeg"
    parts = [cv2.imencode(".jpg", picture(64 * size, 96 * size))[1].tobytes() for size in (2, 2, 1)]
    path.write_bytes(b"".join(parts))
    source, frames = read(path)
    assert [frame.shape for *_, frame in frames] == [(128, 192, 3)] * 3
    assert any("the size changes at frame 2" in note for note in source.notes)


@pytest.mark.parametrize(
    ("size", "shown"),  # height and width of a later image, and its place: top, bottom, left and right
    [
        ((64, 64), (0, 64, 16, 80)), ((32, 96), (16, 48, 0, 96)), ((32, 48), (0, 64, 0, 96)),
        ((65, 96), (0, 64, 0, 96)), ((68, 96), (0, 64, 3, 93)), ((128, 32), (0, 64, 40, 56)),
        ((64, 62), (0, 64, 17, 79)), ((30, 96), (17, 47, 0, 96)), ((192, 66), (0, 64, 37, 59)),
    ],
)  # fmt: skip
def test_images_of_another_shape_are_centred_in_a_black_border(tmp_path, size, shown):
    white = [cv2.imencode(".jpg", np.full((*one, 3), 255, np.uint8))[1].tobytes() for one in ((64, 96), size)]
    (tmp_path / "a.mjpeg").write_bytes(b"".join(white))
    *_, (_, _, image) = read(tmp_path / "a.mjpeg")[1]
    expected, (top, bottom, left, right) = np.zeros((64, 96, 3), np.uint8), shown
    expected[top:bottom, left:right] = 255
    np.testing.assert_allclose(image.astype(int), expected, atol=2)


@pytest.mark.parametrize("ending", [".bmp", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".webp"])
def test_images_in_a_row_are_a_video_but_appended_parts_are_not(tmp_path, ending):
    image = picture(65, 97)[..., 0] if ending in (".pbm", ".pgm") else picture(256, 384)
    one = cv2.imencode(ending, image)[1].tobytes()
    (tmp_path / "three").write_bytes(one * 3)
    source, frames = read(tmp_path / "three")
    assert [time for _, time, _ in frames] == [0, 0.04, 0.08]
    assert "contains no times. 25 frames per second, assumed" in source.notes[0]
    decode_image(one * 3, "a", notes=(notes := []))
    assert notes == [f"a: {MORE}"]
    (tmp_path / "photo.mp4").write_bytes(one + b"\0\0\0\x18ftypmp42" + bytes(200))
    assert read(tmp_path / "photo.mp4")[0].kind == "image"
    if ending == ".jpg":
        (tmp_path / "parts").write_bytes(3 * (b"--x\r\nContent-type: image/jpeg\r\n\r\n" + one + b"\r\n"))
        assert len(read(tmp_path / "parts")[1]) == 3
        (tmp_path / "pair.mpo").write_bytes(one[:2] + b"\xff\xe2\x00\x08MPF\0II" + one[2:] + one)
        assert read(tmp_path / "pair.mpo")[0].kind == "image"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_float_image_says_so(channels):
    image = np.random.default_rng(0).random((8, 9, channels), np.float32)
    with pytest.raises(InputError, match="float32 image: scale it"):
        decode_image(cv2.imencode(".tif", image)[1].tobytes(), "f.tif")


@pytest.mark.parametrize(
    ("ending", "name"), [(".jpg", "jpeg"), (".png", "png"), (".bmp", "bmp"), (".webp", "webp"), (".ppm", "pnm")]
)
@pytest.mark.parametrize("width", [8, 9, 10, 11])
def test_the_end_of_an_image_is_that_of_its_data(ending, name, width):
    """Data follow each image, as in a stream of images."""
    rgb = np.random.default_rng(width).integers(0, 256, (8, width, 3), np.uint8)
    data = cv2.imencode(ending, rgb)[1].tobytes()
    assert image_end(data + b"more data", name) == len(data)
    assert image_end(data[: len(data) // 2], name) in (0, len(data))


def test_white_of_hdr_is_at_its_reference_signals():
    """ITU-R BT.2408 places white at 58 % of PQ and 75 % of HLG. BT.2100 maps 25 % of HLG to a scene light of 1/48."""
    white = [int(tone_curve(transfer)[round(65535 * signal)]) for transfer, signal in ((16, 0.58), (18, 0.75))]
    assert white == pytest.approx([244, 244], abs=2)
    assert tone_curve(18)[round(65535 / 4)] == 61
    steps = np.diff(tone_curve(18)[[32766, 32767, 32768, 32769]].astype(int))
    assert set(steps.tolist()) <= {0, 1}


def test_a_folder_with_a_rate_is_a_recording_with_its_gaps(tmp_path):
    for number in (1, 2, 4):
        cv2.imwrite(str(tmp_path / f"f_{number:03d}.png"), picture())
    for named in (tmp_path, f"{tmp_path}/f_%03d.png", f"{tmp_path}/*.png"):
        source, frames = read(named, fps=10)
        assert source.kind == "video"
        assert [(index, time) for index, time, _ in frames] == [(0, 0), (1, 0.1), (3, pytest.approx(0.3))]
        assert "1 frame missing" in source.notes[0]
    assert read(f"{tmp_path}/f_%03d.png")[0].kind == "folder"
    with sonjit.open_source(tmp_path, fps=10) as opened, open_drawing_writer(tmp_path / "a.mp4", opened) as drawing:
        for frame in opened:
            drawing.write(frame.rgb, frame.time, index=frame.index, under=frame)
    assert [round(time, 2) for _, time, _ in read(tmp_path / "a.mp4")[1]] == [0, 0.1, 0.3]
    for index, name in ((0, "cam2_001_v2"), (1, "cam2_004_v2")):
        (tmp_path / f"f_{index + 1:03}.png").rename(tmp_path / f"{name}.png")
    assert [frame[0] for frame in read(f"{tmp_path}/cam2_%03d_v2.png", fps=25)[1]] == [0, 3]
    source, frames = read(f"{tmp_path}/[cf]*.png", fps=25)
    assert [frame[0] for frame in frames] == list(range(len(frames)))
    assert "Gaps are not visible" in source.notes[0]


def test_files_of_a_folder_are_sniffed_and_those_left_out_are_named(tmp_path, monkeypatch):
    study = tmp_path / "study"
    study.mkdir()
    cv2.imwrite(str(study / "a.png"), picture())
    (study / "b.unknown").write_bytes((study / "a.png").read_bytes())
    (study / "c.recording").write_bytes(write_video(tmp_path / "a.ts", 3).read_bytes())
    (study / "notes.txt").write_text("x")
    (study / ".hidden").write_text("x")
    (study / "link.png").symlink_to("nowhere.png")
    (study / "inner").mkdir()
    inputs = Inputs.find([str(study)])
    assert [file.name for file in inputs.files] == ["a.png", "b.unknown", "c.recording"]
    folders = f"{study}: left out 1 folder. It contains folders: use {str(study / '**' / '*')!r}"
    assert inputs.notes == (f"{study}: left out 2 files: link.png, notes.txt", folders)
    assert not any(is_media((b"# a text that is long enough" * 30)[:size]) for size in range(800))
    (tmp_path / "nested" / "inner").mkdir(parents=True)
    with pytest.raises(InputError, match=r"It contains folders: use '.*nested/\*\*/\*'"):
        Inputs.find([str(tmp_path / "nested")])


@pytest.mark.parametrize(("count", "more"), [(1, ""), (5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_at_most_five_files_that_are_left_out_are_named(tmp_path, count, more):
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    names = [f"n{number}.txt" for number in range(count)]
    for name in names:
        (tmp_path / name).write_text("x")
    (note,) = Inputs.find([str(tmp_path)]).notes
    files = f"{count} file{'s' if count > 1 else ''}"
    assert note == f"{tmp_path}: left out {files}: {', '.join(names[:5])}{more}"


def test_what_is_not_read_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    with Reading(None, 0.1, 0.4, 2).open(path) as source:
        assert [frame.index for frame in source] == [4, 6, 8]
        assert list(source.remarks()) == [f"{path}: read from 0.1 s, until 0.4 s, one of 2 frames"]
    with Reading(10).open(path) as source:
        assert [frame.time for frame in source][:3] == [0, 0.1, 0.2]
        assert list(source.remarks()) == [f"{path}: read at 10 frames per second"]
    with Reading(None, 9).open(path) as source:
        assert list(source) == []
        assert source.problems == [f"{path}: no frame from 9 s, the last is at 0.44 s"]
    for wrong in ((None, math.nan), (None, 2, 1), (None, 0, None, 0), (None, 0, None, 1, -1)):
        with pytest.raises(InputError):
            Reading(*wrong).open(path)


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".parquet"])
def test_notes_are_in_the_header(tmp_path, ending):
    with open_writer(tmp_path / f"a{ending}", Header()) as table:
        table.write(Frame(0, 0.0))
        table.remarks = ("a line",)
    assert list(load_frames(tmp_path / f"a{ending}")[0].notes) == ["a line"]


def test_notes_of_a_run_are_in_its_report_and_table(tmp_path, weights):
    path = tmp_path / "a.mjpeg"
    path.write_bytes(cv2.imencode(".jpg", picture())[1].tobytes() * 3)
    task = Detect(options_for("hands", search="fast"))
    summary = run_job(task, Inputs.find([str(path)]), Outputs(str(tmp_path / "a.json")))
    assert "contains no times" in summary.notes[0]
    assert list(load_frames(tmp_path / "a.json")[0].notes) == summary.notes
    with pytest.warns(sonjit._util.errors.InputNote, match="contains no times"):
        assert len(list(sonjit.track(path, "hands", search="fast"))) == 3
    (tmp_path / "b.png").write_bytes(b"")
    named = [str(tmp_path / "b.png"), str(path)]
    for inputs, label in ((Inputs.find([str(tmp_path)]), "b.png"), (Inputs.find(named), named[0])):
        summary = run_job(task, inputs, Outputs(str(tmp_path / "b.parquet")))
        notes = [line.replace(str(tmp_path / "b.png"), label) for line in (*summary.notes, *summary.problems)]
        assert notes[-1] == f"{label} is empty (0 bytes): copy or export it again"
        found = load_frames(tmp_path / "b.parquet")[0].notes
        assert sorted(line.replace(str(tmp_path) + "/", "") for line in found) == sorted(
            line.replace(str(tmp_path) + "/", "") for line in notes
        )


@pytest.mark.parametrize(
    "crop", [(0, 0, 0, 0), (3, 2, 4, 5), (8, 0, 7, 0), (8, 0, 8, 0), (0, 9, 0, 3), (99, 99, 99, 99)]
)
@pytest.mark.parametrize("aspect", [None, Fraction(4, 3), Fraction(1, 100_000), Fraction(100_000)])
def test_a_crop_that_leaves_nothing_and_an_impossible_aspect_are_ignored(crop, aspect):
    geometry = Geometry.of_frame(av.VideoFrame(16, 12), aspect, crop)
    is_possible = crop[0] + crop[2] < 16 and crop[1] + crop[3] < 12
    assert geometry.crop == (crop if is_possible else (0, 0, 0, 0))
    assert geometry.aspect == (Fraction(4, 3) if aspect == Fraction(4, 3) else 1)
