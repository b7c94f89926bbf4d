"""Videos: their clock, their joined and cut parts, and what is noted, with stamps and bytes that are made here."""

import io
import struct
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources.geometry import Geometry
from sonjit.media.sources.video import (
    Clock,
    Decoded,
    Shape,
    VideoSource,
    decoded_frames,
    ends_early,
    find_joints,
    open_container,
    stated_length_s,
    upright_rgb,
    video_stream,
)

TICK = Fraction(1, 25)


def stream_of(*, b_frames=0, name="matroska,webm", base=TICK):
    context = SimpleNamespace(has_b_frames=b_frames)
    container = SimpleNamespace(format=SimpleNamespace(name=name))
    return SimpleNamespace(time_base=base, codec_context=context, container=container)


def stamped(pts, dts, base=TICK):
    return SimpleNamespace(pts=pts, dts=dts, time_base=base)


def pairs(*numbers):
    return [(number, number) for number in numbers]


CLOCKS = {
    "a late start": ({}, pairs(100, 101, 103, 110), [0, 1, 3, 10], 0),
    "order of decoding of AVI": ({"b_frames": 2, "name": "avi"}, [(3, 7), (1, 8), (2, 9)], [0, 1, 2], 0),
    "order of decoding of ASF": ({"b_frames": 1, "name": "asf"}, [(3, 7), (1, 8), (2, 10)], [0, 1, 3], 0),
    "AVI without reordering": ({"name": "avi"}, [(3, 7), (4, 9), (6, 11)], [0, 1, 3], 0),
    "reordering in another format": ({"b_frames": 2}, [(3, 7), (4, 9), (6, 11)], [0, 1, 3], 0),
    "stamps that begin late": ({}, [(None, None), (None, 5), (7, 7), (8, 8)], [0, 1, 2, 3], 1),
    "stamps that end": ({}, [(7, 7), (9, 9), (None, None), (None, None)], [0, 2, 3, 4], 0),
    "wrong stamps, in order of decoding": ({}, [(10, 10), (13, 11), (11, 12), (12, 13), (14, 15)], [0, 3, 4, 5, 7], 0),
    "wrong stamps without those of decoding": ({}, [(10, None), (13, None), (11, None), (12, None)], [0, 3, 4, 5], 1),
    "wrong stamps with the same one of decoding": ({}, [(10, 5), (13, 5), (11, 5), (12, 5)], [0, 3, 4, 5], 1),
    "a clock that restarts": ({}, pairs(10, 11, 12, 10, 11, 13), [0, 1, 2, 3, 4, 6], 1),
    "a clock that restarts twice": ({}, pairs(20, 21, 10, 11, 5, 6, 8), [0, 1, 2, 3, 4, 5, 7], 2),
    "a time that repeats once": ({}, pairs(10, 11, 11, 12, 12, 13), [0, 1, 1, 2, 2, 3], 0),
    "a clock that stands still": ({}, pairs(10, 11, 11, 11, 11, 11, 12), [0, 1, 1, 2, 3, 4, 5], 1),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_times_start_at_0_and_never_run_backwards(name):
    options, stamps, expected, restarts = CLOCKS[name]
    clock = Clock(stream_of(**options), 1 / 25)
    clock.begin(stream_of(**options))
    times = [clock.time_of(stamped(*pair)) for pair in stamps]
    np.testing.assert_allclose(times, np.array(expected) / 25, atol=1e-9)
    assert clock.restarts == restarts


def test_a_joined_part_begins_with_its_own_order_and_time_base():
    clock = Clock(stream_of(), 1 / 25)
    clock.begin(stream_of())
    times = [clock.time_of(stamped(pts, dts)) for pts, dts in [(10, 10), (13, 11), (11, 12)]]  # order of decoding
    clock.begin(stream_of(base=Fraction(1, 1000)))
    times += [clock.time_of(stamped(pts, pts - 100, Fraction(1, 1000))) for pts in (520, 560, 640)]
    clock.begin(stream_of(base=Fraction(1, 30)))
    times += [clock.time_of(stamped(pts, pts, Fraction(1, 30))) for pts in (21, 24)]
    clock.begin(stream_of(base=None))
    times += [clock.time_of(stamped(None, None))]
    np.testing.assert_allclose(times, np.array([0, 3, 4, 5, 6, 8, 9.5, 12, 13]) / 25, atol=1e-9)
    assert clock.restarts == 0


def test_the_longest_time_between_two_frames_is_kept():
    done = Decoded(0.5)
    assert (done.time_s, done.step_s, done.count, done.longest_s, done.after_longest) == (-0.5, 0.5, 0, 0, 0)
    for count, time_s in enumerate((0, 0.25, 2, 2.5, 4.25, 5)):
        done.count = count
        done.add_time(time_s)
    assert (done.time_s, done.longest_s, done.after_longest) == (5, 1.75, 4)


def frame_of(width=96, height=64, *, key=True, rotation=0, matrix=None):
    side_data = {} if matrix is None else {"DISPLAYMATRIX": struct.pack("9i", *matrix)}
    return SimpleNamespace(width=width, height=height, key_frame=key, rotation=rotation, side_data=side_data)


TURNED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def test_the_geometry_changes_with_size_turn_and_crop():
    shape, context = Shape(Fraction(2), (1, 2, 3, 4)), SimpleNamespace(sample_aspect_ratio=Fraction(2))
    assert shape.changes(frame_of(), context)
    assert (shape.geometry, shape.fit) == (Geometry((1, 2, 3, 4), Fraction(2)), None)
    assert not shape.changes(frame_of(), context)
    assert shape.changes(frame_of(height=65), context)
    assert shape.fit == (184, 58)
    assert shape.changes(frame_of(width=98, height=65), context)
    assert shape.changes(frame_of(), context)
    assert shape.fit is None
    assert not shape.changes(frame_of(key=False, matrix=TURNED), context)  # no turn is stated
    assert shape.changes(frame_of(key=False, rotation=90, matrix=TURNED), context)
    assert (shape.geometry.turns, shape.fit) == ((True, True, False), (184, 58))
    assert not shape.changes(frame_of(key=False), context)
    assert not shape.changes(frame_of(), context)  # the turn lasts
    assert shape.geometry.turns == (True, True, False)


def packet_of(result, *, is_corrupt=False):
    def decode():
        if isinstance(result, Exception):
            raise result
        return result

    return SimpleNamespace(decode=decode, is_corrupt=is_corrupt)


def test_parts_that_cannot_be_decoded_are_counted_by_reason():
    invalid, other = av.error.InvalidDataError(1, "bad data"), OSError("no reason")

    class Packets:
        def __init__(self, last):
            self.left = [packet_of([1, 2]), packet_of(invalid), packet_of(invalid, is_corrupt=True), packet_of([3]),
                         packet_of(other), packet_of(invalid), last]  # fmt: skip

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            first = self.left.pop(0)
            if isinstance(first, Exception):
                raise first
            return first

    for last, more in (
        (packet_of([4]), Counter()),
        (invalid, Counter({"bad data": 1})),
        (other, Counter({"no reason": 1})),
    ):
        damage, context = Counter(), SimpleNamespace(flags=6)
        stream = SimpleNamespace(codec_context=context, decode=lambda packet: [9] if packet is None else [])
        packets = Packets(last)
        frames = list(decoded_frames(SimpleNamespace(demux=lambda _, p=packets: p), stream, damage))
        assert frames == [1, 2, 3, *([] if more else [4]), 9]
        assert damage == Counter({"bad data": 2, "incomplete data": 1, "no reason": 1}) + more
        assert context.flags == 7

    def failing(_):
        raise invalid

    stream = SimpleNamespace(codec_context=SimpleNamespace(flags=0), decode=failing)
    assert list(decoded_frames(SimpleNamespace(demux=lambda _: iter([packet_of([1])])), stream, Counter())) == [1]


@pytest.mark.parametrize(
    ("container_us", "ticks", "text", "expected"),
    [
        (2_500_000, 100, "", 2.5), (None, 100, "", 4), (0, 100, "", 4), (5_000_000, 100, "", 4),
        (5_000_000, None, "", 5),
        (5_000_000, None, "00:00:03.500000000", 3.5), (None, None, "01:02:03.25", 3723.25),
        (None, 100, "01:02:03.25", 4),
        (None, None, "01:02:03.25x", None), (None, None, "02:03", None), (None, None, "", None),
        (None, 0, "00:00:02", 2),
    ],
)  # fmt: skip
def test_the_stated_length_is_the_shorter_one(container_us, ticks, text, expected):
    stream = SimpleNamespace(duration=ticks, time_base=TICK, metadata={"DURATION": text} if text else {})
    assert stated_length_s(SimpleNamespace(duration=container_us), stream) == expected


FLV, ASF = b"FLV\x01\x05\0\0\0\x09\0\0\0\0", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c"


def box(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_another_recording_begins_at_its_head(tmp_path):
    path, more = tmp_path / "a", b"x" * 50
    mp4 = box(b"ftyp", b"isom") + box(b"mdat", more)
    for name, head, length in (("flv", FLV, 63), ("asf", ASF, 66), ("mov,mp4,m4a", mp4, 70)):
        part = head if "mp4" in name else head + more
        path.write_bytes(part * 3)
        assert find_joints(path, name) == [length, 2 * length]
        assert find_joints(path, "avi") == find_joints(path, "mpegts") == find_joints(path, "zz") == []
        path.write_bytes(part)
        assert find_joints(path, name) == []
    for kind in (b"\1", b"\4", b"\5"):  # sound, images or both
        path.write_bytes(FLV + more + FLV[:4] + kind + FLV[5:])
        assert find_joints(path, "flv") == [63]
    path.write_bytes(FLV + more + FLV[:4] + b"\2" + FLV[5:])
    assert find_joints(path, "flv") == []
    path.write_bytes(box(b"free", b"ftyp") + mp4)
    assert find_joints(path, "mov,mp4") == [12]
    path.write_bytes(b"")
    assert find_joints(path, "flv") == find_joints(tmp_path / "none", "flv") == []


def packet(payload, *, start=0x40, sync=0x47, number=0x100):
    return (bytes([sync, start | number >> 8, number & 255, 0x10]) + payload).ljust(188, b"\xff")


def programme(*streams, info=b"", number=1):
    """Return the table of a programme with streams of a kind, a number and a description."""
    body = struct.pack(">HBBBHBB", number, 0xC1, 0, 0, 0xE100, 0xF0, len(info)) + info
    for kind, at, text in streams:
        body += struct.pack(">BHH", kind, 0xE000 | at, 0xF000 | len(text)) + text
    return b"\0\2\xb0" + bytes([len(body) + 4]) + body + b"CRC!"


H264, H265, AAC = (0x1B, 0x101, b""), (0x24, 0x101, b""), (0x0F, 0x102, b"de")
DIRECTORY, FILL = packet(b"\0\0\xb0\x0d", number=0), packet(b"", start=0)


@pytest.mark.parametrize(
    ("packets", "joints"),
    [
        ([programme(H264), programme(H265)], [1]), ([programme(H264), programme(H264)], []),
        ([programme(H264), programme(H265), programme(H265), programme(H264)], [1, 3]),
        ([programme(H264, AAC), programme(H264)], []), ([programme(AAC), programme(H265)], []),
        ([programme(H264), programme(AAC), programme(H264)], []),
        ([programme(AAC, H264, info=b"12345"), programme(AAC, H265, info=b"123")], [1]),
        ([programme(AAC, H264, info=b"12345"), programme(H264)], []),
        ([programme(H264), programme((0x1B, 0x102, b""))], [1]),
        ([programme(H264), programme((0x1B, 0x1101, b""))], [1]),
        ([programme(H264), programme(H265, number=2)], []), ([programme(H264), programme(H265, number=257)], []),
        ([programme(H264, number=2), programme(H264), programme(H265, number=2)], [2]),
        *(([programme(H264), programme((kind, 0x101, b""))], [1])
          for kind in (1, 2, 0x10, 0x24, 0x33, 0x42, 0xD1, 0xEA)),
        *(([programme(H264), programme((kind, 0x101, b""))], []) for kind in (0, 3, 0x1B, 0x43, 0xD0, 0xEB)),
        ([programme(H264), DIRECTORY, programme(H265)], [1]),
        ([programme(H264), DIRECTORY, FILL, programme(H265)], [1]),
        ([DIRECTORY, programme(H264), FILL, programme(H265)], [0]),
        ([DIRECTORY, programme(H264), *20 * [FILL], programme(H265)], [2]),
        ([DIRECTORY, programme(H264), *19 * [FILL], programme(H265)], [0]),
        ([programme(H264), packet(programme(H265), start=0)], []),
        ([programme(H264), packet(programme(H265), sync=0x46)], []),
        ([programme(H264), packet(programme(H265), sync=0x48)], []), ([programme(H264), b"\0\2\xb0\x0bshort"], []),
    ],
)  # fmt: skip
def test_another_video_of_a_transport_stream_begins_at_its_directory_or_table(tmp_path, packets, joints):
    data = [one if len(one) == 188 else packet(one) for one in packets]
    data = [FILL, *data, FILL]
    last = max((k for k, one in enumerate(data) if one not in (FILL, DIRECTORY)), default=0)
    (tmp_path / "a").write_bytes(b"".join(data))
    found = find_joints(tmp_path / "a", "mpegts")
    if len(packets) > 20:  # a directory within 4096 bytes counts
        expected = [188 if last * 188 + 4 - 188 <= 4096 else last * 188]
    else:
        expected = [188 * (1 + joint) for joint in joints]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "data", "is_cut"),
    [
        ("gif", b"GIF89a" + b"\0;", False), ("gif", b"\0;" + bytes(62), False), ("gif", b"\0;" + bytes(63), True),
        ("gif", b"GIF89a;", True), ("mov,mp4", box(b"moov", b"") + box(b"mdat", b"123"), False),
        ("mov,mp4", (box(b"moov", b"") + box(b"mdat", b"123"))[:-1], True), ("mov,mp4", box(b"mdat", b"")[:-1], False),
        ("mov,mp4", box(b"mdat", b"1") + box(b"moov", b"123")[:-1], False), ("mov,mp4", box(b"moof", b"1"), True),
        ("mov,mp4", box(b"moof", b"1") + box(b"mdat", b"1"), False),
        ("mov,mp4", box(b"mdat", b"1") + box(b"moof", b""), True),
        ("mov,mp4", box(b"mdat", b"1") + box(b"free", b"12")[:-1], False), ("avi", b"\0", False), ("zzz", b"\0", False),
        ("gif", b"", False), ("mov,mp4", b"", False),
    ],
)  # fmt: skip
def test_a_file_whose_last_part_is_not_complete_ends_early(tmp_path, name, data, is_cut):
    (tmp_path / "a").write_bytes(data)
    assert ends_early(tmp_path / "a", name) == is_cut
    assert not ends_early(tmp_path / "none", name)


def picture(index, size=(48, 32)):
    image = np.full((size[1], size[0], 3), 30 + 8 * index, np.uint8)
    image[: size[1] // 2, : size[0] // 4] = 220, 40, 60
    return image


def write_video(
    path, times, *, codec="mjpeg", rate=10, size=(48, 32), aspect=None, transfer=None, sound_s=(), change=id, **options
):
    """Write images, and silence from a first to a second time."""
    pixels = {"mjpeg": "yuvj420p", "rawvideo": "bgr24"}.get(codec, "yuv420p")
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if transfer:
            stream.codec_context.color_trc = transfer
        change(stream)
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound_s else None
        for start in range(round(8000 * sound_s[0]), round(8000 * sound_s[1]), 800) if sound_s else ():
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
            container.mux(sound.encode(frame))
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index, size))
            frame.pts, frame.time_base = round(time * rate), 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path, **options):
    with VideoSource(str(path), path, **options) as source:
        return source, list(source)


def jpegs(*sizes):
    return b"".join(cv2.imencode(".jpg", picture(index, size))[1].tobytes() for index, size in enumerate(sizes))


def test_images_in_a_row_have_the_assumed_or_the_given_rate(tmp_path):
    path = tmp_path / "a.mjpeg"
    path.write_bytes(jpegs(*3 * [(48, 32)]))
    for more in ({}, {"container_format": "mjpeg"}):
        source, frames = read(path, **more)
        assert source.notes == [
            f"{path}: contains no times. 25 frames per second, assumed, as it states none. --fps sets the rate"
        ]
        assert (source.fps, source.count, source.width, source.height) == (25, None, 48, 32)
        assert [frame.time for frame in frames] == [0, 1 / 25, 2 / 25]
    source, frames = read(path, fps=8)
    assert (source.fps, source.notes, source.problems, source.time_base) == (8, [], [], None)
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (1, 0.125), (2, 0.25)]
    assert (source.kind, source.files, source.start_s, source.offset_s) == ("video", [path], 0, 0)


def test_a_changed_size_is_named_once_with_its_first_frame(tmp_path):
    path = tmp_path / "a.mjpeg"
    path.write_bytes(jpegs((48, 32), (48, 32), (24, 16), (24, 16), (48, 32), (40, 32)))
    with VideoSource("a", path, fps=5) as source:
        for _ in range(2):
            assert {frame.rgb.shape for frame in source} == {(32, 48, 3)}
        assert source.notes == ["a: the size changes at frame 2. Images are scaled to the first size"]


@pytest.mark.parametrize(
    ("codec", "form", "count"),
    [("mpeg2video", "mpeg2video", 7), ("mpeg1video", "mpeg1video", 7), ("libx264", "h264", 8)],
)
def test_a_frame_that_mpeg_loses_at_a_changed_size_is_noted(tmp_path, codec, form, count):
    parts = []
    for size in ((48, 32), (64, 48)):
        write_video(tmp_path / "part", np.arange(4) / 25, codec=codec, rate=25, size=size, format=form)
        parts.append((tmp_path / "part").read_bytes())
    (tmp_path / "a").write_bytes(b"".join(parts))
    source, frames = read(tmp_path / "a")
    assert [frame.time for frame in frames] == pytest.approx(np.arange(count) / 25)
    lost = ". MPEG-1 and MPEG-2 decoders lose a frame there" if count == 7 else ""
    assert source.notes[1] == (
        f"{source.name}: the size changes at frame {count - 4}. Images are scaled to the first size{lost}"
    )


@pytest.mark.parametrize(("ending", "count", "ticks"), [(".mkv", 11, 1000), (".avi", 11, 10), (".mp4", 8, 10240)])
def test_a_video_states_its_rate_length_and_time_base(tmp_path, ending, count, ticks):
    times = (0.4, 0.5, 0.6, 0.7, 1, 1.1, 1.2, 1.3) if ending != ".avi" else np.arange(11) / 10
    source, frames = read(write_video(tmp_path / f"a{ending}", times))
    assert [frame.time for frame in frames] == pytest.approx([time - times[0] for time in times], abs=1e-3)
    assert (source.fps, source.notes, source.problems) == (pytest.approx(10, abs=2.5), [], [])
    assert source.time_base == Fraction(1, ticks)
    assert source.start_s == pytest.approx(times[0], abs=1e-3)
    assert source.count == pytest.approx(count, abs=3)
    assert [frame.index for frame in frames] == list(range(len(times)))
    assert all(frame.decoded.width == 48 and frame.geometry == source.geometry for frame in frames)


@pytest.mark.parametrize(("rate", "pause_s", "is_noted"), [(10, 9, False), (10, 11, True), (Fraction(1, 2), 18, False),
                                                         (Fraction(1, 2), 22, True)])  # fmt: skip
def test_a_pause_of_ten_seconds_or_ten_frames_is_noted(tmp_path, rate, pause_s, is_noted):
    step = float(1 / rate)
    times = [0, step, 2 * step, 2 * step + pause_s, 3 * step + pause_s]
    source, frames = read(write_video(tmp_path / "a.mkv", times, rate=rate))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-3)
    assert source.notes == ([f"{source.name}: no frame for {pause_s:.1f} s before frame 3"] if is_noted else [])


def packets_of(path):
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(("left", "is_cut"), [(20, False), (13, False), (11, True), (3, True)])
def test_a_matroska_file_that_lacks_more_than_three_quarters_of_a_second_is_cut(tmp_path, left, is_cut):
    whole = write_video(tmp_path / "a.mkv", np.arange(20) / 10)
    start, size = packets_of(whole)[left - 1]
    (tmp_path / "b.mkv").write_bytes(whole.read_bytes()[: start + size + 20])
    source, frames = read(tmp_path / "b.mkv")
    assert len(frames) == left
    text = f"{source.name} is cut: it ends after {left} frames, {left / 10:.2f} s, of 20 frames, 2.00 s"
    assert [line for line in source.problems if "is cut" in line] == ([text] if is_cut else [])


@pytest.mark.parametrize(("sound_s", "offset"), [((), 0), ((0, 2), 1.5), ((1, 3), 0.5), ((1.5, 2), 0), ((2, 3), 0)])
@pytest.mark.parametrize("later", [0, 5])
def test_the_start_of_the_images_after_the_sound_is_known(tmp_path, sound_s, offset, later):
    options = {"container_options": {"output_ts_offset": str(later)}}
    source, frames = read(write_video(tmp_path / "a.mkv", (1.5, 1.6, 1.8), sound_s=sound_s, **options))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.3], abs=2e-3)
    assert source.start_s == pytest.approx(1.5 + later, abs=0.03)
    assert source.offset_s == pytest.approx(offset, abs=0.03)
    assert (source.problems, source.notes) == ([], [])  # longer sound is no cut


@pytest.mark.parametrize(("lost", "line"), [(0, None), (1, None), (2, "begins with 0.20 s that cannot be decoded")])
def test_images_that_are_lost_at_the_start_are_noted(tmp_path, lost, line):
    path = write_video(tmp_path / "a.mkv", 3 + np.arange(8) / 10)
    data = bytearray(path.read_bytes())
    for start, size in packets_of(path)[:lost]:
        at = data.index(b"\xff\xd8\xff", start)
        data[at : at + size - 16] = bytes(size - 16)
    path.write_bytes(data)
    source, frames = read(path)
    assert source.notes == ([] if line is None else [f"{path}: {line}"])
    assert source.start_s == pytest.approx(3 + lost / 10)
    assert [frame.time for frame in frames] == pytest.approx(np.arange(8 - lost) / 10, abs=2e-3)
    assert [line.partition(" could")[0] for line in source.problems] == (
        [f"{path}: {lost} damaged part{'s' if lost > 1 else ''}"] if lost else []
    )
    assert read(path, fps=5)[0].notes == []


def test_an_avi_file_whose_images_are_fewer_than_stated_is_noted(tmp_path):
    source, frames = read(write_video(tmp_path / "a.avi", (0, 0.1, 0.4), codec="mpeg4"))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.4])
    assert (source.notes, source.problems) == ([f"{source.name}: 3 of 5 frames contain an image"], [])
    assert read(write_video(tmp_path / "b.avi", (0, 0.1, 0.2)))[0].notes == []


def test_further_videos_and_a_cover_are_noted(tmp_path):
    two = write_video(tmp_path / "a.mkv", (0, 0.1), change=lambda stream: stream.container.add_stream("mpeg4", rate=5))
    assert read(two)[0].notes == [f"{two}: contains 2 video streams. Only number 0 is read"]

    def cover(stream):
        stream.disposition = 1024

    path = write_video(tmp_path / "b.mp4", (0,), change=cover)
    assert read(path)[0].notes[0] == f"{path}: only its cover image is read"


def test_the_pixels_of_a_gif_are_square_and_those_of_others_as_stated(tmp_path):
    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb8"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index)).reformat(format="rgb8")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    data[12] = 113  # pixels twice as wide as high
    path.write_bytes(data)
    source, frames = read(path)
    assert (source.width, source.height, len(frames), source.problems) == (48, 32, 3, [])
    assert read(write_video(tmp_path / "a.mkv", (0, 0.1), aspect=Fraction(2)))[0].width == 96
    path.write_bytes(data[:-1])
    assert read(path)[0].problems == [f"{path} is cut: its last part, after frame 2, is not complete"]


@pytest.mark.parametrize("ending", [".png", ".bmp", ".webp"])
def test_images_of_other_formats_in_a_row_have_the_assumed_rate(tmp_path, ending):
    path = tmp_path / "a"
    path.write_bytes(b"".join(cv2.imencode(ending, picture(index))[1].tobytes() for index in range(3)))
    source, frames = read(path)
    assert [frame.time for frame in frames] == [0, 1 / 25, 2 / 25]
    assert "25 frames per second, assumed" in source.notes[0]
    assert (source.time_base, source.count) == (None, None)


@pytest.mark.parametrize("rate", [50, Fraction(25, 2)])
def test_a_raw_stream_has_the_rate_of_its_headers(tmp_path, rate):
    path = write_video(tmp_path / "a.h264", np.arange(4) / float(rate), codec="libx264", rate=rate, format="h264")
    source, frames = read(path)
    line = f"contains no times. {float(rate):g} frames per second, its headers state. --fps sets the rate"
    assert source.notes == [f"{path}: {line}"]
    assert [frame.time for frame in frames] == pytest.approx(np.arange(4) / float(rate))
    assert source.fps == rate


def test_parts_with_their_own_turn_follow_each_other(tmp_path):
    parts = []
    for name, degrees in (("a", 90), ("b", 0)):
        path = write_video(
            tmp_path / f"{name}.mp4", (0, 0.1, 0.2), codec="mpeg4",
            change=lambda stream, degrees=degrees: stream.set_display_rotation(degrees),
        )  # fmt: skip
        parts.append(path.read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(parts))
    source, frames = read(path)
    assert [frame.time for frame in frames] == pytest.approx(np.arange(6) / 10)
    assert [frame.geometry.transposed for frame in frames] == 3 * [True] + 3 * [False]
    assert source.notes == [
        f"{path}: consists of 2 joined parts. All are read",
        f"{path}: the size changes at frame 3. Images are scaled to the first size",
        f"{path}: its clock restarts 1 time. The time continues",
    ]
    path.write_bytes(parts[0] + box(b"ftyp", b"isom") + box(b"free", b"no index") + parts[1])
    source, frames = read(path)
    assert [frame.geometry.transposed for frame in frames] == 3 * [True] + 3 * [False]
    assert f"{path}: consists of 3 joined parts. All are read" in source.notes
    (problem,) = source.problems
    assert problem.startswith(f"{path} is neither an image nor a video that can be read: ")


def test_packets_that_cannot_be_decoded_are_counted(tmp_path):
    path = write_video(tmp_path / "a.mkv", np.arange(8) / 10)
    data = bytearray(path.read_bytes())
    assert read(path)[0].problems == []
    for start, size in packets_of(path)[2:4]:
        at = data.index(b"\xff\xd8\xff", start)
        data[at : at + size - 16] = bytes(size - 16)
    path.write_bytes(data)
    source, frames = read(path)
    assert len(frames) == 6
    (problem,) = source.problems
    assert problem.startswith(f"{path}: 2 damaged parts could not be decoded: ")


@pytest.mark.parametrize(
    ("transfer", "lines"), [(16, ["HDR video, tone-mapped to standard range"]), (1, []), (None, [])]
)
def test_hdr_is_noted(tmp_path, transfer, lines):
    path = write_video(tmp_path / "a.mkv", (0, 0.1), codec="libx264", transfer=transfer)
    with VideoSource("a", path) as source:
        for _ in range(2):
            assert len(list(source)) == 2
        assert source.notes == [f"a: {line}" for line in lines]


def test_a_stream_can_be_read_once_and_a_file_again(tmp_path):
    path = write_video(tmp_path / "a.mkv", np.arange(4) / 10)
    with VideoSource("a", path) as source:
        first, again = list(source), list(source)
        for one, other in zip(first, again, strict=True):
            assert one[:2] == other[:2]
            np.testing.assert_array_equal(one.rgb, other.rgb)
    assert len(list(source)) == 4  # also after it was closed
    for _ in range(2):
        source.close()
    with VideoSource("a pipe", io.BytesIO(path.read_bytes())) as source:
        assert (source.path, source.files) == (None, [])
        for one, other in zip(first, source, strict=True):
            assert one[:2] == other[:2]
            np.testing.assert_array_equal(one.rgb, other.rgb)
        with pytest.raises(InputError, match="a pipe is a stream and can be read only once: save it to a file"):
            list(source)


def test_a_frame_is_scaled_turned_and_centred():
    frame = av.VideoFrame.from_ndarray(picture(3, (48, 32)))
    np.testing.assert_array_equal(upright_rgb(frame), picture(3, (48, 32)))
    turned = Geometry.of_orientation(6)
    np.testing.assert_array_equal(upright_rgb(frame, geometry=turned), np.rot90(picture(3), -1))
    for geometry, size, shape in (
        (Geometry(aspect=Fraction(2)), None, (32, 96)), (Geometry((8, 4, 8, 4)), None, (24, 32)),
        (Geometry((8, 4, 8, 4), Fraction(2), transposed=True), None, (64, 24)), (Geometry(), (60, 60), (60, 60)),
        (turned, (48, 32), (32, 48)),
    ):  # fmt: skip
        assert upright_rgb(frame, geometry=geometry, size=size).shape == (*shape, 3)
    cut = upright_rgb(frame, geometry=Geometry((12, 16, 0, 0)))
    np.testing.assert_array_equal(cut, np.full((16, 36, 3), 54))
    bordered = upright_rgb(frame, geometry=Geometry(), size=(60, 60))
    assert not bordered[[*range(10), *range(50, 60)]].any()
    np.testing.assert_array_equal(bordered[40], np.full((60, 3), 54))


def test_only_files_are_opened_and_only_videos_have_a_stream(tmp_path):
    path = write_video(tmp_path / "a.mkv", (0, 0.1))
    with open_container(path, "a") as container:
        assert video_stream(container).index == 0
    (tmp_path / "b.mkv").write_bytes(bytes(99))
    with pytest.raises(InputError, match="b is neither an image nor a video that can be read: Invalid data"):
        open_container(tmp_path / "b.mkv", "b")
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with open_container(tmp_path / "a.wav", "a") as container:
        assert video_stream(container) is None
