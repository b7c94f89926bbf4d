"""Interlaced recordings are deinterlaced, whichever field is first, and keep the times of their frames."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.filter import Graph

from sonjit.media import open_source

COUNT, SPEED = 16, 9  # frames, and pixels that the scene moves in one field


def scene(number, size):
    """Return a scene at the time of a field: a bright disc and a ramp that move to the right, with soft edges."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(float)
    distance = np.hypot(x - 100 - SPEED * number, y - height / 2)
    grey = 40 + 60 * y / height + 130 * np.clip((height / 3 - distance) / 6, 0, 1)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def woven(number, size, first):
    """Return a frame of two fields: the lines of the first one show the scene earlier."""
    image = scene(2 * number, size)
    later = 1 if first == "top" else 0
    image[later::2] = scene(2 * number + 1, size)[later::2]
    return image


FILES = {  # codec, size, pixels, options
    "h264.mp4": ("libx264", (320, 240), "yuv420p", {"flags": "+ilme+ildct", "crf": "12"}),
    "h264.mkv": ("libx264", (320, 240), "yuv420p", {"flags": "+ilme+ildct", "crf": "12"}),
    "mpeg2.ts": ("mpeg2video", (320, 240), "yuv420p", {"flags": "+ilme+ildct", "b": "6000000"}),
    "mpeg2.mpg": ("mpeg2video", (320, 240), "yuv420p", {"flags": "+ilme+ildct", "b": "6000000", "bf": "2"}),
    "dv.avi": ("dvvideo", (720, 576), "yuv420p", {}),
}


def write(path, images, codec, size, pixels, options, first):
    """Write frames that are flagged as interlaced."""
    graph = Graph()
    source = graph.add_buffer(
        width=size[0], height=size[1], format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25)
    )
    mode = {"top": "tff", "bottom": "bff"}[first]
    graph.link_nodes(source, graph.add("setfield", mode), graph.add("buffersink")).configure()
    if codec == "libx264":
        options = options | {"x264-params": f"{mode}=1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.vpush(frame)
            flagged = graph.vpull()
            flagged.pict_type = 0
            container.mux(stream.encode(flagged))
        container.mux(stream.encode(None))
    return path


def read(path):
    with open_source(path) as source:
        frames = list(source)
    return source, frames


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("first", ["top", "bottom"])
def test_an_interlaced_video_shows_its_first_field(tmp_path, name, first):
    codec, size, pixels, options = FILES[name]
    if codec == "dvvideo" and first == "top":
        pytest.skip("the lower field of DV is first")
    images = [woven(number, size, first) for number in range(COUNT)]
    source, frames = read(write(tmp_path / name, images, codec, size, pixels, options, first))
    assert source.notes[-1] == f"{source.name}: interlaced, and deinterlaced"
    assert len(frames) == COUNT
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / 25, atol=1e-3)
    for frame in frames:
        shape = frame.rgb.shape[1::-1]  # of square pixels
        made = frame.rgb, scene(2 * frame.index, size), scene(2 * frame.index + 1, size), images[frame.index]
        shown, first_field, second_field, both = (
            cv2.resize(image, shape, interpolation=cv2.INTER_CUBIC)[..., 0].astype(float) for image in made
        )
        shown += np.median(first_field - shown)  # the colours of DV are a little darker
        assert np.abs(shown - first_field).mean() < 0.5 * np.abs(shown - second_field).mean()
        assert combing(shown) < 0.5 * combing(both)


def combing(image):
    """Return how much lines differ from both lines next to them."""
    return np.abs(image[1:-1] - (image[:-2] + image[2:]) / 2).mean()


def test_a_progressive_video_that_is_flagged_as_interlaced_is_not_changed(tmp_path):
    codec, size, pixels, options = FILES["h264.mp4"]
    images = [scene(2 * number, size) for number in range(COUNT)]
    path = write(tmp_path / "a.mp4", images, codec, size, pixels, options, "top")
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert all(frame.interlaced_frame for frame in av.open(str(path)).decode(video=0))
    _, frames = read(path)
    assert len(frames) == COUNT
    for frame in frames[6:]:  # the first ones decide
        np.testing.assert_allclose(frame.rgb[..., 1], stored[frame.index], atol=18)
        assert np.abs(frame.rgb[..., 1].astype(float) - stored[frame.index]).mean() < 1.5


def test_a_progressive_video_is_as_decoded_and_has_no_note(tmp_path, clip):
    source, frames = read(clip("a.mp4"))
    with av.open(str(source.files[0])) as container:
        for frame, decoded in zip(frames, container.decode(video=0), strict=True):
            np.testing.assert_array_equal(frame.rgb, decoded.to_ndarray(format="rgb24"))
    assert source.notes == []
