import errno
import itertools
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from sonjit._util.errors import InputError
from sonjit._util.files import DiskError
from sonjit.media import BestEffortDrawing, DrawingWriter, open_drawing_writer, open_mask_writer, open_source
from sonjit.media.annotated.videos import changed_regions, failing_as_drawing
from sonjit.media.annotated.writers import DrawingError
from sonjit.media.drawing.regions import Region, merge_regions
from sonjit.media.sources import Reading

TIMES = (0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.9, 1.3)


def sound_seconds(path):
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(track)) / track.rate


def copy_frames(source, writer, limit=None):
    for frame in source:
        writer.write(frame.rgb, frame.time, index=frame.index)
        if limit is not None and frame.index + 1 == limit:
            break


@pytest.mark.parametrize("size", [(100, 200), (96, 128), (70, 50)])
@pytest.mark.parametrize("step", [1, -1])
def test_changed_regions_are_the_tiles_in_which_images_differ(size, step):
    """Images differ in single pixels, which are brighter or darker than before."""
    rng = np.random.default_rng(size[0])
    before = rng.integers(50, 200, (*size, 3), np.uint8)
    for count in (0, 1, 3):
        drawn = before.copy()
        places = [(rng.integers(size[0]), rng.integers(size[1])) for _ in range(count)]
        for place in places:
            drawn[place] = before[place].astype(int) + step
        expected = merge_regions(Region.around((x, y, x + 1, y + 1), size[1], size[0]) for y, x in places)
        found = [Region(x, y, x + wide, y + high) for x, y, wide, high in changed_regions(drawn, before)]
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_image(tmp_path, noise, ending):
    cv2.imwrite(str(tmp_path / "in.png"), noise[..., ::-1])
    out = tmp_path / f"out{ending}"
    with open_source(tmp_path / "in.png") as source, open_drawing_writer(out, source) as writer:
        writer.write(np.full((40, 60, 3), 77, np.uint8), None)
        assert not out.exists()
    assert np.abs(cv2.imread(str(out)).astype(int) - 77).max() < 3


def test_folder_keeps_the_names(tmp_path, noise):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    for name in ("a.png", "c.jpg"):
        cv2.imwrite(str(tmp_path / "in" / name), noise)
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    for out in ("out", "fresh"):
        with open_source(tmp_path / "in") as source, open_drawing_writer(tmp_path / out, source) as writer:
            copy_frames(source, writer)
        assert {"a.png", "c.jpg"} <= {f.name for f in (tmp_path / out).iterdir()} <= {"a.png", "c.jpg", "mine.txt"}
    with (
        pytest.raises(ZeroDivisionError),
        open_source(tmp_path / "in") as source,
        open_drawing_writer(tmp_path / "gone", source) as writer,
    ):
        copy_frames(source, writer, limit=1 // 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh", "in", "out"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize(("origin", "sound"), [(".mp4", "aac"), (".mkv", "pcm_s16le"), (".webm", "libopus")])
def test_video_keeps_times_and_sound(tmp_path, clip, ending, origin, sound):
    path = clip(f"v{origin}", TIMES, sound=sound, start_s=0.6 if origin == ".mkv" else 0.0)
    out = tmp_path / f"drawn{ending}"
    with open_source(path) as source, open_drawing_writer(out, source) as writer:
        copy_frames(source, writer)
    with open_source(out) as drawn:
        frames = list(drawn)
    np.testing.assert_allclose([f.time for f in frames], TIMES, atol=2e-3)
    assert sound_seconds(out) == pytest.approx(sound_seconds(path), abs=0.1)
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        starts = [float((s.start_time or 0) * s.time_base) for s in (video, audio)]
        assert abs(starts[0] - starts[1]) < 0.05
    assert drawn.problems == []


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_uncompressed_sound_whose_places_are_unknown_is_kept(tmp_path, clip, ending, layout):
    path, out = clip("v.avi", TIMES, sound="pcm_s16le", layout=layout, codec="mpeg4"), tmp_path / f"drawn{ending}"
    with av.open(str(path)) as container:
        assert container.streams.audio[0].layout.name in ("1 channels", "2 channels")
    with open_source(path) as source, open_drawing_writer(out, source) as writer:
        copy_frames(source, writer)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].layout.nb_channels == (1 if layout == "mono" else 2)
    assert sound_seconds(out) == pytest.approx(sound_seconds(path), abs=0.1)


def loud_s(path):
    """Return when the tone of a video begins, in seconds after its first image."""
    with av.open(str(path)) as container:
        first_s = next(frame.time for frame in container.decode(video=0))
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0].astype(float))
            loud = samples > 0.1 * (32767 if frame.format.name.startswith("s16") else 1)
            if loud.any():
                return frame.time + loud.argmax() / frame.sample_rate - first_s
    raise AssertionError("no tone")


@pytest.mark.parametrize("ending", [".mkv", ".webm"])  # the sound is copied, and encoded again
@pytest.mark.parametrize(("from_s", "delay_s", "expected_s"), [(0, 0.4, 0.4), (0.2, 0.7, 0.5), (0.5, 0.0, 0.0)])
def test_sound_begins_as_long_after_the_images_as_in_the_source(tmp_path, clip, ending, from_s, delay_s, expected_s):
    path = clip("v.mkv", TIMES, sound="aac", start_s=0.3, delay_s=delay_s)
    out = tmp_path / f"drawn{ending}"
    with Reading(start_s=from_s).open(path) as source, open_drawing_writer(out, source) as writer:
        copy_frames(source, writer)
    assert loud_s(out) == pytest.approx(expected_s, abs=0.04)


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_an_animation_keeps_times_and_colours_and_loops(tmp_path, clip, ending):
    out = tmp_path / f"drawn{ending}"
    path = clip("v.mkv", TIMES, size=(65, 49), pix_fmt="yuv444p")
    rows, columns = np.mgrid[:49, :65]
    still = np.stack([3 * columns, 4 * rows, rows + columns], -1).astype(np.uint8)  # more colours than a palette holds
    given = []
    with open_source(path) as source, open_drawing_writer(out, source) as writer:
        for frame in source:
            drawn = still.copy()
            drawn[10:30, 4 * frame.index : 4 * frame.index + 20] = (200, 40, 90)
            writer.write(drawn, frame.time)
            given.append(drawn)
    with Image.open(out) as made:
        assert (made.size, made.n_frames, made.info["loop"]) == ((65, 49), len(TIMES), 0)
        for k, (start, end) in enumerate(itertools.pairwise(TIMES)):
            made.seek(k)
            difference = np.array(made.convert("RGB")).astype(int) - given[k]
            assert made.info["duration"] == pytest.approx(1000 * (end - start), abs=10)
            assert np.abs(difference.reshape(7, 7, 5, 13, 3).mean(axis=(1, 3))).max() < 12


def test_an_animation_that_ends_badly_leaves_nothing(tmp_path, clip):
    with open_source(clip("v.mp4")) as source:
        with open_drawing_writer(tmp_path / "none.gif", source):
            pass
        with pytest.raises(ZeroDivisionError), open_drawing_writer(tmp_path / "broken.webp", source) as writer:
            copy_frames(source, writer, limit=1 // 0)
        with (
            pytest.raises(InputError, match="needs its time"),
            open_drawing_writer(tmp_path / "o.gif", source) as writer,
        ):
            writer.write(np.zeros((8, 8, 3), np.uint8), None)
    assert [file.name for file in tmp_path.iterdir()] == ["v.mp4"]


def test_avi_and_odd_sizes(tmp_path, clip):
    path = clip("v.mkv", size=(65, 49), pix_fmt="yuv444p")
    for ending in (".avi", ".mp4"):
        out = tmp_path / f"o{ending}"
        with open_source(path) as source, open_drawing_writer(out, source) as writer:
            copy_frames(source, writer)
        with open_source(out) as drawn:
            frames = list(drawn)
        assert (drawn.width, drawn.height, len(frames)) == (66, 50, 10)
        np.testing.assert_allclose([f.time for f in frames], [i / 25 for i in range(10)], atol=2e-3)


def test_stopping_early_keeps_a_valid_video_and_as_much_sound(tmp_path, clip):
    path = clip("v.mp4", [i / 25 for i in range(100)], sound="aac")
    out = tmp_path / "o.mp4"
    with pytest.raises(KeyboardInterrupt), open_source(path) as source, open_drawing_writer(out, source) as writer:
        stop_after(source, writer, 25)
    with open_source(out) as drawn:
        assert len(list(drawn)) == 25
    assert sound_seconds(out) == pytest.approx(1.0, abs=0.1)


def stop_after(source, writer, limit):
    copy_frames(source, writer, limit)
    raise KeyboardInterrupt


def test_a_truncated_video_is_drawn_up_to_its_end(tmp_path, clip):
    path = clip("v.mkv", [i / 25 for i in range(100)], sound="aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    out = tmp_path / "o.mp4"
    with open_source(path) as source, open_drawing_writer(out, source) as writer:
        copy_frames(source, writer)
    assert source.problems
    with open_source(out) as drawn:
        assert 0 < len(list(drawn)) < 100
    assert drawn.problems == []


def test_nothing_written_leaves_nothing(tmp_path, clip):
    before = set(threading.enumerate())
    with open_source(clip("v.mp4")) as source:
        with open_drawing_writer(tmp_path / "o.mp4", source):
            pass
        writer = open_drawing_writer(tmp_path / "o.mp4", source)
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
        writer.discard()
        writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert not set(threading.enumerate()) - before


def test_endings_and_places_that_do_not_fit(tmp_path, noise, clip, unwritable):
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), noise)
    video = clip("v.mp4")
    for named, out, says in (
        (video, "o.png", r"\.mp4"),
        (video, "o.txt", r"\.mp4"),
        (video, video, "input itself"),
        (video, unwritable / "o.mp4", "folder"),
        (folder / "a.png", "o.mp4", r"\.png"),
        (folder, "o.mp4", "require a folder"),
        (folder, folder, "another folder"),
        (folder, video.parent / "file", "is a file"),
    ):
        with open_source(named) as source, pytest.raises(InputError, match=says):
            open_drawing_writer(tmp_path / out, source)


def test_live_sources_write_their_own_clock(tmp_path, clip):
    with open_source(clip("v.mp4")) as source:
        source.time_base = None
        source.path = None
        with open_drawing_writer(tmp_path / "o.mp4", source) as writer:
            for time in (0.0, 0.0331, 0.0331, 0.1207):
                writer.write(np.zeros((48, 64, 3), np.uint8), time)
    with open_source(tmp_path / "o.mp4") as drawn:
        times = [frame.time for frame in drawn]
    tick = float(Fraction(1, 90_000))
    np.testing.assert_allclose(times, [0, 0.0331, 0.0331 + tick, 0.1207], atol=1.1 * tick)


@pytest.mark.parametrize(("fps", "clock"), [(3e7, Fraction(1, 1)), (1e-9, Fraction(1, 1 << 31)), (30, Fraction(7, 1))])
@pytest.mark.parametrize("ending", [".mp4", ".avi"])
def test_a_rate_that_cannot_be_is_not_believed(fps, clock, ending, tmp_path, demo_clip):
    out = tmp_path / f"out{ending}"
    with open_source(demo_clip[0]) as source:
        source.fps, source.time_base = fps, clock
        with open_drawing_writer(out, source) as writer:
            for number in range(4):
                writer.write(np.zeros((33, 35, 3), np.uint8), number / 30)
    with av.open(str(out)) as made:
        assert [round(frame.time * 30) for frame in made.decode(video=0)] == [0, 1, 2, 3]


@pytest.mark.parametrize("ending", [".mkv", ".webm"])
def test_the_same_images_make_the_same_bytes(ending, tmp_path, demo_clip):
    for name in ("one", "other"):
        with open_source(demo_clip[0]) as source, open_drawing_writer(tmp_path / f"{name}{ending}", source) as writer:
            writer.write(np.zeros((32, 32, 3), np.uint8), 0.0)
    assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"other{ending}").read_bytes()


@pytest.mark.parametrize("rate", [0.009, 0.01, 7.5, 1000, 1001, None])
@pytest.mark.parametrize("clock", [None, (1, 1000), (1, 5), (0, 1), (1, 10**9), (1, 10**9 + 1)])
def test_clocks_of_sources_are_kept_where_they_are_plausible(tmp_path, demo_clip, rate, clock):
    with open_source(demo_clip[0]) as source:
        source.fps, source.time_base = rate, clock and Fraction(*clock)
        clocks = []
        for ending in (".mkv", ".avi"):
            writer = open_drawing_writer(tmp_path / f"a{ending}", source, sound=False)
            clocks.append(writer._clock)
            writer.discard()
    step_s = 1 / rate if rate in (0.01, 7.5, 1000) else 1 / 30
    is_kept = clock in ((1, 1000), (1, 5), (1, 10**9)) and Fraction(*clock) <= step_s
    assert clocks[0] == (Fraction(*clock) if is_kept else Fraction(1, 90_000))
    assert clocks[1] == Fraction(step_s).limit_denominator(1001)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), DiskError),
        (OSError(errno.ESTALE, "gone"), DiskError),
        (OSError(errno.EINVAL, "wrong"), DrawingError),
        (av.error.InvalidDataError(1094995529, "damaged"), DrawingError),
        (ValueError("size"), DrawingError),
        (OverflowError("size"), DrawingError),
        (KeyError("size"), KeyError),
    ],
)
def test_errors_of_disks_fail_and_those_of_encoders_drop_the_drawing(tmp_path, error, expected):
    with pytest.raises(expected) as raised, failing_as_drawing(tmp_path / "o.mp4"):
        raise error
    assert type(raised.value) is expected
    reason = getattr(error, "strerror", None) or str(error)
    assert expected is KeyError or reason in str(raised.value)


class Failing(DrawingWriter):
    """Drawing that fails at one of its steps."""

    def __init__(self, fails):
        super().__init__()
        self.fails, self.steps = fails, []

    def _step(self, name):
        self.steps.append(name)
        if self.fails == name:
            raise DrawingError(f"{name} failed")

    def _append(self, image):
        self._step(f"write {image.time}")

    def _finish(self):
        self._step("close")

    def _abort(self):
        self._step("discard")

    def keeps_pixels(self, under):
        return under == "kept"


@pytest.mark.parametrize(
    ("fails", "steps"),
    [
        ("", ["write 0.0", "write 1.0", "close"]),
        ("write 0.0", ["write 0.0", "discard"]),
        ("write 1.0", ["write 0.0", "write 1.0", "discard"]),
        ("close", ["write 0.0", "write 1.0", "close"]),
    ],
)
def test_a_drawing_that_cannot_be_encoded_is_dropped_with_its_problem(fails, steps):
    failing = Failing(fails)
    with BestEffortDrawing(failing) as drawing:
        for time in (0.0, 1.0):
            drawing.write(np.zeros((8, 8, 3), np.uint8), time)
        assert [drawing.keeps_pixels(under) for under in ("kept", "other")] == [True, False]
    assert failing.steps[: len(steps)] == steps
    assert drawing.problem == (f"{fails} failed" if fails else None)
    other = Failing("")
    with pytest.raises(ZeroDivisionError), BestEffortDrawing(other):
        raise ZeroDivisionError
    assert other.steps == ["discard"]


@pytest.mark.parametrize(
    ("height", "width", "subme"), [(720, 1280, b"subme=2"), (722, 1280, b"subme=0"), (719, 1282, b"subme=0")]
)
def test_only_images_larger_than_720p_are_encoded_with_the_quickest_preset(height, width, subme, tmp_path, demo_clip):
    path = tmp_path / "a.mp4"
    with open_source(demo_clip[0]) as source, open_drawing_writer(path, source) as writer:
        writer.write(np.zeros((height, width, 3), np.uint8), 0.0)
    assert subme in path.read_bytes()  # x264 writes its options into the stream


def test_an_animation_of_grey_images_is_grey(tmp_path, demo_clip):
    with open_source(demo_clip[0]) as source, open_drawing_writer(tmp_path / "a.gif", source) as writer:
        writer.write(np.full((16, 24), 90, np.uint8), 0.0)
    with Image.open(tmp_path / "a.gif") as made:
        assert np.array(made.convert("RGB")).tolist() == np.full((16, 24, 3), 90).tolist()


@pytest.mark.parametrize(("width", "height"), [(65, 48), (64, 49), (65, 49)])
def test_odd_sizes_repeat_the_border_and_are_not_scaled(tmp_path, demo_clip, width, height):
    image = np.zeros((height, width, 3), np.uint8)
    image[:33, :33] = 255
    with open_source(demo_clip[0]) as source, open_drawing_writer(tmp_path / "a.mp4", source, sound=False) as writer:
        writer.write(image, 0.0)
    with open_source(tmp_path / "a.mp4") as made:
        shown = next(iter(made)).rgb[..., 1]
    assert shown.shape == (48 + 2 * (height > 48), 64 + 2 * (width > 64))
    assert shown[31, 10] > 200 > 60 > shown[34, 10]
    assert shown[10, 31] > 200 > 60 > shown[10, 34]
    expected = np.pad(image[..., 1], ((0, height % 2), (0, width % 2)), "edge")
    assert np.abs(shown.astype(int) - expected).max() < 80


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((40, 40, 50, 50), True), ((64, 64, 96, 96), True), ((0, 0, 32, 32), True), ((32, 0, 64, 32), True),
        ((65, 32, 96, 64), False), ((0, 32, 31, 64), False), ((32, 65, 64, 96), False), ((32, 0, 64, 31), False),
    ],
)  # fmt: skip
def test_regions_touch_if_they_share_an_edge_or_a_corner(other, expected):
    one = Region(32, 32, 64, 64)
    assert one.touches(Region(*other)) == Region(*other).touches(one) == expected


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize(
    ("reading", "has_sound"),
    [
        ({}, True),
        ({"fps": 25.0}, True),  # the rate of the file
        ({"fps": 120.0}, False),
        ({"fps": 10.0}, False),
        ({"fps": 24.9}, False),
        ({"fps": 120.0, "start_s": 0.1}, False),
        ({"fps": 60.0, "every": 2}, False),
        ({"start_s": 0.4}, True),
        ({"every": 2}, True),
    ],
)
def test_images_with_times_of_their_own_have_no_sound(tmp_path, clip, has_mask, reading, has_sound):
    path, out = clip("v.mp4", [k / 25 for k in range(40)], sound="aac"), tmp_path / "drawn.mp4"
    open_output = open_mask_writer if has_mask else open_drawing_writer
    with Reading(**reading).open(path) as source, open_output(out, source) as writer:
        for frame in source:
            writer.write(frame.rgb, *([None] if has_mask else []), frame.time)
        notes = [note for note in source.notes if "sound" in note]
    with av.open(str(out)) as container:
        assert bool(container.streams.audio) == has_sound
    expected = f"{path}: drawn without its sound, because --fps changes the times of the images"
    assert notes == ([] if has_sound else [expected])
