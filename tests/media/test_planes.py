from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

from sonjit.media import open_drawing_writer, open_source
from sonjit.media.annotated.videos import Colours, drawn_on_planes, frame_of, has_planes
from sonjit.media.sources.geometry import Geometry
from sonjit.media.sources.video import DecodedFrame, upright_rgb

RED = (230, 40, 30)


def coloured_clip(path, *, matrix=2, value_range=0, pix_fmt="yuv420p", size=(160, 96)):
    """Return three noisy frames in a file with this matrix and range."""
    rng = np.random.default_rng(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "5"})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, value_range
        for index in range(3):
            noise = cv2.resize(rng.integers(30, 220, (4, 6, 3), np.uint8), size, interpolation=cv2.INTER_LINEAR)
            frame = av.VideoFrame.from_ndarray(noise)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def drawn_over(rgb):
    drawn = rgb.copy()
    cv2.rectangle(drawn, (40, 32), (71, 63), RED, -1)
    return drawn


@pytest.mark.parametrize("matrix", [2, 1, 6, 9])  # not stated, ITU 709, ITU 601, BT.2020
def test_only_what_is_drawn_is_converted(tmp_path, matrix):
    with open_source(coloured_clip(tmp_path / "v.mp4", matrix=matrix)) as source:
        frame = next(iter(source))
    assert frame.decoded.colorspace == matrix
    drawn = drawn_over(frame.rgb)
    assert has_planes(frame)
    before = [np.frombuffer(plane, np.uint8).copy() for plane in frame.decoded.planes]
    made = drawn_on_planes(drawn, frame, VideoReformatter())
    for plane, old in zip(frame.decoded.planes, before, strict=True):
        np.testing.assert_array_equal(np.frombuffer(plane, np.uint8), old)  # the decoder still needs it
    yuv, old = made.to_ndarray(), frame.decoded.to_ndarray()
    assert (yuv[:96] != old[:96]).any()
    untouched = np.ones((96, 160), bool)
    untouched[32:64, 32:96] = False  # the tiles of the rectangle
    np.testing.assert_array_equal(yuv[:96][untouched], old[:96][untouched])
    shown = VideoReformatter().reformat(made, format="rgb24", src_colorspace={1: 1, 9: 9}.get(matrix, 5)).to_ndarray()
    np.testing.assert_allclose(shown[36:60, 44:68].reshape(-1, 3).mean(axis=0), RED, atol=3)


@pytest.mark.parametrize("step", [-20, 20])
def test_darker_and_brighter_drawings_are_converted(tmp_path, step):
    with open_source(coloured_clip(tmp_path / "v.mp4")) as source:
        frame = next(iter(source))
    drawn = frame.rgb.copy()
    drawn[40:60, 40:60] = np.clip(drawn[40:60, 40:60].astype(int) + step, 0, 255)
    made = drawn_on_planes(drawn, frame, VideoReformatter()).to_ndarray()[40:60, 40:60]
    assert (made.mean() - frame.decoded.to_ndarray()[40:60, 40:60].mean()) * step > 10 * abs(step)


def test_images_of_a_width_that_is_no_multiple_of_eight_are_compared_too(tmp_path):
    with open_source(coloured_clip(tmp_path / "v.mp4", size=(150, 96))) as source:
        frame = next(iter(source))
    old = frame.decoded.to_ndarray()
    made = drawn_on_planes(drawn_over(frame.rgb), frame, VideoReformatter()).to_ndarray()
    changed = made[:96, :150] != old[:96, :150]
    assert changed[32:64, 40:72].any()
    changed[32:64, 32:96] = False
    assert not changed.any()


@pytest.mark.parametrize(("quarter", "matrix"), [(1, ((0, 1), (-1, 0))), (2, ((-1, 0), (0, -1)))])
def test_turned_video(tmp_path, clip, turn, quarter, matrix):
    path = clip("v.mp4", (0, 0.1), size=(64, 48))
    turn(path, matrix)
    with open_source(path) as source:
        frame = next(iter(source))
    assert round(frame.decoded.rotation / 90) % 4 != 0
    made = drawn_on_planes(frame.rgb.copy(), frame, VideoReformatter())
    assert (made.height, made.width) == frame.rgb.shape[:2] == ((64, 48) if quarter == 1 else (48, 64))
    np.testing.assert_array_equal(upright_rgb(made), frame.rgb)


def test_video_keeps_its_colours(tmp_path):
    out = tmp_path / "drawn.mp4"
    with open_source(coloured_clip(tmp_path / "v.mp4", matrix=6)) as source, open_drawing_writer(out, source) as writer:
        expected = []
        for frame in source:
            expected.append(drawn_over(frame.rgb))
            writer.write(expected[-1], frame.time, index=frame.index, under=frame)
    with open_source(out) as made:
        frames = list(made)
    assert [frame.decoded.colorspace for frame in frames] == [6] * 3
    for frame, drawn in zip(frames, expected, strict=True):
        assert np.abs(frame.rgb.astype(int) - drawn).mean() < 4


@pytest.mark.parametrize(("pix_fmt", "value_range", "size"), [("yuv444p", 0, (160, 96)), ("yuv420p", 2, (160, 96))])
def test_other_videos_are_converted_completely(tmp_path, pix_fmt, value_range, size):
    path, out = tmp_path / "v.mkv", tmp_path / "drawn.mp4"
    coloured_clip(path, pix_fmt=pix_fmt, value_range=value_range, size=size)
    with open_source(path) as source, open_drawing_writer(out, source) as writer:
        for frame in source:
            assert not has_planes(frame)
            writer.write(frame.rgb, frame.time, index=frame.index, under=frame)
    with open_source(path) as source, open_source(out) as made:
        for before, after in zip(source, made, strict=True):
            assert after.decoded.colorspace == 1
            # the matrix that the file states, 709, is that of the numbers
            rgb = VideoReformatter().reformat(after.decoded, format="rgb24", src_colorspace=1).to_ndarray()
            assert np.abs(rgb.astype(int) - before.rgb).mean() < 6


@pytest.mark.parametrize("channels", [3, 4])
def test_a_frame_has_the_channels_of_its_image(channels):
    image = np.random.default_rng(0).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    frame = frame_of(image)
    assert frame.format.name == {3: "rgb24", 4: "rgba"}[channels]
    np.testing.assert_array_equal(frame.to_ndarray(), image)


@pytest.mark.parametrize(("ending", "least_ms"), [(".gif", 20), (".webp", 11)])
def test_images_of_an_animation_that_follow_too_soon_are_left_out(tmp_path, ending, least_ms):
    """Browsers show an image of at most 10 ms for 100 ms."""
    out = tmp_path / f"a{ending}"
    with open_source(coloured_clip(tmp_path / "v.mkv")) as source, open_drawing_writer(out, source) as writer:
        for number, time in enumerate((0, 0, 0.002, 0.5, 0.5 + least_ms / 1000, 0.9)):
            writer.write(np.full((24, 32, 3), 40 * number, np.uint8), time)
    with Image.open(out) as made:
        durations = []
        for index in range(made.n_frames):
            made.seek(index)
            made.load()
            durations.append(made.info["duration"])
    assert durations[:3] == pytest.approx([500, least_ms, 400 - least_ms], abs=0.1)


def decoded(width, height, *, pix_fmt="yuv420p", value_range=1, matrix=1, shown=None, geometry=Geometry()):  # noqa: B008
    """Return a decoded frame with an image of its size, or of another one."""
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.color_range, frame.colorspace = value_range, matrix
    made = DecodedFrame(0, 0.0, np.zeros((*(shown or (height, width)), 3), np.uint8))
    made.decoded, made.geometry = frame, geometry
    return made


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (decoded(64, 48), True),
        (decoded(64, 48, value_range=0), True),
        (decoded(64, 48, value_range=2), False),
        (decoded(64, 48, pix_fmt="yuv444p"), False),
        (decoded(65, 48), False),
        (decoded(64, 49), False),
        (decoded(65, 49), False),
        (decoded(64, 48, shown=(64, 48)), False),
        (decoded(64, 48, shown=(48, 62)), False),
        (decoded(64, 48, shown=(64, 48), geometry=Geometry(transposed=True)), True),
        (decoded(64, 48, geometry=Geometry(aspect=Fraction(4, 3)), shown=(48, 86)), False),
        (None, False),
    ],
)
def test_a_drawing_needs_whole_pixels_of_all_planes_to_keep_them(frame, expected):
    assert has_planes(frame) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (decoded(160, 96, matrix=6), True),
        (decoded(160, 96, matrix=1), False),
        (decoded(160, 94, matrix=6), False),
        (decoded(158, 96, matrix=6), False),
        (decoded(160, 96, matrix=6, pix_fmt="yuv444p"), False),
    ],
)
def test_a_video_keeps_the_pixels_of_frames_like_its_first_one(tmp_path, frame, expected):
    frame.decoded.color_primaries = frame.decoded.color_trc = 2
    with (
        open_source(coloured_clip(tmp_path / "v.mp4", matrix=6)) as source,
        open_drawing_writer(tmp_path / "drawn.mp4", source) as writer,
    ):
        assert writer.keeps_pixels(frame) == (frame.decoded.format.name == "yuv420p")
        first = next(iter(source))
        frame.decoded.color_range = first.decoded.color_range
        writer.write(first.rgb, first.time, under=first)
        assert writer.keeps_pixels(first)
        assert writer.keeps_pixels(frame) == expected
    with open_drawing_writer(tmp_path / "cut.mov", source) as writer:
        writer.write(np.zeros((96, 160, 4), np.uint8), 0.0)
        assert not writer.keeps_pixels(first)


def test_the_scaler_has_the_matrix_of_the_video_or_that_of_itu_601():
    found = {matrix: Colours(matrix).scaling()["dst_colorspace"] for matrix in range(12)}
    assert found == dict.fromkeys(range(12), 5) | {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}
    assert Colours()[:3] == (1, 1, 1)  # ITU 709
    assert Colours().scaling() == {"dst_colorspace": 1, "dst_color_range": 1, "interpolation": 4 | 0x40000}
