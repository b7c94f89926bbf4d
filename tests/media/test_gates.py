"""Rules that no path goes around: outputs keep inputs, formats of one recording refuse others, and times hold."""

import os
import struct
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import sonjit
from sonjit._util.errors import InputError, InputWarning
from sonjit._util.files import write_bytes
from sonjit.media import (
    TABLE_ENDINGS,
    Header,
    convert_table,
    load_frames,
    open_drawing_writer,
    open_source,
    open_writer,
)
from sonjit.media.tables import FORMATS
from sonjit.results import Body, Frame, Hand

ONE = [ending for ending, table_format in FORMATS.items() if table_format.sources != "many"]


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(6):
            image = np.full((48, 64, 3), 40 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


def spellings(path):
    """Return names of one file: through folders that do not exist, links and other spellings."""
    (path.parent / "in").mkdir()
    (path.parent / "link.mkv").symlink_to(path)
    (path.parent / "folder").symlink_to(path.parent)
    os.link(path, path.parent / "hard.mkv")
    names = ("clip.mkv", "new/../clip.mkv", "in/../clip.mkv", "./clip.mkv", "a/b/../../clip.mkv")
    return [*names, "link.mkv", "hard.mkv", "folder/clip.mkv", str(path)]


def test_no_output_replaces_a_file_that_is_read(tmp_path, video, monkeypatch):
    before = video.read_bytes()
    monkeypatch.chdir(tmp_path)
    with open_source("clip.mkv") as source:
        for name in spellings(video):
            with pytest.raises(InputError, match="is the input itself"):
                open_drawing_writer(name, source)
            with pytest.raises(InputError, match="is the input itself"):
                write_bytes(Path(name), b"")
    assert video.read_bytes() == before
    assert not (tmp_path / "new").exists()
    write_bytes(video, b"closed")  # a file that is not read any more is replaced
    assert video.read_bytes() == b"closed"


@pytest.mark.parametrize("name", ["t.jsonl", "new/../t.jsonl", "hard.jsonl"])
def test_a_table_is_not_converted_onto_itself(tmp_path, name):
    with open_writer(tmp_path / "t.jsonl", Header()) as writer:
        writer.write(Frame(0, 0.0))
    os.link(tmp_path / "t.jsonl", tmp_path / "hard.jsonl")
    with pytest.raises(InputError, match="is the input itself"):
        convert_table(tmp_path / "t.jsonl", tmp_path / name)


def person(x=0.0):
    points = np.random.default_rng(5).uniform(-0.5, 0.5, (33, 3)).astype(np.float32)
    return Body(0.9, 100 * points + 200, points + x, np.ones(33, np.float32), np.ones(33, np.float32), id=1)


def hand(x, id=1, side="Right"):
    points = np.full((21, 3), x, np.float32)
    return Hand(side, 0.9, points, points, id=id)


@pytest.mark.parametrize("ending", ONE)
@pytest.mark.parametrize("table", TABLE_ENDINGS)
def test_several_recordings_do_not_become_one(tmp_path, ending, table):
    extra = FORMATS[ending].extra
    if extra:
        pytest.importorskip(extra)
    kind = "hands" if ending == ".eaf" else "bodies"
    found = {kind: [hand(5)] if ending == ".eaf" else [person()]}
    both = tmp_path / f"both{table}"
    with open_writer(both, Header("a and 1 more", 640, 480, 30.0, kind=kind)) as writer:
        for source in ("a.mp4", "b.mp4"):
            for index in range(4):
                writer.write(Frame(index, index / 30, source=source, **found))
    needs_size = FORMATS[ending].needs_size and not FORMATS[table].has_size
    with pytest.raises(
        InputError, match="do not contain the size" if needs_size else "not several such as a.mp4 and b"
    ):
        convert_table(both, tmp_path / f"o{ending}")
    frames = [Frame(index, index / 30, **found) for index in (0, 1, 2, 0, 1)]  # of two tables, without a source
    writer = open_writer(tmp_path / f"o{ending}", Header("a.mp4", 640, 480, 30.0, kind=kind))
    for frame in frames[:3]:
        writer.write(frame)
    with pytest.raises(InputError, match="not several"):
        writer.write(frames[3])
    writer.discard()
    assert list(tmp_path.iterdir()) == [both]


def pose_body(path):
    """Return rate, number of rows and number of people, read by the specification of the format."""
    data, at = path.read_bytes(), 10
    (components,) = struct.unpack_from("<H", data, at)
    at += 2
    for _ in range(components):
        for _ in range(2):
            at += 2 + struct.unpack_from("<H", data, at)[0]
        points, lines, colours = struct.unpack_from("<HHH", data, at)
        at += 6
        for _ in range(points):
            at += 2 + struct.unpack_from("<H", data, at)[0]
        at += 4 * lines + 6 * colours
    return struct.unpack_from("<fIH", data, at)


PAUSE = [*(k / 30 for k in range(60)), *(14 + k / 30 for k in range(60))]


@pytest.mark.parametrize("ending", [ending for ending, known in FORMATS.items() if known.has_fixed_rate])
@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([k / 30 for k in range(60)], ()),
        ([4 + k / 30 for k in range(60)], ("begins 4.00 s after the start",)),
        (PAUSE, ("12.0 s without frames are left out",)),
        ([4 + time for time in PAUSE], ("begins 4.00 s", "12.0 s without frames")),
        ([*(k / 30 for k in range(60)), *(2 + k / 15 for k in range(30))], ("frames, whose rate is variable",)),
    ],
)
def test_times_hold_or_are_stated(tmp_path, ending, times, told):
    path = tmp_path / f"o{ending}"
    with open_writer(path, Header("a.mp4", 640, 480, 30.0, kind="bodies")) as writer:
        for index, time in enumerate(times):
            writer.write(Frame(index, time, bodies=[person(index / 1000)]))
    notes = [note for note in writer.notes if str(path) in note]
    assert len(notes) == len(told)
    assert all(text in note for text, note in zip(told, notes, strict=True))
    if ending == ".pose":
        rate, rows, _ = pose_body(path)
    else:
        motion = path.read_text().split("MOTION")[1]
        rows, rate = int(motion.split("Frames:")[1].split()[0]), 1 / float(motion.split("Frame Time:")[1].split()[0])
    omitted_s = 12 if "12.0 s" in str(told) else 0
    assert (rows - 1) / rate == pytest.approx(times[-1] - times[0] - omitted_s, abs=0.05)


def test_a_place_of_a_pose_file_is_one_person(tmp_path):
    with open_writer(tmp_path / "o.pose", Header("a.mp4", 640, 480)) as writer:
        for index, ids in enumerate(([1, 2], [2], [2], [1, 2], [3], [3, 1])):
            writer.write(Frame(index, index / 10, [hand(100 * id, id) for id in ids]))
    rate, rows, people = pose_body(tmp_path / "o.pose")
    assert (rate, rows, people) == (pytest.approx(10), 6, 3)
    values = np.frombuffer((tmp_path / "o.pose").read_bytes()[-6 * 3 * 21 * 16 :], "<f4")[: 6 * 3 * 21 * 3]
    shown = values.reshape(6, 3, 21, 3)[:, :, 0, 0]
    assert [sorted(set(place) - {0}) for place in shown.T.tolist()] == [[100], [200], [300]]


@pytest.mark.parametrize("ending", [".gif", ".webp"])
@pytest.mark.parametrize("rate", [24, 30, 60, 100, 120])
def test_animations_last_as_long_in_browsers(tmp_path, video, ending, rate):
    path = tmp_path / f"o{ending}"
    with open_source(video) as source, open_drawing_writer(path, source) as writer:
        for index in range(2 * rate):
            writer.write(np.full((48, 64, 3), index % 200, np.uint8), index / rate, index=index)
    durations = []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
    shown = [100 if duration <= 10 else duration for duration in durations]
    assert sum(shown) == pytest.approx(2000, abs=60)
    assert min(durations) >= (20 if ending == ".gif" else 11)


def test_rows_of_several_recordings_differ(video, tmp_path):
    pandas = pytest.importorskip("pandas")
    frames = [Frame(index, index / 10, [hand(5)], source=name) for name in ("a", "b") for index in range(3)]
    table = sonjit.to_dataframe(frames, rows="instance")
    assert not table.duplicated(["source", "frame", "key"]).any()
    assert isinstance(table, pandas.DataFrame)
    (tmp_path / "t.jsonl").unlink(missing_ok=True)
    with open_writer(tmp_path / "t.jsonl", Header()) as writer:
        for frame in frames[:3]:
            writer.write(Frame(frame.index, frame.time, frame.hands))
    again = load_frames(tmp_path / "t.jsonl")[1]
    with pytest.warns(InputWarning, match="several recordings have no source"):
        sonjit.to_dataframe(chain(again, again), rows="instance")


@pytest.mark.parametrize("durations", [[33] * 5, [40, 200, 20, 1000, 40]])
def test_an_animated_webp_is_a_video(tmp_path, durations):
    images = [np.full((48, 64, 3), 50 * number, np.uint8) for number in range(5)]
    first, *others = (Image.fromarray(image) for image in images)
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=durations, lossless=True)
    first.save(tmp_path / "b.webp")
    with open_source(tmp_path / "a.webp") as source:
        frames = list(source)
        assert (source.kind, source.count, source.width, source.height) == ("video", 5, 64, 48)
    assert [frame.time for frame in frames] == pytest.approx(np.cumsum([0, *durations[:-1]]) / 1000)
    assert all((frame.rgb == image).all() for frame, image in zip(frames, images, strict=True))
    with open_source(tmp_path / "b.webp") as source:
        assert source.kind == "image"
    assert [frame.source for frame in sonjit.track(tmp_path, "hands", search="fast")] == ["a.webp"] * 5 + ["b.webp"]
    data = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "c.webp").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(InputError, match=r"c\.webp"):
        open_source(tmp_path / "c.webp")
