"""Hiding people: everybody, in all frames of a recording, and what the closing line states."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit import Body, Face, Frame, create_detector
from sonjit._util.pools import Progress
from sonjit.detectors import bystanders
from sonjit.detectors.bystanders import Bystanders, BystanderSearch
from sonjit.detectors.kinds import options_for
from sonjit.media import DrawingStyle, SourceFrame, open_source
from sonjit.media.drawing import covers
from sonjit.runs import Detect, Outputs, hiding, run_input
from sonjit.runs.hiding import Anonymiser, Hidden

from ..support.progress_log import ProgressLog  # noqa: TID252  # one helper for all packages

SIDE, FRAMES, FPS = 24, 60, 10


class Search:
    """Search that finds what a test states, by the number of the call."""

    def __init__(self, find, glance=lambda _: (), people=lambda _: ()):
        self._find, self._glance, self._people, self.calls, self.thorough = find, glance, people, 0, []
        self.log = []

    def find(self, rgb, *, thorough=True, known=(), with_people=False):
        self.calls += 1
        self.thorough.append(thorough)
        self.log.append("find")
        return Bystanders(list(self._find(rgb)), list(self._people(rgb)))

    def find_again(self, rgb, covered, changed, hands):
        self.log.append("again")
        return list(self._find(rgb))

    def glance(self, rgb, parts, number=None):
        self.log.append((parts, number))
        return list(self._glance(rgb)) if parts == 1 else []


@pytest.fixture
def hider(monkeypatch):
    def make(*arguments, how="blur", **more):
        search = Search(*arguments, **more)
        monkeypatch.setattr(bystanders, "BystanderSearch", lambda *_: search)
        anonymiser = Anonymiser(how)
        anonymiser.search = search
        return anonymiser

    return make


def moving():
    """Return frames in which a textured square moves over a smooth background, and its box in each."""
    rng = np.random.default_rng(0)
    face = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (SIDE, SIDE))
    y, x = np.mgrid[:120, :160]
    below = np.dstack([x, y, 128 + 40 * np.sin(x / 9) * np.cos(y / 7)]).astype(np.uint8)
    frames, boxes = [], []
    for number in range(FRAMES):
        left, top = 10 + 2 * number, 40 + round(8 * np.sin(number / 8))
        rgb = below.copy()
        rgb[top : top + SIDE, left : left + SIDE] = face
        frames.append(SourceFrame(number, number / FPS, rgb))
        boxes.append((left, top, left + SIDE, top + SIDE))
    return frames, boxes


class Recording(list):
    """Frames as a video file that can be read twice."""

    kind, count, live = "video", FRAMES, False

    def __init__(self, frames, file):
        super().__init__(frames)
        self.files = [file]


def is_hidden(shown, frame, box):
    left, top, right, bottom = box
    now, before = (rgb[top:bottom, left:right].astype(float) for rgb in (shown, frame.rgb))
    return np.abs(now - before).mean() > 15


def seen_at(boxes, numbers, frames):
    """Return a search of frames that finds the square only in frames with some numbers."""
    of = {frame.rgb.tobytes(): frame.index for frame in frames}
    return lambda rgb: [boxes[of[rgb.tobytes()]]] if of.get(rgb.tobytes()) in numbers else []


def test_a_face_of_a_recording_is_hidden_before_its_first_detection_and_across_gaps(hider, tmp_path):
    frames, boxes = moving()
    found = seen_at(boxes, {20, 21, 45, 46}, frames)
    anonymiser = hider(found, found)
    anonymiser.scan(Recording(frames, tmp_path / "missing"), None, Progress())  # cannot be read twice
    (tmp_path / "clip.mp4").write_bytes(b"")
    anonymiser.scan(Recording(frames, tmp_path / "clip.mp4"), None, Progress())
    shown = [anonymiser.below(frame) for frame in frames]
    assert [n for n in range(45) if not is_hidden(shown[n], frames[n], boxes[n])] == []
    assert is_hidden(shown[55], frames[55], boxes[55])  # followed after the last detection
    assert not is_hidden(shown[59], frames[59], boxes[59])  # but not for long
    hidden = anonymiser.hidden
    assert (hidden.of, hidden.is_live, hidden.frames >= 50) == (FRAMES, False, True)


@pytest.mark.parametrize(("seen", "first"), [({45}, 40), ({40, 45}, 10), ({35, 45}, 5)])
def test_a_head_is_followed_for_three_seconds_back_if_it_is_found_twice_and_a_second_forward(
    hider, tmp_path, seen, first
):
    frames, boxes = moving()
    found = seen_at(boxes, seen, frames)
    anonymiser = hider(found, found)
    (tmp_path / "clip.mp4").write_bytes(b"")
    anonymiser.scan(Recording(frames, tmp_path / "clip.mp4"), None, Progress())
    hidden = [frame.index for frame in frames if is_hidden(anonymiser.below(frame), frame, boxes[frame.index])]
    assert hidden == [*range(first, 56)]


@pytest.mark.parametrize("textured", [False, True])
def test_a_face_is_hidden_before_it_passes_another_and_is_first_found(hider, tmp_path, textured):
    """The other face is found in all frames."""
    rng = np.random.default_rng(0)
    other, face = (cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (48, 48), None, 0, 0, 2) for _ in "ab")
    below = np.full((240, 320, 3), 128, np.uint8)
    if textured:
        below = cv2.resize(rng.integers(90, 154, (30, 40, 3), np.uint8), (320, 240), None, 0, 0, 2)
    frames, boxes = [], []
    for number in range(45):
        rgb, left = below.copy(), 20 + 4 * number
        rgb[100:148, 150:198] = other
        rgb[100:148, left : left + 48] = face
        frames.append(SourceFrame(number, number / 15, rgb))
        boxes.append((left, 100, left + 48, 148))
    found = seen_at(boxes, {43, 44}, frames)
    anonymiser = hider(lambda rgb: [(150, 100, 198, 148), *found(rgb)], lambda rgb: [(150, 100, 198, 148), *found(rgb)])
    (tmp_path / "clip.mp4").write_bytes(b"")
    anonymiser.scan(Recording(frames, tmp_path / "clip.mp4"), None, Progress())
    assert [f.index for f in frames if not is_hidden(anonymiser.below(f), f, boxes[f.index])] == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([(100, 60, 180, 140)], [(110, 70, 130, 90)]),  # a small box inside the face
        ([(100, 60, 180, 140)], [(100, 60, 180, 140), (100, 60, 145, 105)]),  # after a large box of the same face
        ([(100, 60, 180, 140), (160, 60, 240, 140)], [(135, 60, 215, 140)]),  # the box of a face that moves near
    ],
)
def test_no_box_replaces_a_face_that_it_does_not_cover(hider, first, second):
    rgb = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    finds = iter([first, second])
    anonymiser = hider(lambda _: next(finds, []))
    for index in range(3):
        covered = anonymiser.boxes(SourceFrame(index, index / 2, rgb)).faces
        assert any(np.allclose(first[0], box, atol=0.5) for box in covered), (index, covered)


def test_a_limit_ends_the_search_of_a_recording(hider, tmp_path):
    frames, boxes = moving()
    anonymiser = hider(seen_at(boxes, {0}, frames))
    (tmp_path / "clip.mp4").write_bytes(b"")
    anonymiser.scan(Recording(frames, tmp_path / "clip.mp4"), 5, Progress())
    assert [bool(anonymiser.boxes(frame).faces) for frame in frames[:5]] == [True] * 5
    assert not anonymiser.hidden.is_live
    anonymiser.boxes(frames[5])
    assert anonymiser.hidden.is_live  # not planned


def test_a_face_of_a_live_stream_is_hidden_from_its_first_detection(hider):
    frames, boxes = moving()
    found = seen_at(boxes, {20}, frames)
    anonymiser = hider(found, found)
    hidden = [is_hidden(anonymiser.below(frame), frame, boxes[frame.index]) for frame in frames]
    assert hidden[:31] == [False] * 20 + [True] * 11
    assert "until it is first found" in str(anonymiser.hidden)


def test_the_first_frame_after_a_cut_is_searched_as_a_still(hider):
    """Nobody after the cut shows a face that the detector of single frames finds."""
    frames, boxes = moving()
    cut = [SourceFrame(n, n / FPS, 255 - frame.rgb if n >= 13 else frame.rgb) for n, frame in enumerate(frames[:20])]
    anonymiser = hider(seen_at(boxes, range(13, 20), cut))
    shown = [anonymiser.below(frame) for frame in cut]
    assert [n for n in range(13, 20) if not is_hidden(shown[n], cut[n], boxes[n])] == []


def test_moving_people_are_no_cut(hider):
    frames, _ = moving()
    anonymiser = hider(lambda _: [])
    for frame in frames:
        anonymiser.below(frame)
    assert anonymiser.search.calls == FRAMES / FPS / 0.5


def test_a_still_is_searched_again_until_nothing_is_found(hider):
    rgb = np.random.default_rng(0).integers(0, 255, (90, 300, 3), np.uint8)
    boxes = [(60 * k + 20, 30, 60 * k + 40, 50) for k in range(4)]

    def one_more(shown):
        sharp = [box for box in boxes if not is_hidden(shown, SimpleNamespace(rgb=rgb), box)]
        return sharp[:1] if len(sharp) < 4 else sharp[:2]

    anonymiser = hider(one_more)
    shown = anonymiser.below(SourceFrame(0, None, rgb))
    assert all(is_hidden(shown, SimpleNamespace(rgb=rgb), box) for box in boxes)
    assert anonymiser.hidden == Hidden(2, 1, 1, doubtful=2)
    assert str(anonymiser.hidden).startswith("hid 2 people in 1 of 1 frame, and 2 places that may show a head. ")


def test_a_head_that_is_also_found_after_covering_gets_one_colour(hider):
    rgb = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    anonymiser = hider(lambda shown: [(20, 20, 70, 70)] if shown[35:55, 35:55].std((0, 1)).any() else [])
    shown = anonymiser.below(SourceFrame(0, None, rgb))
    assert not shown[35:55, 35:55].std((0, 1)).any()
    assert anonymiser.hidden.people == 1


@pytest.mark.parametrize(("keep", "visible"), [(None, []), (1, [0]), (2, [1]), (3, [])])
def test_the_head_of_a_kept_person_stays_visible(hider, keep, visible):
    rgb = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    faces = []
    for number, x in enumerate((100, 280), 1):
        points = np.zeros((468, 3), np.float32)
        points[:, 0], points[:, 1] = np.linspace(x - 25, x + 25, 468), np.linspace(90, 150, 468)
        faces.append(Face(1.0, points, (x - 25, 90, x + 25, 150), number))
    boxes = [(60, 60, 140, 170), (240, 60, 320, 170), (10, 200, 60, 260)]
    anonymiser = hider(lambda _: boxes)
    shown = anonymiser.below(SourceFrame(0, 0.0, rgb), hiding.covered(Frame(0, 0.0, faces=faces), keep))
    kept = [k for k, box in enumerate(boxes) if not is_hidden(shown, SimpleNamespace(rgb=rgb), box)]
    assert kept == visible


def test_a_cut_ends_the_heads_of_the_scene_before(hider, tmp_path):
    """Nobody is followed from one scene into another."""
    rng = np.random.default_rng(0)
    scenes = [np.kron(rng.integers(0, 255, (9, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(2)]
    frames = [SourceFrame(n, n / FPS, scenes[n >= 10]) for n in range(20)]
    of = {scene.tobytes(): index for index, scene in enumerate(scenes)}
    boxes = [(40, 40, 80, 90)], [(200, 60, 240, 110)]
    anonymiser = hider(lambda rgb: boxes[of[rgb.tobytes()]])
    (tmp_path / "clip.mp4").write_bytes(b"")
    anonymiser.scan(Recording(frames, tmp_path / "clip.mp4"), None, Progress())
    for frame in frames:
        np.testing.assert_allclose(anonymiser.boxes(frame).faces, boxes[frame.index >= 10], atol=1)


def test_no_number_of_faces_is_too_large(hider):
    boxes = [(10 * x, 10 * y, 10 * x + 6, 10 * y + 6) for x in range(40) for y in range(30)]
    rgb = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    anonymiser = hider(lambda shown: boxes if (shown == rgb).all() else [])
    anonymiser.below(SourceFrame(0, None, rgb))
    assert anonymiser.hidden.people == 1200


def test_a_box_inside_another_is_the_same_face_and_boxes_apart_are_others(hider):
    boxes = [(50, 50, 100, 100), (60, 60, 75, 75), (100, 50, 150, 100), (10, 10, 40, 40)]
    rgb = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    anonymiser = hider(lambda shown: boxes if (shown == rgb).all() else [])
    anonymiser.below(SourceFrame(0, None, rgb))
    assert anonymiser.hidden.people == 3


@pytest.mark.parametrize(
    ("box", "is_counted"),
    [
        ((-40, 30, 0, 70), False), ((-40, 30, 1, 70), True), ((160, 30, 200, 70), False), ((159, 30, 200, 70), True),
        ((50, -40, 90, 0), False), ((50, -40, 90, 1), True), ((50, 120, 90, 160), False), ((50, 119, 90, 160), True),
    ],
)  # fmt: skip
def test_faces_outside_the_image_of_a_live_stream_do_not_count(hider, box, is_counted):
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    anonymiser = hider(lambda _: [box])
    anonymiser.below(SourceFrame(0, 0.0, rgb))
    assert anonymiser.hidden.people == is_counted


def test_only_stills_are_searched_thoroughly(hider):
    anonymiser, rgb = hider(lambda _: []), np.zeros((90, 90, 3), np.uint8)
    anonymiser.below(SourceFrame(0, 0.0, rgb))
    anonymiser.below(SourceFrame(1, None, rgb))
    assert anonymiser.search.thorough == [False, True]


def test_what_the_run_found_itself_is_hidden_too(hider):
    rgb = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    points = np.zeros((33, 3), np.float32)
    points[:, 0], points[:, 1] = np.linspace(180, 220, 33), np.linspace(100, 300, 33)
    found = hiding.covered(Frame(0, None, bodies=[Body(1.0, points, points, points[:, 0], points[:, 0])]))
    for how, more in (("blur", False), ("persons", True)):
        shown = hider(lambda _: [], how=how).below(SourceFrame(0, None, rgb), found)
        head, feet = ((shown != rgb)[rows, 190:210].mean() > 0.8 for rows in (slice(100, 140), slice(260, 290)))
        assert (head, feet) == (True, more)


def test_a_head_that_the_run_found_is_hidden_if_the_followed_one_lags_behind(hider, tmp_path):
    frames, boxes = moving()
    file = tmp_path / "a.mp4"
    file.touch()
    anonymiser = hider(seen_at(boxes, {20, 21}, frames))
    anonymiser.scan(Recording(frames, file), None, Progress())
    left, top, right, bottom = boxes[20]
    front = np.s_[top + 6 : bottom - 6, left - 7 : left - 3]  # of the run's head, outside the followed one
    without, shown = (
        anonymiser.below(frames[20], hiding.Covered(heads)) for heads in ([], [(left - 9.0, top, right - 9.0, bottom)])
    )
    assert np.array_equal(without[front], frames[20].rgb[front])
    assert not np.array_equal(shown[front], frames[20].rgb[front])
    assert anonymiser.hidden.people == 1


def test_black_and_none_hide_everything_and_nothing():
    rgb = np.full((10, 10, 3), 200, np.uint8)
    for how, level in (("black", 0), ("none", 200)):
        anonymiser = Anonymiser(how)
        assert (anonymiser.below(SourceFrame(0, None, rgb)) == level).all()
        assert anonymiser.hidden is None


def test_the_summary_of_a_run_counts_the_hidden_faces(hider, weights, demo_clip, tmp_path):
    hider(lambda _: [(10, 10, 60, 60), (12, 12, 60, 60), (200, 10, 260, 60)])
    task = Detect(options_for("hands", search="fast"), style=DrawingStyle(anonymise="blur"))
    with task.open("video") as worker, open_source(demo_clip[0]) as source:
        summary = run_input(worker, source, Outputs(draw=str(tmp_path / "d.mp4")), limit=6)
        plain = run_input(worker, source, Outputs(str(tmp_path / "t.jsonl")), limit=6)
    assert (summary.hidden.people, summary.hidden.frames, summary.hidden.of) == (2, 6, 6)
    assert plain.hidden is None
    assert str(summary.hidden).startswith("hid 2 people in 6 of 6 frames. Heads under 16 px are too small")


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.nightly)])
def test_no_search_finds_a_face_on_a_grid_of_faces_after_hiding(need, data, read_rgb, count):
    """Lay faces of labelled photographs in rows, as in a video call."""
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    tiles = []
    for file in sorted((data / "real").glob("wild*/people.json")):
        for name, photo in json.loads(file.read_text("utf-8")).items():
            if name.startswith("_") or len(photo["people"]) != 1 or not photo["people"][0].get("face_clear"):
                continue
            x_min, y_min, x_max, y_max = photo["people"][0]["face"]
            if min(x_max - x_min, y_max - y_min) > 80 and len(tiles) < count:
                rgb, half = read_rgb(file.parent / name), 0.8 * max(x_max - x_min, y_max - y_min)
                x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
                cut = rgb[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)]
                tiles.append(cv2.resize(cut, (128, 128), interpolation=cv2.INTER_AREA))
    if not tiles:
        pytest.skip("no photographs of one person")
    columns = round(count**0.5)
    rows = [np.hstack([tiles[(columns * y + x) % len(tiles)] for x in range(columns)]) for y in range(count // columns)]
    shown = Anonymiser("blur").below(SourceFrame(0, None, np.vstack(rows)))
    for options in ({}, {"model": "box-full"}):
        with create_detector("face", static_image=True, search="thorough", max_instances=100, **options) as detector:
            assert len(detector.detect(np.vstack(rows))) > 0.5 * count
            assert detector.detect(shown) == []
    area = [(0, 0, shown.shape[1], shown.shape[0])]
    assert BystanderSearch().find_again(shown, [], area, []) == []


def test_segment_refuses_to_hide_people_where_the_image_is_shown(refusal):
    assert "--anonymise requires --draw" in refusal("segment", "a.png", "--anonymise", "blur", "--save", "b.json")
    steps = refusal("segment", "a.png", "--anonymise", "persons", "--draw", "b.png", "--steps", "c")
    assert "cannot be combined with --steps" in steps


@pytest.mark.parametrize("is_live", [True, False])
def test_a_head_that_grows_and_is_found_with_errors_in_few_frames_stays_covered(hider, tmp_path, is_live):
    frames, boxes = moving()
    zoomed, truth = [], []
    for frame, box in zip(frames[:40], boxes, strict=False):
        part = frame.rgb[: 120 - frame.index // 2, : 160 - frame.index // 2]
        scale_x, scale_y = 400 / part.shape[1], 300 / part.shape[0]
        zoomed.append(SourceFrame(frame.index, frame.time, cv2.resize(part, (400, 300))))
        truth.append((box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y))
    of = {frame.rgb.tobytes(): frame.index for frame in zoomed}

    def find(rgb):
        number = of[rgb.tobytes()]
        left, top, right, bottom = truth[number]
        shift = number % 7
        return [(left + shift, top - shift, right + 2 * shift, bottom)] if number % 5 == 0 else []

    anonymiser = hider(find, find)
    if not is_live:
        (tmp_path / "clip.mp4").touch()
        anonymiser.scan(Recording(zoomed, tmp_path / "clip.mp4"), None, Progress())
    for frame in zoomed:
        (covered,) = anonymiser.boxes(frame).faces
        wide, high = covered[2] - covered[0], covered[3] - covered[1]
        true_area = (truth[frame.index][2] - truth[frame.index][0]) * (truth[frame.index][3] - truth[frame.index][1])
        assert covers.inside(truth[frame.index], covered) > 0.8
        assert wide * high < 1.6 * true_area


@pytest.mark.parametrize(
    ("time", "shape", "begins_anew"),
    [
        (1.1, (90, 120), False),
        (1.0, (90, 120), False),
        (0.9, (90, 120), True),
        (1.1, (90, 121), True),
        (1.1, (91, 120), True),
    ],
)
def test_faces_are_followed_until_the_clock_steps_back_or_the_size_changes(hider, time, shape, begins_anew):
    rgb = np.random.default_rng(0).integers(0, 255, (91, 121, 3), np.uint8)
    finds = iter([[(20, 20, 50, 50)], []])
    anonymiser = hider(lambda _: next(finds))
    anonymiser.boxes(SourceFrame(0, 1.0, rgb[:90, :120]))
    covered = anonymiser.boxes(SourceFrame(1, time, rgb[: shape[0], : shape[1]]))
    assert (anonymiser.search.calls, len(covered.faces)) == ((2, 0) if begins_anew else (1, 1))


@pytest.mark.parametrize("shape", [(1, 1000, 3), (1000, 1, 3), (1, 1, 3)])
def test_the_thinnest_images_are_searched(hider, shape):
    anonymiser = hider(lambda _: [])
    for index in range(2):
        assert anonymiser.below(SourceFrame(index, index / 10, np.zeros(shape, np.uint8))).shape == shape


@pytest.mark.parametrize(
    ("changes", "is_searched"),
    [({}, True), ({"kind": "camera"}, False), ({"live": True}, False), ({"files": []}, False)],
)
def test_only_files_of_videos_are_searched_before_they_are_drawn(hider, tmp_path, changes, is_searched):
    (tmp_path / "clip.mp4").write_bytes(b"")
    recording = Recording(moving()[0][:3], tmp_path / "clip.mp4")
    vars(recording).update(changes)
    anonymiser, log = hider(lambda _: []), ProgressLog()
    anonymiser.scan(recording, None, log)
    assert (anonymiser.search.calls, log.totals) == (is_searched, [FRAMES] * is_searched)
    assert log.steps == [1] * 3 * is_searched
    shown = Anonymiser("none")
    shown.scan(recording, None, log)
    assert len(log.totals) == is_searched
    with_missing = Recording(moving()[0][:3], tmp_path / "clip.mp4")
    with_missing.files.append(tmp_path / "missing.mp4")
    hider(lambda _: []).scan(with_missing, None, log)
    assert len(log.totals) == is_searched


@pytest.mark.parametrize(
    ("count", "limit", "total"), [(8, None, 8), (8, 3, 3), (8, 20, 8), (None, 5, 5), (None, None, None)]
)
def test_a_search_before_drawing_shows_progress_up_to_the_limit(hider, tmp_path, count, limit, total):
    (tmp_path / "clip.mp4").write_bytes(b"")
    recording, log = Recording(moving()[0][:8], tmp_path / "clip.mp4"), ProgressLog()
    recording.count = count
    hider(lambda _: []).scan(recording, limit, log)
    assert (log.totals, len(log.steps)) == ([total], min(limit or 8, 8))


def test_hidden_people_of_several_inputs_are_added():
    both = Hidden(1, 2, 3)
    both.add(Hidden(10, 20, 30))
    assert both == Hidden(11, 22, 33, is_live=False)
    both.add(Hidden(0, 0, 0, is_live=True))
    assert both == Hidden(11, 22, 33, is_live=True)
    assert str(Hidden(1, 1, 1)).startswith("hid 1 person in 1 of 1 frame. Heads under 16 px ")
    assert [("until it is first found" in str(Hidden(is_live=live))) for live in (False, True)] == [False, True]


def test_the_input_before_is_forgotten(hider, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    frames, boxes = moving()
    anonymiser = hider(lambda _: [boxes[0]])
    anonymiser.scan(Recording(frames[:5], tmp_path / "clip.mp4"), None, Progress())
    anonymiser.below(frames[0])
    assert anonymiser.hidden == Hidden(1, 1, 1)
    anonymiser.reset()
    assert anonymiser.hidden == Hidden()
    anonymiser.below(frames[0])
    assert anonymiser.hidden.is_live


def test_a_person_is_hidden_in_addition_to_the_face_inside(hider):
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    anonymiser = hider(lambda _: [(40, 20, 60, 40)], people=lambda _: [(38, 18, 62, 44)], how="persons")
    for index in range(2):
        covered = anonymiser.boxes(SourceFrame(index, index / 2, rgb))
        assert covered.faces[-1:] == [(40, 20, 60, 40)]
        assert covered.people[-1:] == [(38, 18, 62, 44)]


def test_a_face_inside_a_person_is_a_face_of_its_own(hider):
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    finds = iter([[], [(40, 20, 60, 40)]])
    anonymiser = hider(lambda _: next(finds), people=lambda _: [(38, 18, 62, 44)], how="persons")
    first, second = (anonymiser.boxes(SourceFrame(index, index / 2, rgb)) for index in range(2))
    assert (first.faces, second.faces, second.people[-1:]) == ([], [(40, 20, 60, 40)], [(38, 18, 62, 44)])


def test_a_face_without_points_to_follow_stays_while_another_moves(hider):
    face = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    finds = iter([[(4, 4, 34, 34), (60, 60, 84, 84)]])
    anonymiser = hider(lambda _: next(finds, []))
    for index in range(4):
        rgb = np.full((120, 160, 3), 90, np.uint8)
        rgb[60:84, 60 + 2 * index : 84 + 2 * index] = cv2.resize(face, (24, 24))
        covered = anonymiser.boxes(SourceFrame(index, index / 10, rgb))
    np.testing.assert_allclose(sorted(covered.faces), [(4, 4, 34, 34), (66, 60, 90, 84)], atol=1)


@pytest.mark.parametrize(("how", "keeps"), [("none", True), ("black", False), ("blur", False), ("persons", False)])
def test_people_are_kept_only_if_nothing_is_hidden(hider, how, keeps):
    anonymiser, frame = (
        hider(lambda _: [(1, 1, 5, 5)] * (how != "none"), how=how),
        SourceFrame(0, 0.0, np.ones((9, 9, 3))),
    )
    assert anonymiser.keeps_people == keeps
    assert bool(anonymiser.boxes(frame).faces) == (how in ("blur", "persons"))
    anonymiser.reset()
