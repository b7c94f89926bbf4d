"""Python answers the shared cases of `src/sonjit/spec/cases` as they state. `node --test` runs the same for `web/`."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import sonjit
from sonjit import Body, Face, Hand, InputError
from sonjit.detectors.smoothing import OneEuro
from sonjit.geometry.cameras import assumed_camera
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.gestures import CustomMotions, GestureSmoother, MotionRecognizer
from sonjit.media.tables.characters import BONES
from sonjit.media.tables.characters.fit import Track, fit_motion
from sonjit.results import Frame, Gesture, MotionEvent
from sonjit.results.measures import RepetitionCounter
from sonjit.runs import EventLimits, EventTracker

FOLDER = Path(sonjit.__file__).parent / "spec" / "cases"


def spec(name):
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def cases(name, part="cases"):
    """Mark a test to run once for each case of a file."""
    return pytest.mark.parametrize("case", spec(name)[part], ids=lambda case: case.get("name", case.get("text")))


def numbers(values):
    return np.array([math.nan if value is None else value for value in values], float)


def smoothed(case):
    one_euro, rows = OneEuro(), []
    for time, *values in case["frames"]:
        given = numbers(values).astype(np.float32)
        rows.append(one_euro(given[None], time=time, scale=case["scale"])[0].tolist())
    return rows


@cases("smoothing")
def test_values_are_smoothed(case):
    np.testing.assert_allclose(smoothed(case), [numbers(row) for row in case["expected"]], atol=2e-3)


def repetitions(case):
    """Return the count, and begin, end and lowest angle of the last repetition."""
    counter = RepetitionCounter(case["low"], case["high"])
    for index, value in enumerate(numbers(case["values"])):
        counter.update(value, case["times"][index] if "times" in case else index / case["fps"])
    last = counter.last
    return {"count": counter.count, "last": last and [last.begin_s, last.end_s, last.lowest_rad]}


@cases("repetitions")
def test_repetitions_are_counted(case):
    found, expected = repetitions(case), case["expected"]
    assert found["count"] == expected["count"]
    assert found["last"] == (expected["last"] and pytest.approx(expected["last"], abs=1e-3))


def gestures(case):
    """Return the smoothed name and score of each frame."""
    smoother, rows = GestureSmoother(), []
    for time, name, score in case["frames"]:
        rows.append(smoother.update(1, None if name is None else Gesture(name, score), time))
    return [[None, None] if one is None else [one.name, one.score] for one in rows]


@cases("gestures")
def test_gestures_are_smoothed(case):
    for found, expected in zip(gestures(case), case["expected"], strict=True):
        assert found == [expected[0], expected[1] and pytest.approx(expected[1], abs=1e-3)]


def instance_of(one):
    """Return a hand with a gesture, a body whose left elbow has an angle in degrees, or a face."""
    id, side = one.get("id", 1), one.get("side", "Right")
    if "elbow" in one:
        points = np.array([[0.1 * k, 0.05 * k * k, 0.02 * k] for k in range(33)], np.float32)
        angle = math.nan if one["elbow"] is None else math.radians(one["elbow"])
        points[[13, 11]] = (0, 0, 0), (0.3, 0, 0)
        points[15] = (0.3 * math.cos(angle), 0.3 * math.sin(angle), 0)
        return Body(1.0, points, points, np.ones(33, np.float32), np.ones(33, np.float32), id=id)
    if one.get("face"):
        return Face(1.0, np.zeros((478, 3), np.float32), id=id)
    points = np.zeros((21, 3), np.float32)
    return Hand(side, 1.0, points, points, id=id, gesture=one.get("gesture") and Gesture(*one["gesture"]))


def frames_of(case):
    """Yield time, instances and motions of each frame of the runs, [number, content]. `at` sets the clock."""
    time = 0.0
    for count, content in case["runs"]:
        time = content.get("at", time)
        for _ in range(count):
            yield content.get("time", time), content.get("instances", []), content.get("motions", [])
            time += 1 / case["fps"]


def events(case):
    """Return the events with the numbers of their frames, and those of the end of the stream with -1."""
    tracker, rows = EventTracker([EventLimits.from_text(text, case["kind"]) for text in case.get("limits", [])]), []
    for index, (time, instances, motions) in enumerate(frames_of(case)):
        time = {"nan": math.nan, "inf": math.inf}.get(time, time)
        moved = [MotionEvent(*motion, 1, "Right", time, strength, (0.0, 0.0), 0.0) for *motion, strength in motions]
        frame = Frame.from_results(index, time, [instance_of(one) for one in instances])
        frame.motions = moved
        rows += [(index, event) for event in tracker(frame)]
    rows += [(-1, event) for event in tracker.finish()]
    keys = ("name", "type", "phase", "id", "handedness", "begin", "end", "value")
    return [[index, *(getattr(event, key) for key in keys)] for index, event in rows]


@cases("events")
def test_events_begin_and_end(case):
    found = events(case)
    assert [row[:6] for row in found] == [row[:6] for row in case["expected"]]
    times = [[math.nan if value is None else value for value in row[6:]] for row in found]
    np.testing.assert_allclose(
        np.reshape(times, (-1, 3)), np.reshape([numbers(row[6:]) for row in case["expected"]], (-1, 3)), atol=2e-3
    )


@cases("events", "limits")
def test_limits_are_read(case):
    if "error" in case:
        with pytest.raises(InputError) as refused:
            EventLimits.from_text(case["text"], case["kind"])
        assert case["error"] in str(refused.value)
        return
    limits = EventLimits.from_text(case["text"], case["kind"])
    assert limits.measure == case["measure"]
    assert [limits.begin, limits.end] == pytest.approx(case["limits"], abs=1e-4)


SHAPES = {name: np.array(shape) for name, shape in spec("motions")["shapes"].items()}
PX, CENTRE_PX, LENGTH_M = 100, (320, 240), 0.18


def hand_at(hand, time):
    """Return a hand on its path at a time, or None where it is lost."""
    if any(begin <= time < end for begin, end in hand.get("lost", [])):
        return None
    path = hand["path"]
    shape = SHAPES[[row[3] for row in path if row[0] <= time][-1]] * (-1 if hand["side"] == "Left" else 1, 1, 1)
    x, y, size, turn = (np.interp(time, [row[0] for row in path], [row[k] for row in path]) for k in (1, 2, 4, 5))
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned = size * shape @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    image = (PX * (turned + np.array([x, y, 0])) + np.array([*CENTRE_PX, 0])).astype(np.float32)
    for begin, end, keypoint in hand.get("unknown", []):
        if begin <= time < end:
            image[keypoint] = math.nan
    return Hand(hand["side"], 1.0, image, (LENGTH_M * shape).astype(np.float32), id=hand["id"])


def motions(case):
    """Return the steps except "progress", and those of the end of the stream, with name, phase, side and time."""
    custom = None
    if "custom" in case:
        steps = np.array(case["custom"]["steps"], np.float16)
        custom = CustomMotions((case["custom"]["name"],), (steps,), np.array([0]), np.array([case["custom"]["reach"]]))
    recognizer, steps = MotionRecognizer(custom=custom), []
    for time in (
        case["times"] if "times" in case else [k / case["fps"] for k in range(round(case["fps"] * case["seconds"]) + 1)]
    ):
        hands = [hand for one in case["hands"] if (hand := hand_at(one, time)) is not None]
        steps += recognizer(hands, time)
    steps += recognizer.finish()
    return [
        [one.name, one.phase, one.handedness, one.time, one.strength, *one.moved, one.count]
        for one in steps
        if one.phase != "progress"
    ]


@cases("motions")
def test_motions_begin_and_end(case):
    found, expected = motions(case), case["expected"]
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    np.testing.assert_allclose(
        np.reshape([row[3:] for row in found], (-1, 5)), np.reshape([row[3:] for row in expected], (-1, 5)), atol=5e-3
    )


SIZE, AWAY_M = (640, 480), np.array([0, 0, 3.0])


@cases("characters")
def test_bones_of_one_frame_follow_the_keypoints(case):
    body, presence = np.array(case["body"])[None], np.ones((1, 33))
    presence[0, case["hidden"]] = 0.1
    pixels = assumed_camera(*SIZE).project(body + AWAY_M)
    left, right = (
        np.full((21, 3), np.nan) if case[side] is None else np.array(case[side]) for side in ("left", "right")
    )
    track = Track(np.array([0]), np.zeros(1), body, pixels, presence, (left[None], right[None]))
    found = np.roll(quaternion_wxyz_from_matrix(fit_motion("person", track, 1, SIZE).rotations[0]), -1, 1)
    expected = [case["expected"].get(bone, [0, 0, 0, 1]) for bone in BONES]
    np.testing.assert_allclose(found * np.where(found[:, 3:] < 0, -1, 1), expected, atol=3e-3)
