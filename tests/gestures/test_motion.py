"""Motions of hands on generated paths at several frame rates and with noise; other movement gives none."""

import csv
import importlib
import math

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.detectors.kinds import options_for
from sonjit.gestures import MotionRecognizer
from sonjit.media import load_frames, open_source
from sonjit.results import Frame, Hand
from sonjit.results.measures import hand_length_m
from sonjit.runs import Detect, convert_motions
from sonjit.runs.frame_tables import FrameTable

RATES = pytest.mark.parametrize("fps", [10, 30, 60])
NOISE = 0.01  # standard deviation of each coordinate, of the hand's length


@pytest.fixture(scope="module")
def poses(posed):
    return {name: posed(name) for name in ("open", "point", "pinch", "fist", "half")} | {
        "hanging": posed("relaxed", roll_deg=170)
    }


@pytest.fixture
def events_of(poses):
    """`events_of(seconds, fps, place, shape)`: the events of a hand on a path.

    `place(t)` is x, y in hand lengths; `shape(t)` the name of a pose, or two and how far it is from one to the other;
    `change(t, points)` changes the keypoints before that.
    """

    def events_of(
        seconds, fps, place=lambda _: (0, 0), shape=lambda _: "open", seed=0, scale=1.0, change=lambda *_: None
    ):
        length, metres = (float(hand_length_m(getattr(poses["open"], name))) for name in ("keypoints", "keypoints_3d"))
        rng, recognizer, events = np.random.default_rng(seed), MotionRecognizer(), []
        for index in range(round(seconds * fps)):
            time_s = index / fps
            shown = shape(time_s)
            first, second, share = (shown, shown, 0.0) if isinstance(shown, str) else shown
            hand = mixed(poses[first], poses[second], share)
            change(time_s, hand.keypoints)
            hand.keypoints += rng.normal(0, NOISE * length, (21, 3)) + np.array([*place(time_s), 0]) * length
            hand.keypoints *= np.float32(scale)
            hand.keypoints_3d += rng.normal(0, NOISE * metres, (21, 3))
            events += recognizer([hand], time_s)
        return events

    return events_of


def mixed(first, second, share):
    """Return a hand between two others, palm on palm."""
    mixed = []
    for name in ("keypoints", "keypoints_3d"):
        one, other = (getattr(hand, name).astype(np.float64) for hand in (first, second))
        palm, other_palm = (points[[0, 5, 9, 13, 17]].mean(0) for points in (one, other))
        mixed.append(palm + (one - palm) * (1 - share) + (other - other_palm) * share)
    return Hand("Right", 1.0, *mixed, id=7)


def steps(events):
    """Return the name and phases of each motion without progress events."""
    return [(event.name, event.phase) for event in events if event.phase != "progress"]


def smooth(t, start, seconds):
    """Return 0 before a movement, 1 after it, and a minimum-jerk transition between."""
    s = min(1.0, max(0.0, (t - start) / seconds))
    return s**3 * (10 - 15 * s + 6 * s * s)


@RATES
@pytest.mark.parametrize(
    ("name", "direction"), [("Right", (1, 0)), ("Down", (0, 1)), ("Left", (-1, 0.2)), ("Up", (0.2, -1))]
)
def test_swipes_are_reported_once_and_soon(events_of, name, direction, fps):
    events = events_of(1.6, fps, lambda t: np.multiply(direction, 1.8 * smooth(t, 0.47, 0.3)))
    assert steps(events) == [(f"Swipe_{name}", "begin"), (f"Swipe_{name}", "end")]
    assert events[-1].time <= 0.77 + max(0.1, 2 / fps)
    assert np.allclose(events[-1].moved, np.multiply(direction, 1.8), atol=0.25)
    assert (events[-1].id, events[-1].handedness) == (7, "Right")
    assert 0.5 <= events[-1].strength <= 1


@RATES
def test_going_back_is_no_swipe_but_a_later_one_is(events_of, fps):
    back = events_of(2, fps, lambda t: (1.8 * (smooth(t, 0.4, 0.3) - smooth(t, 0.9, 0.3)), 0))
    assert steps(back) == [("Swipe_Right", "begin"), ("Swipe_Right", "end")]
    later = events_of(3, fps, lambda t: (1.8 * (smooth(t, 0.4, 0.3) - smooth(t, 2.0, 0.3)), 0))
    assert steps(later)[2:] == [("Swipe_Left", "begin"), ("Swipe_Left", "end")]


@RATES
@pytest.mark.parametrize("hertz", [1.2, 2.0])
def test_waves_count_their_swings(events_of, fps, hertz):
    events = events_of(
        3.2, fps, lambda t: (0.35 * math.sin(2 * math.pi * hertz * max(0, min(t, 2.5) - 0.4)), 0), seed=1
    )
    assert steps(events) == [("Wave", "begin"), ("Wave", "end")]
    assert events[0].time <= 0.4 + 2.1 / hertz
    assert events[-1].time <= 2.5 + 0.5
    assert events[0].count == 3
    assert events[-1].count == pytest.approx(2 * hertz * 2.1, abs=1.5)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("height", "is_wave"), [(0.36, True), (0.24, False), (-0.36, False)])
def test_only_a_raised_hand_waves(events_of, poses, height, is_wave, side):
    """Turn the hand in the image until its fingertips are so many hand lengths above the wrist."""

    def turn(_, points):
        tips = points[[8, 12, 16, 20], :2].mean(0) - points[0, :2]
        wanted = math.atan2(-height * length, side * math.sqrt(tips @ tips - (height * length) ** 2))
        angle = wanted - math.atan2(tips[1], tips[0])
        axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        points[:, :2] = (points[:, :2] - points[0, :2]) @ axes + points[0, :2]

    length = float(hand_length_m(poses["open"].keypoints))
    events = events_of(3, 30, lambda t: (0.35 * math.sin(9 * max(0, t - 0.3)), 0), change=turn)
    assert ("Wave", "begin") in steps(events) if is_wave else "Wave" not in {event.name for event in events}


@RATES
@pytest.mark.parametrize(("name", "sign", "seconds"), [("Clockwise", 1, 0.8), ("Counterclockwise", -1, 1.6)])
def test_circles_have_a_direction_and_turns(events_of, fps, name, sign, seconds):
    def place(t):
        angle = sign * 2 * math.pi * min(max(0, t - 0.3) / seconds, 3)
        return 0.5 * math.cos(angle), 0.5 * math.sin(angle)

    events = events_of(0.3 + 3 * seconds + 0.8, fps, place, lambda _: "point", seed=2)
    assert steps(events) == [(f"Circle_{name}", "begin"), (f"Circle_{name}", "end")]
    assert events[0].time <= 0.3 + 1.25 * seconds
    assert events[-1].count == pytest.approx(3, abs=0.35)
    assert events[-1].strength == pytest.approx(0.5, abs=0.1)


@RATES
@pytest.mark.parametrize(("name", "pose"), [("Pinch", "pinch"), ("Drag", "fist")])
def test_pinches_and_drags_hold_until_the_hand_opens(events_of, fps, name, pose):
    def shape(t):
        return "open", pose, smooth(t, 0.3, 0.3) - smooth(t, 1.8, 0.3)

    events = events_of(2.5, fps, lambda t: (1.5 * smooth(t, 0.7, 1), 0), shape, seed=3)
    assert steps(events) == [(name, "begin"), (name, "end")]
    assert events[0].time < 0.61 + 0.1 + 1 / fps  # a frame later at most
    assert 1.8 <= events[-1].time <= 2.2
    assert events[-1].moved == pytest.approx((1.5, 0), abs=0.15)
    assert max(event.strength for event in events) >= 0.75


@RATES
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pinch_that_turns_is_a_rotation(events_of, fps, sign):
    def turn(t, points):
        angle, palm = sign * math.radians(70) * smooth(t, 0.8, 0.8), points[[0, 5, 9, 13, 17], :2].mean(0)
        axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        points[:, :2] = palm + (points[:, :2] - palm) @ axes.T

    shape = lambda t: ("open", "pinch", smooth(t, 0.2, 0.2) - smooth(t, 2.0, 0.2))  # noqa: E731
    events = events_of(2.5, fps, shape=shape, seed=5, change=turn)
    assert steps(events) == [("Pinch", "begin"), ("Rotate", "begin"), ("Pinch", "end"), ("Rotate", "end")]
    assert events[-1].count == pytest.approx(sign * 70 / 360, abs=0.03)


@RATES
def test_a_push_is_reported_once(events_of, fps):
    def grow(t, points):
        points -= points[9].copy()
        points *= 1 + 0.6 * (smooth(t, 0.5, 0.35) - smooth(t, 1.5, 0.5))

    events = events_of(2.5, fps, seed=6, change=grow)
    assert steps(events) == [("Push", "begin"), ("Push", "end")]
    assert events[-1].time <= 0.85 + 0.2
    assert events[-1].count >= 1.4


@pytest.fixture
def events_of_two(poses):
    """`events_of_two(seconds, fps, apart, pose)`: of two hands, `apart(t)` hand lengths; the left one may be lost."""

    def events_of_two(seconds, fps, apart, pose=lambda _: 0.0, lost=lambda _: False):
        rng, recognizer, events = np.random.default_rng(8), MotionRecognizer(), []
        for index in range(round(seconds * fps)):
            t, hands = index / fps, []
            for side, number in ((-1, 1), (1, 2)):
                hand = mixed(poses["open"], poses["pinch"], pose(t))
                length = hand_length_m(hand.keypoints)
                hand.id, hand.handedness = number, "Left" if side < 0 else "Right"
                hand.keypoints += rng.normal(0, NOISE * length, (21, 3))
                hand.keypoints[:, 0] += side * apart(t) / 2 * length
                hands += [hand] if side > 0 or not lost(t) else []
            events += recognizer(hands, t)
        return events

    return events_of_two


@RATES
def test_pinches_of_two_hands_zoom(events_of_two, fps):
    def pose(t):
        return smooth(t, 0.2, 0.2) - smooth(t, 2.0, 0.2)

    events = [
        event for event in events_of_two(3, fps, lambda t: 2 + 2 * smooth(t, 0.8, 1), pose) if event.name != "Pinch"
    ]
    assert steps(events) == [("Zoom", "begin"), ("Zoom", "end")]
    assert (events[-1].id, events[-1].count) == (1, pytest.approx(2, abs=0.1))


@RATES
@pytest.mark.parametrize("is_hidden", [False, True])
def test_claps_are_counted_and_no_swipes(events_of_two, fps, is_hidden):
    def apart(t):
        return 2.4 - 2.1 * sum(smooth(t, at, 0.2) - smooth(t, at + 0.25, 0.2) for at in (0.5, 1.5))

    events = events_of_two(2.5, fps, apart, lost=lambda t: is_hidden and apart(t) < 0.9)
    assert [step for step in steps(events) if step[1] != "cancel"] == [("Clap", "begin"), ("Clap", "end")] * 2
    slow = events_of_two(4, fps, lambda t: 2.4 - 2.1 * (smooth(t, 0.5, 1) - smooth(t, 2.2, 1)))
    assert slow == []


@RATES
def test_a_clap_cancels_the_swipes_that_its_hands_began(events_of_two, fps):
    events = events_of_two(1.5, fps, lambda t: 4.5 - 4.2 * smooth(t, 0.5, 0.35))
    swipes = {(event.name, event.id): event.phase for event in events if event.name.startswith("Swipe")}
    assert swipes == {("Swipe_Right", 1): "cancel", ("Swipe_Left", 2): "cancel"}
    assert ("Clap", "begin") in steps(events)


@pytest.mark.parametrize(("fps", "scale"), [(10, 0.3), (30, 1.0), (60, 0.3)])
def test_other_movement_gives_no_event(events_of, fps, scale):
    swing = 2 * math.pi * 0.9

    def wander(t):
        return sum(np.sin(t * np.array([0.31, 0.43]) * k + k) / k for k in (1, 2, 3)) * 1.5

    others = {
        "rest": (lambda _: (0, 0), "half"),
        "drift": (lambda t: (0.4 * t, -0.2 * t), "open"),
        "wandering": (wander, "half"),
        "walking": (lambda t: (1.2 * math.sin(swing * t), 0.25 * math.cos(2 * swing * t)), "hanging"),
        "walking with a fist": (lambda t: (0.9 * math.sin(swing * t), 0.2 * math.cos(2 * swing * t)), "fist"),
        "a fist goes round": (lambda t: (0.5 * math.cos(2 * math.pi * t), 0.5 * math.sin(2 * math.pi * t)), "fist"),
        "reaching": (lambda t: (2.2 * (smooth(t, 1, 0.9) - smooth(t, 3, 0.9)), -smooth(t, 1, 0.9)), "half"),
    }
    for name, (place, pose) in others.items():
        assert steps(events_of(4, fps, place, lambda _, pose=pose: pose, seed=4, scale=scale)) == [], name
    closing = {
        "a pointing hand becomes a fist": ("point", "fist", 0.4),
        "a fist loosens to a pinch": ("fist", "pinch", 0.4),
        "a hand turns a thing that it holds": ("half", "pinch", 3),
    }
    for name, (first, second, seconds) in closing.items():
        shown = lambda t, ends=(first, second), seconds=seconds: (*ends, smooth(t, 0.3, seconds))  # noqa: E731
        assert steps(events_of(4, fps, shape=shown, seed=4, scale=scale)) == [], name


def test_lost_hands_cancel_what_they_began(poses):
    recognizer = MotionRecognizer(forget_s=0.3)
    hands = {name: mixed(poses[name], poses[name], 0) for name in ("open", "fist")}
    shown = [hands["open"], hands["open"], *[hands["fist"]] * 6]
    events = [one for index, hand in enumerate(shown) for one in recognizer([hand], index / 30)]
    assert steps(events) == [("Drag", "begin")]
    assert recognizer([], 0.4) == []
    assert steps(recognizer([], 0.6)) == [("Drag", "cancel")]
    assert recognizer([], 2.0) == []
    recognizer.reset()
    events = [one for index, hand in enumerate(shown) for one in recognizer([hand], index / 30)]
    assert steps(events + recognizer.finish()) == [("Drag", "begin"), ("Drag", "cancel")]


def test_invalid_values_are_refused(poses):
    still = mixed(poses["open"], poses["open"], 0)
    still.id = None
    recognizer = MotionRecognizer()
    for hands, time_s in (([still], 0.0), ([], None)):
        with pytest.raises(InputError, match="video or camera"):
            recognizer(hands, time_s)
    recognizer([], 1.0)
    with pytest.raises(InputError, match="time runs backwards"):
        recognizer([], 0.5)
    recognizer.reset()
    assert recognizer([], 0.5) == []
    assert recognizer.finish() == []
    with pytest.raises(InputError, match="forget_s=0"):
        MotionRecognizer(forget_s=0)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_tables_of_frames_have_their_motions(events_of, write_video, tmp_path, ending):
    """Check JSON with motions in its frames, and other tables with a second file, also if gestures are added later."""
    events = events_of(1.6, 30, lambda t: (1.8 * smooth(t, 0.47, 0.3), 0))
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    write_video(tmp_path / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2)
    with open_source(tmp_path / "clip.mp4") as source:
        for name, options in (("with", {"gestures": "canned"}), ("without", {})):
            detect = Detect(options_for("hands", **options))
            path = str(tmp_path / f"{name}{ending}")
            with FrameTable(path, detect.header(source), detect.columns, with_motions=detect.has_gestures) as table:
                table.write(Frame(4, events[0].time, motions=events), [])
    others = {path.name for path in tmp_path.iterdir()} - {"clip.mp4", f"with{ending}", f"without{ending}"}
    if ending == ".jsonl":
        (frame,) = load_frames(tmp_path / "with.jsonl")[1]
        assert [motion.to_dict() for motion in frame.motions] == [event.to_dict() for event in events]
        assert others == set()
        convert_motions(tmp_path / "with.jsonl", tmp_path / "with.motions.csv")
    else:
        assert others == {f"with.motions{ending}", f"with.events{ending}"}
    if ending != ".parquet":
        rows = list(csv.DictReader((tmp_path / "with.motions.csv").read_text("utf-8").splitlines()))
    else:
        rows = importlib.import_module("pyarrow.parquet").read_table(tmp_path / "with.motions.parquet").to_pylist()
    assert [(int(row["frame"]), row["phase"]) for row in rows] == [(4, event.phase) for event in events]
    np.testing.assert_allclose([float(row["moved_x"]) for row in rows], [event.moved[0] for event in events], atol=1e-3)


@pytest.mark.parametrize("down", [0.0, 0.35])
def test_a_wave_goes_sideways(events_of, down):
    def place(t):
        swing = math.sin(2 * math.pi * 1.5 * max(0, min(t, 2.5) - 0.4))
        return 0.35 * swing, down * swing

    names = {event.name for event in events_of(3.2, 30, place, seed=1)}
    assert names == (set() if down else {"Wave"})


def back(t, start, seconds, end):
    """Return 0, 1 between two movements, and 0 again."""
    return smooth(t, start, seconds) - smooth(t, end, seconds)
