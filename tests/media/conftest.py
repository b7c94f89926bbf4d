"""Images, hands and small clips with sound, generated on demand."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from sonjit.results import Body, Face, Hand, Person, box_around

RNG_SEED = 7


def make_clip(
    path,
    times,
    *,
    size=(64, 48),
    sound=None,
    layout="mono",
    rate=48_000,
    codec=None,
    pix_fmt="yuv420p",
    options=None,
    start_s=0.0,
    delay_s=0.0,
):
    """Write frames of rising grey at the given seconds, with a tone if `sound` names a codec.

    The tone begins `delay_s` after the frames, and is as long as the video.
    """
    clock = Fraction(1, 1000)
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream(codec or ("libvpx-vp9" if path.suffix == ".webm" else "libx264"), rate=25)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = clock
        if sound:
            audio = container.add_stream(sound, rate=rate, layout=layout)
            audio.codec_context.open(strict=False)
        for i, time in enumerate(times):
            grey = np.full((size[1], size[0], 3), 20 + 200 * i // max(1, len(times)), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey)
            frame.pts, frame.time_base = round((time + start_s) * 1000), clock
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound:
            context = audio.codec_context
            resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or 1024)
            samples = (8000 * np.sin(np.arange(round(rate * (times[-1] + 0.1))) * 2765 / rate)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = (
                rate,
                round((start_s + delay_s) * rate),
                Fraction(1, rate),
            )
            for part in resampler.resample(frame) + resampler.resample(None):
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path


def turn_clip(path, matrix):
    """Set the display matrix of the first track of an MP4 to ((a, b), (c, d))."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    (a, b), (c, d) = matrix
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def make_hand(rng, **more):
    return Hand(
        handedness="Right" if rng.random() < 0.5 else "Left",
        score=float(rng.random()),
        keypoints=rng.normal(200, 90, (21, 3)).astype(np.float32),
        keypoints_3d=rng.normal(0, 0.05, (21, 3)).astype(np.float32),
        **more,
    )


def make_face(rng, count=478, **more):
    points = rng.normal(200, 40, (count, 3)).astype(np.float32)
    if count == 6:
        points[:, 2] = np.nan
        return Face(0.5, points, (100.5, 90.0, 300.0, 320.25), **more)
    return Face(float(rng.random()), points, box_around(points), **more)


def make_body(rng, **more):
    """Return a body with unknown presence, as row tables read it."""
    return Body(
        score=float(rng.random()),
        keypoints=rng.normal(200, 90, (33, 3)).astype(np.float32),
        keypoints_3d=rng.normal(0, 0.4, (33, 3)).astype(np.float32),
        visibility=rng.random(33).astype(np.float32),
        presence=np.full(33, np.nan, np.float32),
        **more,
    )


def make_person(rng, **parts):
    """Return a person with all parts except the given ones."""
    made = {"left_hand": make_hand(rng), "right_hand": make_hand(rng), "face": make_face(rng)} | parts
    for slot, handedness in (("left_hand", "Left"), ("right_hand", "Right")):
        if made[slot] is not None:
            made[slot].handedness = handedness
    return Person(make_body(rng), **made)


@pytest.fixture
def clip(tmp_path):
    def make(name, times=tuple(i / 25 for i in range(10)), **more):
        return make_clip(tmp_path / name, times, **more)

    return make


@pytest.fixture
def turn():
    return turn_clip


@pytest.fixture
def hand():
    rng = np.random.default_rng(RNG_SEED)
    return lambda **more: make_hand(rng, **more)


@pytest.fixture
def face():
    rng = np.random.default_rng(RNG_SEED + 1)
    return lambda count=478, **more: make_face(rng, count, **more)


@pytest.fixture
def body():
    rng = np.random.default_rng(RNG_SEED + 2)
    return lambda **more: make_body(rng, **more)


@pytest.fixture
def person():
    rng = np.random.default_rng(RNG_SEED + 3)
    return lambda **parts: make_person(rng, **parts)


@pytest.fixture
def noise():
    return np.random.default_rng(RNG_SEED).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def unwritable(tmp_path):
    """Return a path below a file. No user can create it, not even root."""
    (tmp_path / "file").write_bytes(b"x")
    return tmp_path / "file" / "folder"
