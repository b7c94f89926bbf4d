import hashlib
import io
import json
import os
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media import open_source
from sonjit.media.sources import find_files

TURNS = {90: ((0, 1), (-1, 0)), 180: ((-1, 0), (0, -1)), 270: ((0, -1), (1, 0))}


@pytest.fixture
def helpers():
    """Return a function that lists the reading threads of this test; data sets of other tests may keep a video open."""
    before = set(threading.enumerate())
    return lambda: [t for t in threading.enumerate() if t.name == "sonjit-read-ahead" and t not in before]


def save(path, rgb):
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def test_one_image(tmp_path, noise):
    path = save(tmp_path / "a.png", noise)
    with open_source(path) as source:
        (frame,) = source
        assert (source.kind, source.width, source.height, source.fps, source.count) == ("image", 60, 40, None, 1)
    assert (*frame[:2], source.name, source.frame_source(0)) == (0, None, str(path), None)
    np.testing.assert_array_equal(frame.rgb, noise)


def test_folder_is_read_in_natural_order_and_skips_what_is_broken(tmp_path, noise):
    for name in ("f10.png", "f9.png", "f1.jpg"):
        save(tmp_path / name, noise)
    (tmp_path / "f2.png").write_bytes(b"text")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"x")
    with open_source(tmp_path) as source:
        assert [f.name for f in source.files] == ["f1.jpg", "f2.png", "f9.png", "f10.png"]
        assert source.count == 4
        frames = list(source)
        again = list(source)
    assert [f.index for f in frames] == [f.index for f in again] == [0, 2, 3]
    assert [source.frame_source(f.index) for f in frames] == ["f1.jpg", "f9.png", "f10.png"]
    assert all(f.time is None for f in frames)
    (problem,) = source.problems
    assert "f2.png" in problem


def test_glob(tmp_path, noise, clip):
    paths = [save(tmp_path / f"{i}.png", noise) for i in range(3)]
    with open_source(str(tmp_path / "*.png")) as source:
        assert [f.index for f in source] == [0, 1, 2]
        assert source.frame_source(1) == str(paths[1])
    clip("only.mp4")
    with open_source(str(tmp_path / "*.mp4")) as source:
        assert source.kind == "video"
    odd = save(tmp_path / "shot[1].png", noise)
    with open_source(odd) as source:
        assert source.kind == "image"


def link(path, target):
    path.symlink_to(target, target_is_directory=True)


@pytest.mark.parametrize("pattern", ["shots/**/*.png", "**/*.png", "shots/**", "sh*/**/day?/*.png", "**/**/*.png"])
@pytest.mark.parametrize(
    "links",
    [{}, {"latest": "."}, {"a": ".", "b": "."}, {"day1/up": ".."}, {"out": "../.."}, {"first": "day1", "1": "first"},
     {"day1/other": "../day2", "day2/other": "../day1"}],
)  # fmt: skip
def test_links_repeat_no_file(tmp_path, noise, monkeypatch, links, pattern):
    monkeypatch.chdir(tmp_path)
    for folder in ("shots/day1", "shots/day2"):
        Path(folder).mkdir(parents=True)
        save(tmp_path / folder / "a.png", noise)
    for name, target in links.items():
        link(Path("shots") / name, target)
    with open_source(pattern) as source:
        assert [str(file) for file in source.files] == ["shots/day1/a.png", "shots/day2/a.png"]


def test_a_link_is_followed_and_the_file_preferred(tmp_path, noise):
    (tmp_path / "data").mkdir()
    (tmp_path / "in").mkdir()
    save(tmp_path / "data" / "b.png", noise)
    save(tmp_path / "in" / "c.png", noise)
    link(tmp_path / "in" / "more", tmp_path / "data")
    link(tmp_path / "in" / "a.png", "c.png")
    with open_source(str(tmp_path / "in" / "**" / "*.png")) as source:
        assert [str(file.relative_to(tmp_path)) for file in source.files] == ["in/c.png", "in/more/b.png"]
    with open_source(tmp_path / "in") as source:
        assert [file.name for file in source.files] == ["c.png"]
        assert any("left out 1 link to files that are inputs already" in note for note in source.notes)


@pytest.mark.parametrize(("pause_s", "is_noted"), [(9.9, False), (10.1, True)])
def test_a_pause_of_more_than_ten_seconds_is_noted(clip, pause_s, is_noted):
    times = (0, 0.04, 0.08, 0.08 + pause_s, 0.12 + pause_s, 0.16 + pause_s)
    with open_source(clip("a.mkv", times)) as source:
        assert [frame.time for frame in source] == pytest.approx(times, abs=2e-3)
    assert source.notes == ([f"{source.name}: no frame for {pause_s} s before frame 3"] if is_noted else [])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_video_times_are_true_with_a_variable_rate(clip, suffix):
    times = [0, 0.04, 0.08, 0.2, 0.24, 0.5, 1.3]
    with open_source(clip(f"v{suffix}", times, start_s=0.4)) as source:
        frames = list(source)
        assert source.count is not None
        assert (source.kind, source.width, source.height) == ("video", 64, 48)
    assert [f.index for f in frames] == list(range(7))
    np.testing.assert_allclose([f.time - frames[0].time for f in frames], times, atol=2e-3)
    assert source.problems == []
    greys = [int(f.rgb.mean()) for f in frames]
    assert greys == sorted(greys)


@pytest.mark.parametrize(
    ("size", "pix_fmt", "codec"),
    [((65, 49), "yuv444p", "libx264"), ((65, 49), "yuv420p", "libvpx-vp9"), ((64, 48), "yuv420p10le", "libx264")],
)
def test_odd_sizes_and_ten_bits(clip, size, pix_fmt, codec):
    path = clip("v.mkv", size=size, pix_fmt=pix_fmt, codec=codec)
    with open_source(path) as source:
        frames = list(source)
    assert len(frames) == 10
    assert frames[0].rgb.shape == (size[1], size[0], 3)
    assert frames[0].rgb.flags.c_contiguous
    bgr = cv2.VideoCapture(str(path)).read()[1]
    assert np.abs(frames[0].rgb[..., ::-1].astype(int) - bgr).max() <= (6 if "10" in pix_fmt else 0)


@pytest.mark.parametrize(("codec", "matrix"), [("libx264", 2), ("libx264", 1), ("libvpx-vp9", 2)])
@pytest.mark.parametrize("value_range", [1, 2], ids=["limited", "full"])
def test_the_range_that_a_video_states_is_taken(tmp_path, codec, matrix, value_range):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "4", "b": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, value_range
        values = [[0, 80], [200, 255]] if value_range == 2 else [[16, 85], [188, 235]]
        grey = np.full((96, 64), 128, np.uint8)  # the planes one below the other
        grey[:64] = np.repeat(np.repeat(values, 32, axis=0), 32, axis=1)
        frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
        frame.pts, frame.color_range = 0, value_range
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with open_source(path) as source:
        seen = next(iter(source))
    assert seen.decoded.color_range == value_range
    own = seen.decoded.reformat(format="rgb24", src_color_range=value_range, dst_color_range=2).to_ndarray()
    np.testing.assert_allclose(seen.rgb.astype(int), own, atol=1)
    np.testing.assert_allclose(seen.rgb[[16, 16, 48, 48], [16, 48, 16, 48], 1], [0, 80, 200, 255], atol=2)


@pytest.mark.parametrize("degrees", TURNS)
def test_rotation_is_honoured_as_opencv_does(clip, turn, degrees):
    path = clip("v.mp4", size=(96, 48))
    turn(path, TURNS[degrees])
    bgr = cv2.VideoCapture(str(path)).read()[1]
    with open_source(path) as source:
        frame = next(iter(source))
    assert (source.height, source.width) == frame.rgb.shape[:2] == ((48, 96) if degrees == 180 else (96, 48))
    np.testing.assert_array_equal(frame.rgb[..., ::-1], bgr)


def test_a_truncated_video_gives_its_decodable_frames_and_a_warning(tmp_path, clip):
    times = [i / 25 for i in range(100)]
    complete = clip("v.mp4", times, options={"movflags": "faststart"})
    data = complete.read_bytes()
    moov_end = data.index(b"mdat")
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: moov_end + (len(data) - moov_end) // 2])
    with open_source(path) as source:
        frames = list(source)
        assert [frame.index for frame in source] == [f.index for f in frames]
    assert 10 < len(frames) < 100
    assert any("cut" in problem for problem in source.problems)
    path.write_bytes(clip("w.mp4", times).read_bytes()[:-600])
    with pytest.raises(InputError, match="index"):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.mp4", b"", "empty"), ("a.mp4", b"#EXTM3U\nhttp://example.org/a.ts\n", "text"),
        ("a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "text"),
        ("a.svg", b"<svg><image href='a.png'/></svg>", "text"),
        ("a.xyz", bytes(3000), "neither an image nor a video"), ("a.jpg", b"hello, this is text", "text"),
    ],
)  # fmt: skip
def test_files_that_are_nothing(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        open_source(path)
    assert name in str(caught.value)


def test_names_that_lead_nowhere(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_source(tmp_path / "none.mp4")
    with pytest.raises(InputError) as caught:
        open_source(tmp_path)
    assert "no images, such as .jpg, .png" in str(caught.value)
    with pytest.raises(InputError, match="matches nothing"):
        open_source(str(tmp_path / "*.png"))
    with pytest.raises(InputError, match="an address begins with"):
        open_source("gopher://example.org/a.mp4")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a\0b", "a" * 300, tmp_path / "loop"):
        with pytest.raises(InputError):
            open_source(name)
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(InputError, match="none of its 1 images"):
        open_source(tmp_path)


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that gives bytes to standard input, which can only be read."""
    return lambda data: monkeypatch.setattr(sys, "stdin", Mock(buffer=Mock(spec=["read"], read=io.BytesIO(data).read)))


def test_standard_input(stdin, tmp_path, noise, clip, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as after `<&-`
    with pytest.raises(InputError, match="standard input is closed"):
        open_source("-")
    stdin(save(tmp_path / "a.png", noise).read_bytes())
    with open_source("-") as source:
        np.testing.assert_array_equal(next(iter(source)).rgb, noise)
    stdin(clip("v.mkv").read_bytes())
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[(tmp_path / "v.mkv").read_bytes()]).start()
    with open_source(tmp_path / "pipe") as source:
        assert len(list(source)) == 10
    with open_source("-") as source:
        assert len(list(source)) == 10
        with pytest.raises(InputError, match="only once"):
            list(source)
    for data, says in ((b"", "empty"), (b"some text", "text"), (clip("v.mp4").read_bytes()[:-600], "cannot be piped")):
        stdin(data)
        with pytest.raises(InputError, match=says):
            open_source("-")


def test_the_unfinished_drawing_of_a_full_disk_is_no_input_of_its_folder(tmp_path, clip):
    clip("v.mp4").rename(tmp_path / "b.mp4.unfinished")
    clip("a.mp4")
    files, notes = find_files(str(tmp_path), videos=True) or ([], [])
    assert [file.name for file in files] == ["a.mp4"]
    assert any("b.mp4.unfinished" in note for note in notes)
    with open_source(tmp_path / "b.mp4.unfinished") as source:
        assert source.kind == "video"


def test_no_camera(capfd):
    with pytest.raises(InputError, match="camera:77 does not open"):
        open_source("camera:77")
    with pytest.raises(InputError, match="has a number"):
        open_source("camera:front")
    assert capfd.readouterr().err == ""


def test_camera_times_and_end(monkeypatch, helpers):
    capture, image = Mock(), np.full((6, 8, 3), (1, 2, 3), np.uint8)
    capture.read.side_effect = [*5 * [(True, image)], (False, None)]
    capture.get.side_effect = {cv2.CAP_PROP_FRAME_WIDTH: 8, cv2.CAP_PROP_FRAME_HEIGHT: 6, cv2.CAP_PROP_FPS: 30}.get
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture)
    with open_source("camera:0") as source:
        frames = list(source)
        (problem,) = source.problems
    assert problem.startswith("camera:0 ended after ")
    assert frames[-1].index == 3
    assert (source.kind, source.width, source.height, source.fps, source.count) == ("camera", 8, 6, 30, None)
    assert helpers() == []


def test_a_camera_that_ends_is_opened_again(monkeypatch):
    """Unplug a camera after three images, and plug it in again two attempts later."""
    opened = []

    class Unplugged:
        def __init__(self, number):
            opened.append(number)
            self.left = {1: 4, 4: 3}.get(len(opened), 0)

        def isOpened(self):  # noqa: N802  # the name of OpenCV
            return self.left > 0

        def get(self, _):
            return 0

        def read(self):
            self.left -= 1
            return (True, np.zeros((6, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    monkeypatch.setattr(threading.Event, "wait", lambda event, _=None: event.is_set())  # attempts without pauses
    with open_source("camera:0", reconnect_s=0.5) as source:
        frames = list(source._frames())
        assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
        assert np.all(np.diff([frame.time for frame in frames]) >= 0)
        assert [note.partition(" from ")[0] for note in source.notes] == ["camera:0 gave nothing"]
        assert len(source.problems) == 1


class Camera:
    """Camera that gives the nearest of its two modes, as cameras do."""

    modes = ((640, 480, 30.0), (1280, 720, 60.0))

    def __init__(self, number):
        self.asked = {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 30.0}

    def set(self, name, value):
        self.asked[name] = value

    def mode(self):
        return min(self.modes, key=lambda mode: [abs(a - b) for a, b in zip(mode, self.asked.values(), strict=True)])

    def get(self, name):
        return dict(zip(self.asked, self.mode(), strict=True))[name]

    def read(self):
        width, height, _ = self.mode()
        return True, np.zeros((height, width, 3), np.uint8)

    def isOpened(self):  # noqa: N802  # the name of OpenCV
        return True

    def release(self):
        pass


@pytest.mark.parametrize(
    ("named", "size", "fps", "notes"),
    [
        ("camera:0", (640, 480), 30, []),
        ("camera:0@1280x720@60", (1280, 720), 60, []),
        ("camera:0@1280x720", (1280, 720), 60, []),
        (
            "camera:0@1920x1080@25",
            (1280, 720),
            60,
            [
                "camera:0 gives 1280x720 pixels in place of 1920x1080",
                "camera:0 gives 60 images per second in place of 25",
            ],
        ),
        ("camera:0@60", (640, 480), 30, ["camera:0 gives 30 images per second in place of 60"]),
        ("camera:0@29.97", (640, 480), 30, []),
    ],
)
def test_a_camera_is_asked_for_a_size_and_a_rate(monkeypatch, named, size, fps, notes):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with open_source(named) as source:
        assert next(iter(source)).rgb.shape == (size[1], size[0], 3)
        assert ((source.width, source.height), source.fps, source.notes, source.name) == (size, fps, notes, "camera:0")


@pytest.mark.parametrize(
    "named",
    ["camera:", "camera:0@", "camera:0@0x480", "camera:0@640x", "camera:0@60@640x480", "camera:-1", "camera:0@1e3"],
)
def test_a_camera_with_a_wrong_mode_is_one_line(named):
    with pytest.raises(InputError, match=f"{named}: a camera has a number, such as camera:0, with size and rate"):
        open_source(named)


@pytest.mark.parametrize("how", ["break", "close", "exception"])
def test_leaving_early_ends_the_thread(clip, how, helpers):
    source = open_source(clip("v.mp4", [i / 25 for i in range(60)]))
    if how == "exception":
        with pytest.raises(ZeroDivisionError), source:
            _ = [1 / frame.index for frame in source]
    else:
        frames = iter(source)
        next(frames)
        assert len(helpers()) == 1
        if how == "close":
            source.close()
        del frames
    source.close()
    assert helpers() == []


ROOT = Path(os.environ.get("SONJIT_TEST_DATA", Path(__file__).parents[2].parent / "shared"))


def cases():
    """Return (source, sha256, size, mode) of every golden that records its first frame."""
    found = set()
    for path in sorted(ROOT.glob("goldens/mediapipe/*.json")):
        data = json.loads(path.read_text("utf-8"))
        if "first_frame_rgb_sha256" in data and "source" in data:
            found.add((data["source"], data["first_frame_rgb_sha256"], *data["size"]))
    return sorted(found)


@pytest.mark.nightly_after(10)
@pytest.mark.golden
@pytest.mark.parametrize(("named", "sha256", "width", "height"), cases())
def test_first_frame_is_bit_exact(named, sha256, width, height):
    if not (ROOT / named).is_file():
        pytest.skip(f"{named} is not in {ROOT}")
    if b"ICC_PROFILE" in (ROOT / named).read_bytes()[:100_000]:
        pytest.skip("the golden was made without the colour profile of this image")
    with open_source(ROOT / named) as source:
        frame = next(iter(source))
    if (source.width, source.height) != (width, height):
        pytest.skip("the golden was made on a crop of this image")
    assert hashlib.sha256(frame.rgb.tobytes()).hexdigest() == sha256
