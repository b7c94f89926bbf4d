"""Gestures change only after another gesture has been clearly more probable for some time."""

import math

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import Gesture, GestureSmoother, gesture_of
from sonjit.results import Hand


def run(names, fps=30, **options):
    smoother = GestureSmoother(**options)
    smoothed = [smoother.update(1, name and Gesture(name, 1.0), i / fps) for i, name in enumerate(names)]
    return [one and one.name for one in smoothed]


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


def hand(id=None):
    points = np.random.default_rng(id or 0).normal(size=(21, 3)).astype(np.float32)
    return Hand("Left", 1.0, points, points, id=id)


def test_hands_do_not_mix_and_are_forgotten():
    smoother = GestureSmoother(forget_s=0.5, classify=lambda one: Gesture("fist" if one.id == 1 else "open", 1.0))
    for i in range(30):
        assert [g.name for g in smoother([hand(1), hand(2)], i / 30)] == ["fist", "open"]
    smoother([hand(1)], 2.0)
    assert len(smoother) == 1
    for id in range(3, 5000):
        smoother.update(id, Gesture("open", 1.0), 2 + id * 0.05)
    assert len(smoother) <= 11
    smoother.reset()
    assert len(smoother) == 0


def test_a_gesture_ends_when_there_is_none_for_a_while():
    names = run(["fist"] * 30 + [None] * 30)
    assert names[:30] == ["fist"] * 30
    assert abs((names.index(None) - 29) / 30 - 0.15) <= 1 / 30


def test_no_gesture_has_less_than_the_least_score():
    smoother = GestureSmoother()
    pattern = [("fist", 0.7), ("open", 0.5), None, ("three", 0.6), None, ("fist", 0.46), None, None] * 20
    steady = [smoother.update(1, item and Gesture(*item), i / 30) for i, item in enumerate(pattern)]
    assert min(gesture.score for gesture in steady if gesture) >= 0.45


def test_wrong_calls_are_refused():
    for wrong in ({"settle_s": 0}, {"forget_s": 0}, {"margin": 1}, {"margin": -0.01}):
        with pytest.raises(InputError, match="GestureSmoother needs settle_s"):
            GestureSmoother(**wrong)
    GestureSmoother(settle_s=0.01, forget_s=0.01, margin=0)
    smoother = GestureSmoother()
    smoother.update(1, Gesture("open", 1.0), 1.0)
    with pytest.raises(InputError, match="backwards"):
        smoother.update(1, Gesture("open", 1.0), 0.5)


def test_shares_follow_the_scores_with_a_time_constant():
    smoother = GestureSmoother(settle_s=math.log(2 / 0.9), forget_s=9)  # the time constant is a second
    keep = {seconds: math.exp(-seconds) for seconds in (0.2, 0.5, 1.0, 1.5)}
    opened = 0.6 * (1 - keep[0.5]) * keep[1.0] + 0.8 * (1 - keep[1.0])
    last = opened * keep[1.5] + 0.7 * (1 - keep[1.0])
    seen = [
        ((0.0, "fist", 0.9), ("fist", 0.9)),
        ((0.5, "open", 0.6), ("fist", 0.9 * keep[0.5])),
        ((1.5, "open", 0.8), ("open", opened)),
        ((1.7, None, 1.0), ("open", opened * keep[0.2])),
        ((2.0, None, 1.0), None),  # "no gesture" leads by less than the margin
        ((3.0, "open", 0.7), ("open", last)),
    ]
    for (time_s, name, score), shown in seen:
        given = smoother.update(5, name and Gesture(name, score), time_s)
        assert given == (shown and Gesture(shown[0], pytest.approx(shown[1])))


def test_hands_without_an_id_are_not_smoothed():
    smoother = GestureSmoother(classify=lambda one: Gesture("fist", one.score))
    assert [smoother([hand()], time_s)[0].score for time_s in (0.0, 0.0, 0.1)] == [1, 1, 1]
    assert len(smoother) == 0


def test_a_frame_at_the_same_time_changes_nothing():
    smoother = GestureSmoother()
    smoother.update(1, Gesture("fist", 0.9), 1.0)
    assert smoother.update(1, Gesture("open", 1.0), 1.0) == Gesture("fist", 0.9)


def test_sides_and_ids_are_apart():
    """Let hands with neighbouring ids make a gesture of their own each."""
    points = np.zeros((21, 3), np.float32)
    hands = [Hand(side, 0.9, points, points, id=id) for id in range(4) for side in ("Left", "Right")]
    smoother = GestureSmoother(classify=lambda one: Gesture(f"{one.handedness}{one.id}", 1.0))
    for time_s in (0.0, 0.1):
        assert [given.name for given in smoother(hands, time_s)] == [f"{one.handedness}{one.id}" for one in hands]
    assert len(smoother) == 8


@pytest.mark.slow
def test_gestures_of_the_demo_clip(hands, demo_clip):
    """Check frames in the middle of unambiguous parts of the clip."""
    _, frames, _ = demo_clip
    expected = {50: {"Right": "Pointing_Up"}, 80: {"Right": "Victory"}, 110: {"Right": "Three", "Left": "Open_Palm"}}
    expected |= {137: {"Left": "Closed_Fist"}, 240: {"Left": "ILoveYou"}, 280: {"Left": "Pointing_Up"}}
    detector = hands(max_instances=2)
    for index, frame in enumerate(frames[:281]):
        found = detector.detect(frame, time=index / 30)
        for hand in found:
            if name := expected.get(index, {}).get(hand.handedness):
                gesture = gesture_of(hand)
                assert gesture is not None, (index, name)
                assert gesture.name == name, index


def test_both_hands_of_a_person_have_gestures_of_their_own():
    points = np.zeros((21, 3), np.float32)
    left, right = (Hand(side, 0.9, points, points, id=3) for side in ("Left", "Right"))
    smoother = GestureSmoother(classify=lambda hand: Gesture("fist" if hand.handedness == "Left" else "open", 1.0))
    for time_s in (0.0, 0.1, 0.2):
        assert [gesture.name for gesture in smoother([left, right], time_s)] == ["fist", "open"]
    assert len(smoother) == 2
