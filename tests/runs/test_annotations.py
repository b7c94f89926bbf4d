"""Names of measures and limits, events of a stored stream, and the columns and labels of instances."""

import math
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from sonjit import InputError
from sonjit.results import EventType, Frame
from sonjit.results.measures import DISTANCE_COLUMNS, TRANSFORM_COLUMNS, measure_names
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs import AngleLimits, EventLimits, EventTracker, annotate, count_columns, table_columns
from sonjit.runs.events.repetition import RepetitionCounts

from ..support.scripted import FPS, body, face, hand, motion  # noqa: TID252  # one helper for all packages
from ..support.stored import assert_as_stored  # noqa: TID252

BOX = ["x_min", "y_min", "x_max", "y_max"]
GESTURE = ["gesture", "gesture_score"]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("left_elbow_angle_rad:180:90", "body", ("left_elbow_angle_rad", math.pi, math.pi / 2)),
        ("Left-Elbow:0:90", "body", ("left_elbow_angle_rad", 0, math.pi / 2)),
        ("left_elbow_angle_deg:0:90", "body", ("left_elbow_angle_rad", 0, math.pi / 2)),
        ("left_elbow_angle_2d:0:90", "body", ("left_elbow_angle_2d_rad", 0, math.pi / 2)),
        ("index_reach:0.5:0.25", "hands", ("index_reach", 0.5, 0.25)),
        ("index_reach:-3:2", "holistic", ("index_reach", -3, 2)),
    ],
)
def test_limits_are_those_of_the_text_in_the_unit_of_the_measure(text, kind, expected):
    limits = EventLimits.from_text(text, kind)
    assert (limits.measure, limits.begin, limits.end) == pytest.approx(expected)
    assert EventLimits.from_text(limits.text, kind) == limits
    assert limits.text == f"{expected[0]}:{text.partition(':')[2]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left_elbow:1:inf", "give two different limits"),
        ("left_elbow:nan:1", "give two different limits"),
        ("left_elbow:1:2:3", "write NAME:BEGIN:END, with limits of angles in degrees"),
        (
            "pinch:1:2",
            "unknown measure 'pinch'. Choose from pinch_index_m, pinch_middle_m, pinch_ring_m, pinch_pinky_m",
        ),
        (
            "reach:1:2",
            "unknown measure 'reach'. Choose from thumb_reach, index_reach, middle_reach, ring_reach, pinky_",
        ),
        (
            "pinhc_index_m:1:2",
            "unknown measure 'pinhc_index_m'. Choose from pinch_index_m, pinch_ring_m, pinch_pinky_m",
        ),
        (
            "zz:1:2",
            "unknown measure 'zz'. Choose from head_yaw_rad, head_pitch_rad, head_roll_rad, left_eye_openness, ",
        ),
    ],
)
def test_limits_that_are_refused_name_those_that_are_near(text, message):
    kind = "body" if text.startswith("left") else "face" if text.startswith("zz") else "hands"
    with pytest.raises(InputError) as refused:
        EventLimits.from_text(text, kind)
    assert str(refused.value).startswith(f"events {text}: {message}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("elbow", "left_elbow, right_elbow, left_elbow_angle_2d, right_elbow_angle_2d, symmetry_elbow"),
        ("left_elbo_angle_rad", "left_elbow, left_elbow_angle_2d, left_knee"),
        ("left_wrist", "left_wrist_flexion, left_wrist_deviation"),
    ],
)
def test_angles_that_are_near_are_named_as_users_write_them(text, names):
    with pytest.raises(InputError) as refused:
        AngleLimits.from_text(text, "body")
    assert str(refused.value) == f"--count {text}: unknown angle {text!r}. Choose from {names}"


def test_each_counted_angle_has_a_column():
    elbow, knee = AngleLimits("left_elbow_angle_rad"), AngleLimits("left_knee_angle_rad", 1, 2)
    assert count_columns([]) == {}
    assert count_columns([elbow]) == {"repetitions": elbow}
    assert count_columns([elbow, knee]) == {
        "repetitions_left_elbow_angle": elbow, "repetitions_left_knee_angle": knee
    }  # fmt: skip
    with pytest.raises(InputError, match="name each angle once"):
        count_columns([elbow, elbow])


OPTIONS = SimpleNamespace(blendshapes=True, transform=False, distance=True)


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("hands-full", {}, []),
        ("hands-full", {"gestures": True}, GESTURE),
        ("hands-lite+internet", {"measures": True}, [*GESTURE, *measure_names("hand")]),
        ("hands-full", {"counts": ["b", "a"], "options": OPTIONS}, ["b", "a", *BLENDSHAPES, *DISTANCE_COLUMNS]),
        ("face-mesh", {"gestures": True, "options": SimpleNamespace(transform=True)}, [*TRANSFORM_COLUMNS]),
        ("face-attention", {"measures": True}, [*measure_names("face")]),
        ("face-box", {"measures": True, "counts": ["a"]}, [*BOX, "a"]),
        ("body-full", {"measures": True, "gestures": True}, [*measure_names("body")]),
        ("holistic-lite", {"gestures": True}, GESTURE),
    ],
)
def test_a_table_has_the_columns_of_its_model_and_options(model, settings, expected):
    columns = table_columns(model, **({"measures": False} | settings))
    assert [*columns] == expected
    for name, kind in columns.items():
        assert kind is (str if name == "gesture" else int if name in ("a", "b") else float)


def stream():
    """Yield frames of hands, bodies, motions and a clock that steps back, with gestures and angles of a script."""
    rng, time_s, angle = np.random.default_rng(5), 3.0, 90.0
    names = (None, "Fist", "Victory", None)
    for index in range(260):
        time_s += float(rng.choice([0.03, 0.05, 0.08])) - 2 * (index == 200) - 0.2 * (index % 50 == 49)
        angle = 90 + 70 * math.sin(index / 9) + 8 * math.sin(index / 2)
        part = index // 10 % 14
        shown = [names[(index // (7 + side)) % 4] if part != 3 else names[index % 4] for side in (0, 1)]
        hands = [
            hand(side, id=k + 1, gesture=shown[k] and (shown[k], 0.5 + index % 37 / 100), seed=1 + index // 6)
            for k, side in enumerate(("Right", "Left"))
            if part != 6 + k and not (part == 10 and index % 5 < 2 + k)
        ]
        bodies = [body(angle), body(180 - angle, id=5)][: part % 3 if index % 60 < 45 else 2]
        phases = {3: "begin", 4: "progress", 9: "end", 12: "begin", 13: "begin", 16: "cancel", 19: "end"}
        motions = [
            motion(phases[step], time_s, name=name, id=k + 1, side=side, strength=0.25 + index % 11 / 20)
            for k, (name, side) in enumerate((("Wave", "Right"), ("Clap", "Left")))
            if (step := (index + 5 * k) % 23) in phases
        ]
        yield Frame(index, time_s, hands, bodies=bodies, motions=motions)


def test_the_events_of_a_stream_are_as_stored():
    texts = ["left_elbow:60:120", "left_elbow:120:60", "left_elbow:30:31"]
    limits = [EventLimits.from_text(text, "body") for text in texts]
    limits += [EventLimits.from_text(text, "hands") for text in ("index_reach:0.5:0.3", "palm_facing:-0.2:0.2")]
    tracker, found = EventTracker(limits), []
    counts = RepetitionCounts(AngleLimits.from_text("left_elbow:50:130", "body"), AngleLimits("left_knee_angle_rad"))
    for frame in stream():
        found += [(frame.index, event) for event in (*tracker(frame), *counts.update(frame))]
    counted = [counts.counts(one) for one in (body(), body(id=5), body(id=6), hand())]
    assert {event.type for _, event in found} == {*get_args(EventType)}
    assert_as_stored("events.stream", [found, tracker.finish(), counted, counts.summary()], relative=2e-3)


@pytest.mark.parametrize(
    ("angles_deg", "expected"),  # phase, index of the frame, index of the begin or end, and extreme angle
    [
        ((50, 40, 40, 40, 90, 90, 90), [("begin", 2, 0, 40), ("end", 6, 4, 40)]),
        ((59, 59, 59, 70, 45, 70, 85, 85, 85), [("begin", 2, 0, 59), ("end", 8, 6, 45)]),
        ((65, 65, 65, 65), []),
        ((59, 59, 59, 75, 75, 75), [("begin", 2, 0, 59)]),
        ((30, 90, 90, 59, 50, 55), [("begin", 5, 3, 50)]),
        ((59, 59, 59, 85, 59, 85, 85, 85), [("begin", 2, 0, 59), ("end", 7, 5, 59)]),
    ],
)
@pytest.mark.parametrize("is_above", [False, True])
def test_a_measure_passes_a_limit_where_it_stays_beyond_it(angles_deg, expected, is_above):
    low, high = math.radians(60), math.radians(80)
    limits = EventLimits("left_elbow_angle_rad", *((high, low) if is_above else (low, high)))
    tracker, found = EventTracker([limits]), []
    for index, angle in enumerate(angles_deg):
        frame = Frame(index, index / FPS, bodies=[body(140 - angle if is_above else angle)])
        for event in tracker(frame):
            time_s = event.begin if event.phase == "begin" else event.end
            angle = math.degrees(event.value)
            found.append((event.phase, index, round(time_s * FPS), round(140 - angle if is_above else angle)))
    assert found == expected


def test_annotations_have_values_by_column_and_labels():
    frame = Frame(
        0,
        0.5,
        [hand(gesture=("Thumb_Up", 0.876), distance_m=0.625, distance_error_m=0.0625), hand("Left", id=None, seed=2)],
        bodies=[body()],
        faces=[face(transform=np.arange(16, dtype=np.float32).reshape(4, 4))],
    )
    owners = [instance for _, instance in frame.instances()]
    frame.measures = [
        {"repetitions_left_elbow_angle": k, "repetitions": 1, "reach": 0.5} if owner.kind == "body" else {}
        for k, owner in enumerate(owners)
    ]
    columns = {**table_columns("face-box", measures=False, gestures=True), "gesture": str, "gesture_score": float}
    columns |= dict.fromkeys(["distance_m", "distance_error_m", "transform23", "repetitions", "palm_facing"], float)
    plain = annotate(frame, {})
    without = annotate(frame, columns, gestures=False)
    assert plain.extras is None
    assert_as_stored("annotations", [annotate(frame, columns), plain.notes, without.notes], relative=1e-3)


def test_repetitions_are_stated_with_their_instance_or_the_range_of_the_angle():
    limits = AngleLimits("left_elbow_angle_rad", math.radians(60), math.radians(120))
    counts, other = RepetitionCounts(limits), RepetitionCounts(limits)
    name = "left_elbow_angle_rad"
    assert counts.summary() == [f"0 repetitions of {name}"]
    unknown = body()
    unknown.keypoints_3d[:] = np.nan
    counts.update(Frame(0, 0.0, bodies=[unknown]))
    assert counts.summary() == [f"0 repetitions of {name}. Its keypoints were never visible"]
    for index, angle_deg in enumerate((70, 61, 119, 80)):
        counts.update(Frame(index, index / 10, bodies=[body(angle_deg)]))
    assert counts.summary() == [f"0 repetitions of {name}. It was 61 to 119 degrees, the limits are 60 and 120"]
    for index in range(100):
        bodies = [body(130 if index // 10 % 2 else 50), body(130 if index // 20 % 2 else 50, id=7), body(90, id=8)]
        other.update(Frame(index, index / 10, bodies=bodies))
    assert other.summary() == [f"4 repetitions of {name} by body #4", f"1 repetition of {name} by body #7"]


def test_each_kind_of_instance_has_its_counted_angles():
    counts = RepetitionCounts(AngleLimits("left_elbow_angle_rad"), AngleLimits("index_curl_rad"))
    counts.update(Frame(0, 0.5, [hand()], bodies=[body()]))
    assert counts.counts(hand()) == {"repetitions_index_curl": 0}
    assert counts.counts(body()) == {"repetitions_left_elbow_angle": 0}
