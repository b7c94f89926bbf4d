import math

import numpy as np
import pytest

from sonjit.errors import InputError
from sonjit.measures import GESTURES, Gesture, GestureSmoother, gesture_of, gesture_scores

FINGERS_OUT = {
    "11111": "open",
    "00000": "fist",
    "01000": "point",
    "01100": "victory",
    "01110": "three",
    "11100": "three",
    "01111": "four",
    "10001": "call_me",
    "11001": "i_love_you",
    "01001": "none",
    "00010": "none",
    "00110": "none",
}


@pytest.mark.parametrize("handedness", ["Left", "Right"])
@pytest.mark.parametrize("out", FINGERS_OUT)
@pytest.mark.parametrize("turned_rad", [0.0, 1.0, math.pi])
def test_fingers_that_are_out_say_the_gesture(out, handedness, turned_rad, made):
    assert gesture_of(made.hand_with(out, handedness, turned_rad)).name == FINGERS_OUT[out]


@pytest.mark.parametrize("handedness", ["Left", "Right"])
def test_thumb_says_up_down_and_nothing_by_its_direction(handedness, made):
    names = [gesture_of(made.hand_with("10000", handedness, math.radians(a))).name for a in range(-180, 180, 5)]
    assert set(names) == {"thumb_up", "thumb_down", "none"}
    # 66 degrees from up to the thumb's rest direction
    tilts = [abs((66 + a + 180) % 360 - 180) for a in range(-180, 180, 5)]
    for name, tilt in zip(names, tilts, strict=True):
        if tilt < 35:
            assert name == "thumb_up"
        if 55 < tilt < 125:
            assert name == "none"
        if tilt > 145:
            assert name == "thumb_down"


def test_closed_ring_is_ok_and_a_grip_is_not(made):
    hand = made.hand_with("11111")
    hand.keypoints_3d[8] = hand.keypoints_3d[4] + np.float32(0.01)
    assert gesture_of(hand).name == "ok"
    hand.keypoints_3d[12] = hand.keypoints_3d[8]
    assert gesture_of(hand).name == "none"


@pytest.mark.slow
def test_scores_are_smooth_and_exclusive(made):
    before = None
    for part in np.linspace(0, 1, 200):
        hand = made.hand_with("01000")
        curled = made.hand_with("00000")
        hand.keypoints_3d = ((1 - part) * hand.keypoints_3d + part * curled.keypoints_3d).astype(np.float32)
        scores = gesture_scores(hand)
        assert sum(score > 0.5 for score in scores.values()) <= 1
        if before:
            assert max(abs(scores[name] - before[name]) for name in scores) < 0.1
        before = scores
    assert set(scores) | {"none"} == set(GESTURES)


def test_unknown_points_say_none(made):
    hand = made.hand_with("11111")
    hand.keypoints_3d = np.full((21, 3), np.nan, np.float32)
    assert gesture_of(hand).name == "none"


def run(names, fps=30, **options):
    smoother = GestureSmoother(**options)
    return [smoother.update(1, Gesture(name, 1.0), i / fps).name for i, name in enumerate(names)]


@pytest.mark.parametrize("fps", [15, 30, 60, 120])
def test_change_takes_the_stated_time(fps):
    names = run(["open"] * fps + ["fist"] * fps, fps)
    assert names[:fps] == ["open"] * fps
    assert abs((names.index("fist") - fps + 1) / fps - 0.15) <= 1 / fps


def test_odd_frames_change_nothing():
    names = ["open"] * 300
    names[7::10] = ["fist"] * len(names[7::10])
    assert set(run(names)) == {"open"}
    assert len(set(run(["open", "open", "fist"] * 100)[30:])) == 1


def test_hands_do_not_mix_and_are_forgotten(made):
    smoother = GestureSmoother(forget_s=0.5)
    left, right = made.hand_with("00000", "Left", id=1), made.hand_with("11111", id=2)
    for i in range(30):
        assert [g.name for g in smoother([left, right], i / 30)] == ["fist", "open"]
    smoother([left], 2.0)
    assert len(smoother) == 1
    for id in range(3, 5000):
        smoother.update(id, Gesture("open", 1.0), 2 + id * 0.05)
    assert len(smoother) <= 11
    smoother.reset()
    assert len(smoother) == 0


def test_hand_without_id_is_its_own(made):
    smoother = GestureSmoother()
    assert smoother([made.hand_with("00000")], 0.0) == [gesture_of(made.hand_with("00000"))]
    assert len(smoother) == 0


def test_wrong_calls_are_told():
    with pytest.raises(InputError, match="settle_s"):
        GestureSmoother(settle_s=0)
    smoother = GestureSmoother()
    smoother.update(1, Gesture("open", 1.0), 1.0)
    with pytest.raises(InputError, match="backwards"):
        smoother.update(1, Gesture("open", 1.0), 0.5)


@pytest.mark.slow
def test_demo_clip_gestures(hands, demo_clip):
    """Frames in the middle of plain stretches of the clip, as benchmarks/gestures.py lists them."""
    _, frames, _ = demo_clip
    wanted = {50: {"Right": "point"}, 80: {"Right": "victory"}, 110: {"Right": "three", "Left": "open"}}
    wanted |= {137: {"Right": "four", "Left": "fist"}, 240: {"Left": "i_love_you"}, 280: {"Left": "point"}}
    detector = hands(max_instances=2)
    for index, frame in enumerate(frames[:281]):
        found = detector.detect(frame, time=index / 30)
        named = {hand.handedness: gesture_of(hand).name for hand in found}
        for side, name in wanted.get(index, {}).items():
            assert named[side] == name, index
