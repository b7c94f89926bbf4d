"""Formats that Sonjit reads: each is made by FFmpeg or OpenCV, and `docs/inputs.md` lists them."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sonjit import open_source

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
FRAMES = 5
VIDEOS = {
    "H.264": ("libx264", ".mp4 .mov .mkv .m4v .ts .m2ts .flv .avi .3gp .h264"),
    "H.265": ("libx265", ".mp4 .mkv .mov .ts .hevc"), "VP8": ("libvpx", ".webm .mkv"),
    "VP9": ("libvpx-vp9", ".webm .mp4"), "AV1": ("libsvtav1", ".mp4 .webm .mkv"),
    "MPEG-4": ("mpeg4", ".avi .mp4 .mkv"), "MPEG-2": ("mpeg2video", ".mpg .vob .ts .mxf .m2v"),
    "MPEG-1": ("mpeg1video", ".mpg"), "motion JPEG": ("mjpeg", ".avi .mov .mkv .mjpeg"),
    "Windows Media": ("wmv2", ".wmv .asf"), "Sorenson": ("flv", ".flv"), "FFV1": ("ffv1", ".mkv .avi"),
    "ProRes": ("prores_ks", ".mov"), "DV": ("dvvideo", ".dv .avi"), "uncompressed": ("rawvideo", ".y4m .avi"),
    "GIF": ("gif", ".gif"),
}  # fmt: skip
"""Encoder and endings of the files of each codec."""
MUXERS = {".m2ts": "mpegts", ".h264": "h264", ".hevc": "hevc", ".mjpeg": "mjpeg", ".wmv": "asf", ".y4m": "yuv4mpegpipe",
          ".m2v": "mpeg2video", ".vob": "vob"}  # fmt: skip
PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
IMAGES = ".jpg .png .webp .bmp .tiff .jp2 .ppm .pgm .avif"


def picture(index, size=(720, 576)):
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    cv2.circle(image, (100 + 40 * index, 200), 60, (200, 120, 60), -1)
    return image


def write(path, codec):
    """Write a video of a few frames."""
    with av.open(str(path), "w", format=MUXERS.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 720, 576
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        for index in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("codec", "ending"), [(c, e) for c, es in VIDEOS.values() for e in es.split()])
def test_videos(codec, ending, tmp_path):
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = tmp_path / f"a{ending}"
    with ThreadPoolExecutor(1) as encoder:  # SVT-AV1 gives the thread that opens it real-time priority
        encoder.submit(write, path, codec).result()
    with open_source(path) as source:
        times = [frame.time for frame in source]
        assert not source.problems
        assert source.height == 576
    assert len(times) == FRAMES
    assert times == sorted(set(times))


@pytest.mark.parametrize("ending", IMAGES.split())
def test_images(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_bytes(cv2.imencode(ending, picture(0)[:, :, 0] if ending == ".pgm" else picture(0))[1].tobytes())
    with open_source(path) as source:
        assert [frame.rgb.shape for frame in source] == [(576, 720, 3)]


def test_the_page_lists_the_formats():
    table = PAGE.read_text("utf-8").partition("| Codec | Files |")[2].partition("\n\n")[0]
    rows = {tuple(row.split("|")[1:3]) for row in table.splitlines()[2:]}
    codecs = {name: endings for name, (_, endings) in VIDEOS.items()} | {"images": IMAGES}
    for name, endings in codecs.items():
        (files,) = [files for names, files in rows if name in names.strip().split(", ")]
        assert set(endings.split()) <= set(re.findall(r"`(\.\w+)`", files)), name
