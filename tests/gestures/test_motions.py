"""What a track gives the finders of motions in each frame, and how a recognizer follows hands."""

import math

import numpy as np
import pytest

from sonjit.gestures import MotionRecognizer, motions
from sonjit.gestures.custom_motions import GestureSegment
from sonjit.gestures.motion_finders import Step
from sonjit.results import Hand, MotionEvent
from sonjit.results.measures import finger_reach, hand_length_m, pinch_distance_m


class Recorder:
    """Finder that keeps the states that it gets."""

    def __init__(self, *_):
        self.seen, self.is_active, self.stops = [], False, 0

    def __call__(self, now):
        self.seen.append(now)
        return iter([Step("Seen", "progress", 1.0, now.palm)])

    def stop(self):
        self.stops += 1
        return iter(())


@pytest.fixture
def track(monkeypatch):
    for name in ("Holds", "Swipes", "Waves", "Circles", "Rotations", "Pushes"):
        monkeypatch.setattr(motions, name, Recorder)
    return motions.HandTrack()


def points_of(scale=1.0, at=(0, 0)):
    """Return keypoints of a hand that is 100 pixels long, with all fingertips at different places."""
    points = np.random.default_rng(1).normal(0, 20, (21, 3)).astype(np.float32)
    points[:, :2] = np.round(points[:, :2])
    points *= 100 / hand_length_m(points)
    return points * scale + np.float32([*at, 0])


def states(track, frames):
    """Return the last state after each frame of a time and keypoints."""
    world = np.random.default_rng(2).normal(0, 0.04, (21, 3)).astype(np.float32)
    for time_s, points in frames:
        list(track.follow(Hand("Right", 1.0, points, world, id=1), time_s))
        yield track.swipes.seen[-1]


def test_a_state_has_the_places_and_shape_of_the_hand(track):
    points = points_of()
    world = np.random.default_rng(2).normal(0, 0.04, (21, 3)).astype(np.float32)
    turned = points_of(at=(150, 90)) * np.float32([1, 1, 3])
    turned[[5, 9, 13, 17]] += np.float32([20, 0, 0])
    first, second = states(track, [(0.0, points), (0.1, turned)])
    assert (first.palm, first.tip, first.tips, first.velocity) == (0, 0, 0, 0)
    assert first.size == pytest.approx(100)
    assert first.angle_rad == pytest.approx(math.atan2(*(points[9] - points[0])[[1, 0]]))
    assert first.reach == pytest.approx([f(finger_reach(world)[1:]) for f in (np.min, np.mean, np.max)])
    assert first.index_reach == pytest.approx(finger_reach(world)[1])
    assert first.pinch == pytest.approx(np.linalg.norm(world[4] - world[8]) / hand_length_m(world))
    assert first.pinch == pytest.approx(pinch_distance_m(world)[0] / hand_length_m(world))
    size = float(hand_length_m(turned))
    length = 100 + (size - 100) * (1 - math.exp(-0.1 / 0.5))
    assert second.size == pytest.approx(size)
    for name, keypoints in (("palm", [0, 5, 9, 13, 17]), ("tip", [8]), ("tips", [8, 12, 16, 20])):
        moved = (turned - points)[keypoints, :2].mean(0) / length
        assert getattr(second, name) == pytest.approx(complex(*moved), rel=1e-5), name
    assert track.palm == second.palm
    assert second.velocity == pytest.approx(second.palm / 0.1)


@pytest.mark.parametrize(("step_s", "frames_back"), [(1 / 8, 1), (1 / 16, 1), (3 / 64, 2), (1 / 32, 2), (1 / 64, 4)])
def test_a_velocity_covers_at_least_a_twentieth_of_a_second(track, step_s, frames_back):
    places = [0.3 * k * k for k in range(12)]
    found = [*states(track, [(k * step_s, points_of(at=(place, -place))) for k, place in enumerate(places)])]
    for k, state in enumerate(found):
        back = min(k, frames_back)
        if k:
            assert state.velocity == pytest.approx(
                complex(1, -1) * (places[k] - places[k - back]) / 100 / back / step_s
            )


@pytest.mark.parametrize(
    ("seconds", "distance", "is_lost"), [(0.25, 100, False), (0.26, 100, True), (0.1, 390, False), (0.1, 410, True)]
)
def test_a_path_restarts_after_a_gap_or_a_jump(track, seconds, distance, is_lost):
    frames = [(0.0, 0), (0.125, 50), (0.125 + seconds, 50 + distance)]
    *_, before, after = states(track, [(time_s, points_of(at=(place, 0))) for time_s, place in frames])
    assert before.palm == pytest.approx(0.5, rel=1e-5)
    assert after.palm == pytest.approx(0.5 if is_lost else 0.5 + distance / 100, rel=1e-5)
    assert after.velocity == pytest.approx(0 if is_lost else distance / 100 / seconds, rel=1e-5)
    assert track.swipes.stops == 1 + is_lost  # the first frame is after a gap, too


@pytest.mark.parametrize(
    ("height", "reach", "is_up"), [(0.31, 0.71, True), (0.29, 0.71, False), (0.31, 0.69, False), (-0.5, 0.9, False)]
)
def test_a_hand_is_raised_with_high_tips_and_straight_fingers(track, monkeypatch, height, reach, is_up):
    monkeypatch.setattr(motions, "finger_reach", lambda _: np.array([0.0, 1.0, 0.95, reach, 1.0]))
    points = points_of()
    points[[8, 12, 16, 20], 1] += points[0, 1] - points[[8, 12, 16, 20], 1].mean()
    for _ in range(40):  # the length depends on the tip of the middle finger
        lift = points[[8, 12, 16, 20], 1].mean() - points[0, 1] + height * hand_length_m(points)
        points[[8, 12, 16, 20], 1] -= lift
    (state,) = states(track, [(0.0, points)])
    assert state.is_up is is_up
    assert state.reach == pytest.approx((reach, (2.95 + reach) / 4, 1))


def test_a_hand_without_a_size_is_left_out(track):
    assert list(track.follow(Hand("Right", 1.0, points_of() * 0, points_of(), id=1), 0.0)) == []
    assert track.swipes.seen == []


def test_the_distance_of_two_hands_is_in_the_mean_of_their_lengths(monkeypatch):
    one, other = motions.HandTrack(), motions.HandTrack()
    for track, scale, at in ((one, 1.0, (300, 400)), (other, 2.0, (0, 0))):
        palm = points_of(scale)[[0, 5, 9, 13, 17], :2].mean(0)
        list(track.follow(Hand("Right", 1.0, points_of(scale, np.subtract(at, palm)), points_of(), id=1), 0.0))
    assert one.distance_to(other) == pytest.approx(500 / 150)


class Pair:
    """Pair of hands that keeps its calls."""

    made = None

    def __init__(self):
        self.calls = []
        self.made.append(self)

    def __call__(self, one, other):
        self.calls.append((one.palm, other.palm))
        yield Step("Zoom", "progress", 0.5, one.palm - 2, 1.5)

    def stop(self):
        yield Step("Zoom", "cancel", 0.25, 0j, 0.5)


@pytest.fixture
def recognizer(monkeypatch, track):
    monkeypatch.setattr(motions, "HandPair", Pair)
    monkeypatch.setattr(Pair, "made", [])
    return MotionRecognizer()


def hands(*keys, at=0.0):
    return [Hand(side, 1.0, points_of(at=(at, 0)), points_of() / 1000, id=id) for id, side in keys]


def steps_named(events, *names):
    return [(event.name, event.phase, event.id, event.handedness) for event in events if event.name in names]


def test_a_pair_is_of_exactly_two_hands_and_ends_with_another_hand(recognizer):
    both = (4, "Right"), (4, "Left")
    zoom = [("Zoom", "progress", 4, "Left")]
    assert steps_named(recognizer(hands((4, "Right")), 0.0), "Zoom") == []
    assert steps_named(recognizer(hands(*both), 0.1), "Zoom") == zoom
    assert steps_named(recognizer(hands(*both, at=10), 0.2), "Zoom") == zoom
    (pair,) = Pair.made
    assert pair.calls == [(0, 0), (pytest.approx(0.1, rel=1e-5),) * 2]
    third = recognizer(hands(*both, (5, "Left")), 0.3)
    assert steps_named(third, "Zoom") == [("Zoom", "cancel", 4, "Left")]
    assert steps_named(recognizer(hands((4, "Left"), (5, "Left")), 0.4), "Zoom") == zoom
    assert steps_named(recognizer(hands((4, "Left")), 0.5), "Zoom") == [("Zoom", "cancel", 4, "Left")]
    assert len(Pair.made) == 2
    recognizer(hands(*both), 0.6)
    ended = recognizer.finish()
    assert steps_named(ended, "Zoom") == [("Zoom", "cancel", 4, "Left")]
    assert (ended[0].time, ended[0].strength, ended[0].count) == (0.6, 0.25, 0.5)
    assert recognizer.finish() == []


def test_an_event_has_the_movement_since_the_begin(recognizer):
    recognizer(hands((1, "Left"), (2, "Left")), 0.0)
    *_, zoom = recognizer(hands((1, "Left"), (2, "Left"), at=30), 0.1)
    assert (zoom.time, zoom.strength, zoom.count) == (0.1, 0.5, 1.5)
    assert zoom.moved == pytest.approx((2, 0))
    assert not any(math.isnan(value) for value in zoom.moved)


@pytest.mark.parametrize(("pause_s", "is_lost"), [(0.5, False), (0.51, True)])
def test_a_hand_is_forgotten_after_half_a_second(recognizer, monkeypatch, pause_s, is_lost):
    recognizer(hands((1, "Left")), 2.0)
    monkeypatch.setattr(motions.HandTrack, "stop", lambda _: iter([Step("Lost", "cancel", 0.1, 0j)]))
    events = recognizer([], 2.0 + pause_s)
    assert steps_named(events, "Lost") == [("Lost", "cancel", 1, "Left")] * is_lost
    assert {event.time for event in events} == {2.0 + pause_s} if is_lost else events == []


def test_a_custom_motion_is_one_event_at_its_end(monkeypatch):
    segment = GestureSegment("tick", 0.5, 1.0, 0.75, 3, "Left", moving=True)
    monkeypatch.setattr(motions.custom_motions, "MotionSpotter", lambda *_: lambda *_: [segment])
    (event,) = MotionRecognizer(custom=object())([], 1.25)
    assert event == MotionEvent("tick", "end", 3, "Left", 1.25, 0.75, (0.0, 0.0), 0.0)
