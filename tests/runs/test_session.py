"""Sessions over plain detectors, which give bodies with the angles of a script."""

import math

import numpy as np
import pytest

import sonjit
from sonjit import Body
from sonjit.detectors import Detector
from sonjit.media.result_exports import Results
from sonjit.media.sources.base import Source, SourceFrame
from sonjit.results import Frame, MotionEvent
from sonjit.runs import AngleLimits, EventLimits, EventTracker, Session
from sonjit.runs.events.repetition import RepetitionCounts
from sonjit.runs.session import Omitted

FPS = 20
IMAGE = np.zeros((4, 6, 3), np.uint8)
ELBOW = EventLimits.from_text("left_elbow_angle_rad:60:120", "body")


def body(angle_rad):
    """Return a body whose left elbow has an angle."""
    points = np.random.default_rng(1).normal(0, 0.3, (33, 3)).astype(np.float32)
    points[13], points[11] = (0, 0, 0), (0.3, 0, 0)
    points[15] = (0.3 * math.cos(angle_rad), 0.3 * math.sin(angle_rad), 0)
    return Body(1.0, points, points, np.ones(33, np.float32), np.ones(33, np.float32), id=4)


class Script(Detector):
    """Detector that gives a body per angle, frame by frame, and says that it found more."""

    kind = "body"

    def __init__(self, angles, more=0):
        self.angles, self.more, self.calls = iter(angles), more, []

    def detect_frames(self, frames, *, roi=None, copy=True):
        for rgb, time in frames:
            yield self.detect(rgb, time=time, roi=roi)

    def detect(self, image, *, time=None, roi=None):
        self.calls.append((time, roi))
        found = [body(next(self.angles))]
        return Results(found, image, total=len(found) + self.more)

    def finish(self):
        return []

    def reset(self):
        """Forget nothing: the angles go on."""


class Clip(Source):
    """Frames without a file."""

    kind = "video"

    def __init__(self, times, *, live=False, fails=False):
        super().__init__("clip")
        self.times, self.live, self.fails = times, live, fails

    def _frames(self):
        for index, time in enumerate(self.times):
            yield SourceFrame(index, time, IMAGE.copy())
        if self.fails:
            raise OSError("the disk is gone")


def swing(seconds):
    """Return angles that bend and straighten once a second."""
    return [math.radians(100 + 70 * math.cos(2 * math.pi * k / FPS)) for k in range(int(seconds * FPS))]


def test_a_session_joins_detectors_and_counts_what_is_hidden():
    first, second = Script([1.0, 1.0], more=2), Script([2.0, 2.0], more=1)
    session = Session([first, second], roi=(1, 2, 3, 4))
    frame = session.frame(IMAGE, 7, 0.25, "a.png")
    assert (frame.index, frame.time, frame.source, len(frame.bodies), session.hidden) == (7, 0.25, "a.png", 2, 3)
    assert first.calls == second.calls == [(0.25, (1, 2, 3, 4))]
    assert frame.measures == []


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([(2, 2, None), (1, 1, 0.5)], None),
        ([(2, 3, None), (1, 1, None), (2, 4, None)], "5 of at least 8 shown"),
        ([(2, 2, 0.0), (2, 3, 0.1), (1, 4, 0.2), (3, 6, 0.3), (3, 5, 0.4)], "1 of at least 4 shown"),
        ([(8, 9, 0.0), (1, 3, 0.1)], "1 of at least 3 shown"),
    ],
)
def test_omitted_instances_are_those_of_all_stills_or_of_the_fullest_frame(frames, text):
    omitted = Omitted()
    for shown, found, time in frames:
        omitted.add(shown, found, time)
    assert omitted.text == text


@pytest.mark.parametrize("start", [0.5, 0.0])
def test_repetitions_of_a_stream_that_begins_at_any_time_have_its_times(start):
    counts = RepetitionCounts(AngleLimits.from_text("left_elbow:70:140", "body"))
    frames = [Frame(k, start + k / FPS, bodies=[body(angle)]) for k, angle in enumerate(swing(2))]
    events = [event for frame in frames for event in counts.update(frame)]
    times = [(event.begin - start, event.end - start) for event in events]
    np.testing.assert_allclose(times, [(0.2, 0.85), (1.2, 1.85)], atol=1 / FPS)
    assert [event.id for event in events] == [4, 4]


def test_frames_have_counts_or_all_measures():
    counted, measured = [AngleLimits.from_text("left_elbow:70:140", "body")], []
    for measures in (False, True):
        session = Session([Script(swing(3))], count=counted, measures=measures)
        frames = [session.frame(IMAGE, k, k / FPS) for k in range(3 * FPS)]
        measured.append(frames[-1].measures[0])
        assert [event.type for frame in frames for event in frame.events] == ["repetition"] * 3
        assert frames[0].measures[0]["repetitions"] == 0
    assert measured[0] == {"repetitions": 3}
    assert measured[1]["repetitions"] == 3
    assert measured[1]["left_elbow_angle_rad"] == pytest.approx(swing(3)[-1], abs=1e-3)


def test_events_end_with_the_stream():
    session = Session([Script([0.5] * FPS)], events=[ELBOW])
    phases = [event.phase for k in range(FPS) for event in session.frame(IMAGE, k, k / FPS).events]
    assert phases == ["begin"]
    motions, (end,) = session.finish()
    assert motions == []
    assert (end.name, end.phase, end.begin, end.end) == ("left_elbow_angle_rad", "cancel", 0.0, (FPS - 1) / FPS)
    assert session.finish() == ([], [])


def test_the_last_frame_of_a_recording_ends_its_events():
    found = {}
    for live in (False, True):
        clip = Clip([k / FPS for k in range(FPS)], live=live)
        frames = list(sonjit.track(clip, Script([0.5] * FPS), events=["left_elbow_angle_rad:60:120"]))
        found[live] = [(event.phase, frame.index) for frame in frames for event in frame.events]
    assert found[False] == [("begin", 2), ("cancel", FPS - 1)]
    assert "cancel" not in dict(found[True])  # a camera does not wait for the next frame


def test_a_source_that_fails_gives_its_frames_and_their_ends_first():
    frames = []
    with pytest.raises(OSError, match="disk"):
        frames.extend(sonjit.track(Clip([0.0, 0.1, 0.2, 0.3], fails=True), Script([0.5] * 4), events=[ELBOW.text]))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [event.phase for event in frames[-1].events] == ["cancel"]


def test_a_step_back_of_the_clock_ends_open_events_and_begins_new_ones():
    tracker = EventTracker([ELBOW])
    times = [*np.arange(10, 11, 1 / FPS), *np.arange(0, 1, 1 / FPS)]
    events = [event for k, time in enumerate(times) for event in tracker(Frame(k, float(time), bodies=[body(0.5)]))]
    assert [(event.phase, event.begin) for event in events] == [("begin", 10.0), ("cancel", 10.0), ("begin", 0.0)]
    assert events[1].end == pytest.approx(10.95)
    assert [event.phase for event in tracker.finish()] == ["cancel"]


def test_a_small_step_back_ends_nothing():
    tracker = EventTracker([ELBOW])
    times = [0.0, 0.1, 0.2, 0.15, 0.25, 0.3]
    events = [event for k, time in enumerate(times) for event in tracker(Frame(k, time, bodies=[body(0.5)]))]
    assert [event.phase for event in events] == ["begin"]


def test_a_motion_that_begins_again_ends_the_one_before():
    tracker = EventTracker()

    def step(time, phase):
        motion = MotionEvent("Swipe_Left", phase, 1, "Right", time, 0.5, (0.0, 0.0), 0.0)
        return [(event.phase, event.begin) for event in tracker(Frame(0, time, motions=[motion]))]

    assert step(1.0, "begin") == [("begin", 1.0)]
    assert step(1.4, "begin") == [("cancel", 1.0), ("begin", 1.4)]
    assert step(1.5, "end") == [("end", 1.4)]


def test_repetitions_are_counted_on_after_a_step_back_of_the_clock():
    counts = RepetitionCounts(AngleLimits.from_text("left_elbow:70:140", "body"))
    found = []
    for start in (100.0, 0.0):
        for k, angle in enumerate(swing(3)):
            found += counts.update(Frame(k, start + k / FPS, bodies=[body(angle)]))
    assert [round(event.end - event.begin) for event in found] == [1] * 6
    assert counts.counts(body(1.0)) == {"repetitions": 6}


@pytest.mark.parametrize(("lowest", "highest", "count"), [(109.6, 150.4, 3), (110.6, 150.4, 0), (109.6, 149.4, 0)])
def test_a_joint_bends_to_110_and_straightens_to_150_degrees_in_a_repetition(lowest, highest, count):
    counts = RepetitionCounts(AngleLimits("left_elbow_angle_rad"))
    for k in range(4 * FPS):  # straight and bent for half a second each
        angle = math.radians(lowest if k // (FPS // 2) % 2 else highest)
        counts.update(Frame(k, k / FPS, bodies=[body(angle)]))
    assert counts.counts(body(1.0)) == {"repetitions": count}
    (line,) = counts.summary()
    if count:
        assert line.endswith("repetitions of left_elbow_angle_rad by body #4")
    else:
        text = f"It was {lowest:.0f} to {highest:.0f} degrees, the limits are 110 and 150"
        assert line == f"0 repetitions of left_elbow_angle_rad. {text}"


def test_instances_without_an_id_or_the_angle_have_no_repetitions():
    counts, unknown = RepetitionCounts(AngleLimits("left_elbow_angle_rad")), body(1.0)
    unknown.id = None
    assert counts.update(Frame(0, 0.0, bodies=[unknown])) == []
    assert counts.counts(unknown) == counts.counts(body(1.0)) == {}
    assert counts.summary() == ["0 repetitions of left_elbow_angle_rad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left_elbow:90", "write NAME or NAME:LOW:HIGH"),
        ("left_elbow:90:90", "must be below"),
        ("left_elbow:a:b", "write NAME or NAME:LOW:HIGH"),
        ("elbow", "Choose from left_elbow, right_elbow, "),
        ("left_elbo_", "Choose from left_elbow, "),
    ],
)
def test_angles_that_cannot_be_counted(text, message):
    with pytest.raises(sonjit.InputError, match=message):
        AngleLimits.from_text(text, "body")
    assert AngleLimits.from_text("left_elbow:70:140", "body").text == "left_elbow_angle_rad:70:140"
    assert AngleLimits.from_text("left_elbow", "body") == AngleLimits("left_elbow_angle_rad")
