import csv
import json
import math

import numpy as np
import pytest

from sonjit import Body, Event, Hand, InputError
from sonjit.media import Header, load_frames
from sonjit.results import Frame, Gesture, MotionEvent
from sonjit.runs import EventLimits, EventTracker
from sonjit.runs.frame_tables import EVENT_COLUMNS, FrameTable

FPS = 20


def hand(gesture=None, score=0.9):
    points = np.full((21, 3), 5, np.float32)
    return Hand("Right", 1.0, points, points, id=1, gesture=gesture and Gesture(gesture, score))


def events_of(gestures):
    """Return the events of a hand whose gestures are given frame by frame; None is no gesture, "-" no hand."""
    tracker, found = EventTracker(), []
    for index, name in enumerate(gestures):
        hands = [] if name == "-" else [hand(name)]
        found += [(event.name, event.phase, index) for event in tracker(Frame(index, index / FPS, hands))]
    return found, tracker.finish()


def test_held_gesture_begins_and_ends_once():
    found, rest = events_of([None] * 6 + ["Thumb_Up"] * 20 + [None] * 10)
    assert [event[:2] for event in found] == [("Thumb_Up", "begin"), ("Thumb_Up", "end")]
    assert (found[0][2], found[1][2]) == (8, pytest.approx(30, abs=1))
    assert rest == []


def test_short_gap_does_not_end_a_gesture_and_a_blink_does_not_begin_one():
    found, _ = events_of([None] * 6 + ["Victory"] + [None] * 6 + ["Victory"] * 6 + [None] * 2 + ["Victory"] * 6)
    assert [event[:2] for event in found] == [("Victory", "begin")]


@pytest.mark.parametrize(
    ("gestures", "expected"),
    [
        (["Fist"] * 30, [("begin", 16)]),  # visible for 0.25 s
        ([None] * 20 + ["Fist"] * 30, [("begin", 27)]),  # held for 0.1 s
        ([None] * 20 + ["Fist"] * 7 + [None] * 30, []),
        ([None] * 20 + ["Fist"] * 20 + [None] * 12 + ["Fist"] * 30, [("begin", 27)]),  # a gap of less than 0.2 s
        ([None] * 20 + ["Fist"] * 20 + [None] * 30, [("begin", 27), ("end", 52)]),
        ([None] * 20 + ["Fist"] * 20 + ["-"] * 32 + ["Fist"] * 30, [("begin", 27)]),  # lost for 0.5 s
        ([None] * 20 + ["Fist"] * 20 + ["-"] * 33 + ["Fist"], [("begin", 27), ("end", 72)]),
        ([None] * 20 + ["-"] + ["Fist"] * 30, [("begin", 37)]),  # lost without a gesture, and visible for 0.25 s again
        ([None] * 20 + ["Fist"] * 20 + ["Open"] * 6 + ["Fist"] * 30, [("begin", 27)]),  # not held
        ([None] * 20 + ["Fist"] * 20 + ["Open"] * 30, [("begin", 27), ("end", 47), ("begin", 47)]),
    ],
)
def test_times_of_gestures_have_limits(gestures, expected):
    tracker, found = EventTracker(), []
    for index, name in enumerate(gestures):
        events = tracker(Frame(index, index / 64, [] if name == "-" else [hand(name)]))
        found += [(event.phase, index) for event in events]
    assert found == expected


@pytest.mark.parametrize(("back", "phases"), [(32, []), (33, ["end"])])
def test_a_clock_that_steps_back_by_more_than_half_a_second_ends_events(back, phases):
    tracker = EventTracker()
    for index in range(64):
        tracker(Frame(index, index / 64, [hand("Fist")]))
    assert [event.phase for event in tracker(Frame(64, (63 - back) / 64, [hand("Fist")]))] == phases


def test_gesture_of_a_hand_that_has_just_entered_waits():
    found, rest = events_of(["Fist"] * 10)
    assert found == [("Fist", "begin", 5)]
    (end,) = rest
    assert (end.phase, end.begin, end.end, end.handedness) == ("end", 0.0, 9 / FPS, "Right")


def test_gesture_ends_when_its_hand_is_lost_and_changes_to_another():
    found, _ = events_of([None] * 6 + ["Fist"] * 6 + ["Victory"] * 6 + ["-"] * 15)
    assert [event[:2] for event in found] == [
        ("Fist", "begin"),
        ("Fist", "end"),
        ("Victory", "begin"),
        ("Victory", "end"),
    ]


def test_motions_have_a_begin_and_an_end():
    tracker = EventTracker()

    def step(index, phase, name="Swipe_Left", strength=0.5):
        motion = MotionEvent(name, phase, 1, "Right", index / FPS, strength, (0.0, 0.0), 0.0)
        return tracker(Frame(index, index / FPS, motions=[motion]))

    assert [event.phase for event in step(0, "begin")] == ["begin"]
    assert step(1, "progress", strength=0.8) == []
    (end,) = step(2, "end")
    assert (end.type, end.phase, end.begin, end.end, end.value) == ("motion", "end", 0.0, 0.1, 0.8)
    assert [event.phase for event in step(3, "end", "My_Motion")] == ["begin", "end"]  # custom ones are reported once


def body(angle_rad):
    """Return a body whose left elbow has an angle."""
    points = np.random.default_rng(1).normal(0, 0.3, (33, 3)).astype(np.float32)
    points[13], points[11] = (0, 0, 0), (0.3, 0, 0)
    points[15] = (0.3 * math.cos(angle_rad), 0.3 * math.sin(angle_rad), 0)
    return Body(1.0, points, points, np.ones(33, np.float32), np.ones(33, np.float32), id=4)


@pytest.mark.parametrize(
    ("text", "extreme"), [("left_elbow_angle_rad:60:120", 40), ("left_elbow_angle_rad:120:60", 160)]
)
def test_measures_make_events_between_two_limits(text, extreme):
    limits = EventLimits.from_text(text, "body")
    assert limits.text == text
    tracker, events = EventTracker([limits]), []
    for index in range(60):
        degrees = 100 + 60 * math.cos(2 * math.pi * index / 40)
        events += tracker(Frame(index, index / FPS, bodies=[body(math.radians(degrees))]))
    phases = [(event.name, event.type, event.phase, event.id) for event in events]
    own = ("left_elbow_angle_rad", "measure")
    assert phases[:2] == [(*own, "begin", 4), (*own, "end", 4)]
    assert math.degrees(events[1].value) == pytest.approx(extreme, abs=0.5)
    assert 0.3 < events[1].end - events[1].begin < 1.5


def test_lost_measures_are_cancelled():
    tracker = EventTracker([EventLimits.from_text("left_elbow_angle_rad:60:120", "body")])
    frames = [Frame(index, index / FPS, bodies=[body(0.5)] if index < 10 else []) for index in range(30)]
    events = [event for frame in frames for event in tracker(frame)]
    assert [(event.phase, event.end) for event in events] == [("begin", None), ("cancel", 9 / FPS)]


@pytest.mark.parametrize(
    ("text", "message"),
    [("tail:1:2", "unknown measure 'tail'"), ("left_elbow_angle_rad:1", "write NAME:BEGIN:END"),
     ("left_elbow_angle_rad:9:9", "two different limits")],
)  # fmt: skip
def test_limits_that_cannot_be_read(text, message):
    with pytest.raises(InputError, match=message):
        EventLimits.from_text(text, "body")


@pytest.mark.parametrize("time", [None, math.nan, math.inf])
def test_frames_without_a_time_have_no_events(time):
    tracker = EventTracker()
    assert [tracker(Frame(k, time, [hand("Fist")])) for k in range(30)] == [[]] * 30
    assert tracker.finish() == []


def test_a_stream_may_begin_at_any_time_and_a_hand_without_an_id_has_no_events():
    tracker, unknown = EventTracker(), hand("Fist")
    unknown.id = None
    for start in (0.75, 0.0, 5000.0, 0.75):
        frames = [tracker(Frame(k, start + k / FPS, [hand("Fist")])) for k in range(10)]
        assert [event.begin for events in frames for event in events] == [start]
        assert [tracker(Frame(k, start + k / FPS, [unknown])) for k in range(10, 14)] == [[]] * 4
        assert [event.phase for event in tracker.finish()] == ["end"]


@pytest.mark.parametrize("ending", [".json", ".csv", ".xlsx"])
def test_tables_contain_events(tmp_path, ending):
    begin = Event("Fist", "gesture", "begin", 0.1, None, 1, "Right", 0.75)
    end = Event("Fist", "gesture", "end", 0.1, 0.6, 1, "Right", 0.75)
    path = tmp_path / f"t{ending}"
    with FrameTable(str(path), Header("fist.mp4"), {}, with_motions=True) as table:
        table.write(Frame(0, 0.1, [hand()], events=[begin]), None)
        table.write(Frame(1, 0.6, [hand()], events=[end]), None)
    if ending == ".json":
        _, frames = load_frames(path)
        assert [frame.events for frame in frames] == [[begin], [end]]
        assert json.loads(path.read_text("utf-8"))["frames"][1]["events"][0]["end"] == 0.6
    elif ending == ".csv":
        with (tmp_path / "t.events.csv").open(newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        assert (row["name"], row["begin"], row["end"], row["duration_s"]) == ("Fist", "0.1", "0.6", "0.5")
        assert (row["source"], list(row)) == ("fist.mp4", list(EVENT_COLUMNS))
    else:
        import openpyxl

        names, row = openpyxl.load_workbook(path)["events"].iter_rows(values_only=True)
        assert (names, row[:4]) == (tuple(EVENT_COLUMNS), ("fist.mp4", 1, "Fist", "gesture"))


def test_tables_have_angles_in_degrees(tmp_path):
    event = Event("left_hip_angle_rad", "repetition", "end", 0.0, 1.0, 1, None, math.pi / 3)
    for name in ("t.csv", "t.xlsx"):
        with FrameTable(str(tmp_path / name), Header(), {}, with_events=True, degrees=name == "t.csv") as table:
            table.write(Frame(0, 0.1, events=[event]), None)
    assert "left_hip_angle_deg,repetition,1,,0.0,1.0,1.0,60.0" in (tmp_path / "t.events.csv").read_text("utf-8")
    import openpyxl

    assert ("angles", "degrees") in [row[:2] for row in openpyxl.load_workbook(tmp_path / "t.xlsx")["run"].values]
