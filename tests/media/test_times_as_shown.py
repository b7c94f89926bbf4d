"""Videos keep their times: clocks that continue, gaps that are named, and joined or cut files."""

import io
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.media import Header
from sonjit.media.sources import _source_from_stream
from sonjit.media.sources.video import Clock, Shape, find_joints

from .test_as_shown import close_to, picture, read, write_video


def test_a_raw_stream_has_the_rate_of_its_headers_or_the_given_one(tmp_path):
    path = write_video(tmp_path / "a.h264", rate=50, options={"bf": "2"}, format="h264")
    source, frames = read(path)
    assert [time for _, time, _ in frames] == pytest.approx([index / 50 for index in range(12)])
    assert "50 frames per second, its headers state" in source.notes[0]
    assert read(path, fps=10)[1][-1][1] == pytest.approx(1.1)
    assert read(path, fps=10)[0].notes == []
    with pytest.raises(InputError, match="fps=0"):
        sonjit.open_source(path, fps=0)


@pytest.mark.parametrize("ending", [".avi", ".asf", ".flv", ".mkv", ".mp4", ".ts", ".mov"])
@pytest.mark.parametrize(("codec", "b_frames", "first"), [("libx264", 3, 10), ("mpeg4", 2, 0), ("libx264", 0, 0)])
def test_times_rise_in_every_container(tmp_path, ending, codec, b_frames, first):
    if (ending == ".avi" and first) or (ending == ".flv" and codec == "mpeg4"):
        pytest.skip("FFmpeg writes the first image of AVI at 0, and a gap after it; FLV takes no MPEG-4")
    path = write_video(tmp_path / f"a{ending}", 20, codec=codec, options={"bf": str(b_frames)}, first=first)
    _, frames = read(path)
    assert len(frames) == 20
    assert [time for _, time, _ in frames] == pytest.approx([index / 25 for index in range(20)], abs=0.002)


def test_the_clock_of_joined_recordings_continues(tmp_path):
    part = write_video(tmp_path / "a.ts", 10).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    source, frames = read(tmp_path / "joined.ts")
    assert len(frames) == 20
    assert all(before < after for (_, before, _), (_, after, _) in pairwise(frames))
    assert any("its clock restarts 1 time" in note for note in source.notes)


def test_time_starts_at_the_first_frame_and_gaps_are_named(tmp_path):
    late = write_video(tmp_path / "b.ts", first=2500, options={"g": "5"}).read_bytes()
    (tmp_path / "late.ts").write_bytes(late[188 * 4 :])  # without the first key frame
    source, frames = read(tmp_path / "late.ts")
    assert [time for _, time, _ in frames] == pytest.approx([index / 25 for index in range(7)])
    assert "begins with 0.08 s that cannot be decoded" in source.notes[0]  # of the packets that are left
    with av.open(str(write_video(tmp_path / "c.mp4", 20, options={"g": "5", "bf": "0"}))) as whole:
        assert whole.streams.video[0].start_time == 0
        packets = [(packet.pos, packet.size) for packet in whole.demux(video=0) if packet.size]
    content = bytearray((tmp_path / "c.mp4").read_bytes())
    for position, size in packets[:5]:
        content[position + 4 : position + size] = bytes(size - 4)
    (tmp_path / "c.mp4").write_bytes(content)
    assert "begins with 0.20 s that cannot be decoded" in " ".join(read(tmp_path / "c.mp4")[0].notes)
    (tmp_path / "joined.ts").write_bytes(write_video(tmp_path / "a.ts").read_bytes() + late)
    assert "no frame for 99.5 s before frame 12" in read(tmp_path / "joined.ts")[0].notes[0]


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_a_cut_animation_or_fragment_is_reported(tmp_path, ending):
    def state(stream):
        stream.pix_fmt = "rgb8" if ending == "gif" else "yuv420p"

    codec, options = ("gif", {}) if ending == "gif" else ("libx264", {"g": "5"})
    fragments, path = {"movflags": "frag_keyframe+empty_moov"}, tmp_path / f"a.{ending}"
    write_video(path, 40, codec=codec, options=options, change=state, container_options=fragments)
    assert read(path)[0].problems == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    assert f"a.{ending} is cut: its last part" in read(path)[0].problems[0]


def test_a_clock_that_stands_still_continues(tmp_path):
    part = write_video(tmp_path / "a.mxf", 10, codec="mpeg2video").read_bytes()
    (tmp_path / "joined.mxf").write_bytes(part + part)
    source, frames = read(tmp_path / "joined.mxf")
    assert [time for _, time, _ in frames] == pytest.approx([i / 25 for i in (*range(10), 9, *range(10, 19))])
    assert "its clock restarts 1 time" in source.notes[0]


@pytest.mark.parametrize(
    ("ending", "codecs"),
    [
        ("ts", ("libx264", "mpeg2video")), ("m2ts", ("mpeg2video", "libx264")), ("mp4", ("libx264", "mpeg4")),
        ("flv", ("flv", "libx264")), ("asf", ("mpeg4", "libx264")),
    ],
)  # fmt: skip
def test_all_parts_of_joined_files_are_read(tmp_path, ending, codecs):
    parts = [write_video(tmp_path / f"{codec}.{ending}", 10, codec=codec) for codec in codecs]
    (tmp_path / "joined.jpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    source, frames = read(tmp_path / "joined.jpg")
    assert [time for _, time, _ in frames] == pytest.approx([index / 25 for index in range(20)], abs=1e-3)
    assert source.problems == []
    assert "consists of 2 joined parts. All are read" in source.notes[0]
    if ending in ("flv", "asf"):  # a pipe ends after the first part
        piped = _source_from_stream(io.BytesIO((tmp_path / "joined.jpg").read_bytes()), "pipe", None)
        assert len(list(piped)) == 10
        assert "Only the first is read" in piped.problems[0]
    for (*_, image), (*_, expected) in zip(frames, read(parts[0])[1] + read(parts[1])[1], strict=True):
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("has_directory", [True, False])
def test_another_video_of_a_transport_stream_begins_at_its_directory_or_else_its_table(tmp_path, has_directory):
    first, second = (
        write_video(tmp_path / f"{codec}.ts", 10, codec=codec).read_bytes() for codec in ("libx264", "mpeg2video")
    )
    directory, table = second.index(b"\x47\x40\0"), second.index(b"\0\2\xb0") - 4
    if not has_directory:
        second = second.replace(b"\x47\x40\0", b"\x47\x5f\xff")  # empty packets
        first = first[:-4700] + first[-4700:].replace(b"\x47\x40\0", b"\x47\x5f\xff")
    (tmp_path / "joined.ts").write_bytes(first + second)
    assert directory % 188 == table % 188 == 0
    assert find_joints(tmp_path / "joined.ts", "mpegts") == [len(first) + (directory if has_directory else table)]


def test_the_pixel_aspect_of_a_video_may_change(tmp_path):
    def state(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    parts = write_video(tmp_path / "a.ts"), write_video(tmp_path / "b.ts", change=state)
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    source, frames = read(tmp_path / "joined.ts")
    assert "the size changes at frame 12" in source.notes[0]
    wide = np.zeros((64, 96, 3), np.uint8)
    wide[16:48] = cv2.resize(picture(), (96, 32), interpolation=cv2.INTER_AREA)
    assert close_to(frames[11][2], picture(shift=44))
    assert close_to(frames[12][2], wide)


@pytest.mark.parametrize(
    ("stated", "first", "second", "shown"),
    [
        (None, None, Fraction(2), Fraction(2)),
        (Fraction(2), Fraction(2), Fraction(3, 2), Fraction(3, 2)),
        (Fraction(2), Fraction(1), Fraction(3, 2), Fraction(2)),  # the container states another one, which counts
        (Fraction(2), Fraction(3), Fraction(3, 2), Fraction(2)),
        (Fraction(2), None, Fraction(3, 2), Fraction(2)),
    ],
)
def test_an_aspect_that_only_the_container_states_stays(stated, first, second, shown):
    shape = Shape(stated, (0, 0, 0, 0))
    frame = SimpleNamespace(width=96, height=64, key_frame=True, rotation=0, side_data={})
    assert shape.changes(frame, SimpleNamespace(sample_aspect_ratio=first))
    assert shape.geometry.aspect == (stated or 1)
    assert not shape.changes(frame, SimpleNamespace(sample_aspect_ratio=first))
    assert shape.changes(frame, SimpleNamespace(sample_aspect_ratio=second))
    assert shape.geometry.aspect == shown
    assert shape.fit == (None if shown == (stated or 1) else (round(96 * (stated or 1)), 64))
    frame.key_frame = False
    assert not shape.changes(frame, SimpleNamespace(sample_aspect_ratio=Fraction(9)))  # not between key frames


def test_the_start_after_the_sound_is_in_the_header(tmp_path):
    path = write_video(tmp_path / "a.mkv", first=25, sound=True)
    source, frames = read(path)
    assert frames[0][1] == pytest.approx(0, abs=0.002)
    assert source.offset_s == pytest.approx(1, abs=0.03)
    assert Header.from_source(source).to_dict()["start_s"] == pytest.approx(1, abs=0.03)
    assert "start_s" not in Header.from_source(read(write_video(tmp_path / "b.mp4"))[0]).to_dict()
    later = write_video(tmp_path / "c.mkv", first=25, sound=True, container_options={"output_ts_offset": "5"})
    late, _ = read(later)
    assert late.start_s == pytest.approx(6, abs=0.1)
    assert late.offset_s == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("ending", "first"), [(".flv", 0), (".asf", 0), (".avi", 0), (".mkv", 2500)])
def test_a_video_with_longer_sound_or_a_late_clock_is_not_cut(tmp_path, ending, first):
    path = write_video(tmp_path / f"a{ending}", 10, first=first, sound=not first)
    source, frames = read(path)
    assert (len(frames), source.problems) == (10, [])


def test_a_clock_continues_where_a_stream_has_another_time_base():
    def stream(base):
        container = SimpleNamespace(format=SimpleNamespace(name="mov"))
        return SimpleNamespace(
            time_base=base, codec_context=SimpleNamespace(has_b_frames=False), container=container, guessed_rate=25
        )

    clock, times = None, []
    for rate, first in ((25, 10), (1000, 520)):
        base = Fraction(1, rate)
        clock = clock or Clock(stream(base), 0.04)
        clock.begin(stream(base))
        for index in range(3):
            pts = first + index * rate // 25
            times.append(clock.time_of(SimpleNamespace(pts=pts, dts=pts, time_base=base, duration=None)))
    np.testing.assert_allclose(times, np.arange(6) / 25, atol=1e-9)
