from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from sonjit.detectors.observations import centre_of, clamp_to_occluder, size_of
from sonjit.detectors.tracking import SHIPPED, Tracker

from .fakes import seen_at

STEP_S = 1 / 30


def bridging(most=2):
    def move(seen, shift, score):
        return replace(seen, keypoints=seen.keypoints + np.append(shift, 0), score=score)

    return Tracker(propagate=move, max_tracks=most)


def pass_behind(tracker, frames=61, *, blend=False, gone_at=999):
    """Return IDs and x by frame of two instances that cross. The rear one is missed within 70 px of the front one."""
    for i, x in enumerate(np.linspace(0, 600, frames)):
        rear, front = seen_at(x, left=0.97), seen_at(600 - x, 10, left=0.03)
        is_seen = abs(600 - 2 * x) > 70 and i < gone_at
        mixed = seen_at(600 - x + 30, 10, left=0.5) if blend else None
        look = {1: rear if is_seen else mixed, 2: front}
        carried = [(track, look[track.id]) for track in tracker.active if look[track.id] is not None]
        lost = is_seen and len(tracker.active) < 2
        tracker.update(carried, [rear, front] if i == 0 else [rear] if lost else [], i * STEP_S)
        yield {
            track.id: (float(track.observation.keypoints[:, 0].mean()), track.occluded_s) for track in tracker.active
        }


def ids(tracker, frames, start_s=0.0):
    """Return the IDs of each frame. Observations are in the boxes of active tracks, in their order, or new."""
    rows = []
    for i, frame in enumerate(frames):
        carried = list(zip(tracker.active, frame, strict=False))
        tracker.update(carried, frame[len(carried) :], start_s + i * STEP_S)
        rows.append([track.id for track in tracker.active])
    return rows


def test_ids_count_from_one_and_stay():
    frames = [[seen_at(3 * i), seen_at(500 - 3 * i)] for i in range(30)]
    assert ids(Tracker(), frames) == [[1, 2]] * 30


def test_crossing_hands_of_different_sides_keep_their_ids_even_if_the_boxes_slip():
    tracker = Tracker()
    for i, x in enumerate(np.linspace(0, 600, 61)):
        left, right = seen_at(x, left=0.97), seen_at(600 - x, 40, left=0.03)
        pair = [right, left] if i > 30 else [left, right]  # both boxes have slipped onto the other hand
        carried = list(zip(tracker.active, pair, strict=False))
        tracker.update(carried, pair[len(carried) :], i * STEP_S)
        places = {track.id: track.observation.left for track in tracker.active}
        assert places == {1: 0.97, 2: 0.03}


def test_two_tracks_that_see_one_object_become_the_one_that_fits():
    tracker = Tracker()
    assert ids(tracker, [[seen_at(0), seen_at(300)]]) == [[1, 2]]
    assert ids(tracker, [[seen_at(10), seen_at(11)]], start_s=STEP_S) == [[1]]


@pytest.mark.parametrize(("away_s", "again"), [(0.5, 1), (60.0, 2)])
def test_a_lost_instance_is_remembered_for_a_short_time(away_s, again):
    tracker = Tracker()
    assert ids(tracker, [[seen_at(0)], []]) == [[1], []]
    assert ids(tracker, [[seen_at(20)]], start_s=away_s) == [[again]]


@pytest.mark.parametrize(("x", "again"), [(50, 1), (400, 2)])
def test_an_instance_found_far_away_is_another_one(x, again):
    assert ids(Tracker(), [[seen_at(0)], [], [seen_at(x)]]) == [[1], [], [again]]


def test_a_box_that_slipped_to_another_hand_returns_to_its_track():
    tracker = Tracker()
    ids(tracker, [[seen_at(0, left=0.95), seen_at(200, left=0.05)]] * 3)
    tracker.update([(tracker.active[0], seen_at(0, left=0.95))], [], 3 * STEP_S)  # the second is lost
    assert [track.id for track in tracker.active] == [1]
    tracker.update([(tracker.active[0], seen_at(195, left=0.05))], [], 4 * STEP_S)  # its box jumps onto the second
    assert [track.id for track in tracker.active] == [2]


@pytest.mark.parametrize("wrong", [{5}, {5, 6}, {3, 9, 15}], ids=str)
def test_the_side_is_believed_over_single_wrong_frames(wrong):
    tracker = Tracker()
    for i in range(20):
        left = 0.05 if i in wrong else 0.95
        tracker.update(
            [(track, seen_at(i, left=left)) for track in tracker.active], [seen_at(i, left=left)], i * STEP_S
        )
        assert tracker.active[0].left > 0.5
    assert len(tracker.active) == 1


@pytest.mark.parametrize("blend", [False, True])
def test_an_instance_behind_another_is_moved_on_and_keeps_its_id(blend):
    truth = np.linspace(0, 600, 61) + seen_at(0).keypoints[:, 0].mean()
    frames = list(pass_behind(bridging(), blend=blend))
    assert all(list(places) == [1, 2] for places in frames)
    assert max(abs(places[1][0] - x) for places, x in zip(frames, truth, strict=True)) < 25
    assert all(places[2][1] is None for places in frames)


def test_a_hidden_one_is_seen_again_though_the_box_of_another_has_slipped_onto_it():
    tracker = bridging()
    for i in range(12):
        pair = [seen_at(0, left=0.9), seen_at(90, left=0.1)]
        tracker.update(list(zip(tracker.active, pair, strict=False)), [] if i else pair, i * STEP_S)
    first, second = tracker.active
    tracker.update([(first, seen_at(0, left=0.9))], [], 12 * STEP_S)
    assert second.occluded_s is not None
    tracker.update([(first, seen_at(80, left=0.5)), (second, seen_at(85, left=0.1))], [], 13 * STEP_S)
    assert [(track.id, track.occluded_s is None) for track in tracker.active] == [(1, False), (2, True)]


def test_a_lost_instance_is_reidentified_by_its_colours():
    tracker = Tracker()
    ids(tracker, [[seen_at(0, colours=[250] * 3), seen_at(120, colours=[20] * 3)], []])
    assert ids(tracker, [[seen_at(50, colours=[30] * 3)]], start_s=0.5) == [[2]]


def test_a_restarted_clock_forgets_lost_tracks_and_moves_no_active_one():
    tracker = bridging()
    ids(tracker, [[seen_at(0), seen_at(60), seen_at(900)]], start_s=5.0)
    tracker.update([(track, track.observation) for track in tracker.active[:2]], [], 5.1)  # the third is lost
    tracker.restart_clock()
    tracker.update([(tracker.active[0], seen_at(0))], [seen_at(900)], 5.2)
    assert [track.id for track in tracker.active] == [1, 4]
    assert all(np.isfinite(track.observation.keypoints).all() for track in tracker.active)


@pytest.mark.parametrize("returns", ["lost", "slipped"])
def test_a_revived_track_is_smoothed_from_its_new_position(returns):
    smoothers = []

    def new_smoother():
        smoothers.append([])
        return lambda observation, _, own=smoothers[-1]: own.append(observation) or observation

    tracker = Tracker(new_smoother)
    ids(tracker, [[seen_at(0, left=0.95), seen_at(200, left=0.05)]] * 3)
    first, second = tracker.active
    tracker.update([(first, seen_at(0, left=0.95))], [], 0.1)
    back = seen_at(195, left=0.05)
    tracker.update(*(([(first, back)], []) if returns == "slipped" else ([], [back])), 0.2)
    assert tracker.active == [second]
    second.smooth(second.observation, 0.2)
    assert smoothers[2:] == [[back]]


@pytest.mark.parametrize(("most", "kept"), [({}, [2]), ({"max_tracks": 2}, [1, 2])])
def test_hidden_instances_are_kept_up_to_a_maximum_of_one_by_default(most, kept):
    tracker = Tracker(propagate=lambda seen, shift, score: seen, **most)
    tracker.update([], [seen_at(0), seen_at(60)], 0.0)
    tracker.update([(tracker.active[1], seen_at(60))], [], STEP_S)
    assert [track.id for track in tracker.active] == kept


@pytest.mark.parametrize("first", [(900, 0), (0, 110)])
def test_an_instance_is_hidden_though_another_one_is_lost_in_the_same_frame(first):
    tracker = bridging(most=3)
    tracker.update([], [seen_at(*first), seen_at(30, 20), seen_at(0)], 0.0)
    tracker.update([(tracker.active[2], seen_at(0))], [], STEP_S)
    assert [(track.id, track.occluded_s is None) for track in tracker.active] == [(2, False), (3, True)]


LANES = (0, 800, 1600)
MEMORY_S = SHIPPED.memory_s


class Identities(RuleBasedStateMachine):
    """Instances that never meet move, leave and come back, and frames are late: an id is always of one of them."""

    def __init__(self):
        super().__init__()
        self.tracker = Tracker()
        self.now_s = 0.0
        self.shift = dict.fromkeys(LANES, 0.0)
        self.visible = dict.fromkeys(LANES, True)
        self.known = {}  # lane -> id, time when last seen
        self.highest = 0

    @rule(lane=st.sampled_from(LANES))
    def leave_or_return(self, lane):
        self.visible[lane] = not self.visible[lane]

    @rule(lane=st.sampled_from(LANES), shift=st.floats(-50, 50))
    def move(self, lane, shift):
        self.shift[lane] = shift

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds):
        self.now_s += seconds

    @rule()
    def restart_clock(self):
        self.tracker.restart_clock()
        self.now_s = 0.0
        active_lanes = {self.lane_of(track) for track in self.tracker.active}
        self.known = {lane: (one, 0.0) for lane, (one, _) in self.known.items() if lane in active_lanes}

    @rule()
    def reset(self):
        self.tracker.reset()
        self.known, self.highest = {}, 0

    @rule(searches=st.booleans(), frames=st.integers(1, 4))
    def watch(self, searches, frames):
        for _ in range(frames):
            self.now_s += STEP_S
            seen = {lane: seen_at(lane + self.shift[lane]) for lane in LANES if self.visible[lane]}
            active_lanes = {self.lane_of(track): track for track in self.tracker.active}
            carried = [(track, seen[lane]) for lane, track in active_lanes.items() if lane in seen]
            new = [one for lane, one in seen.items() if lane not in active_lanes] if searches else []
            lost = self.tracker.update(carried, new, self.now_s)
            assert lost == any(lane not in seen for lane in active_lanes)
            self.check(seen if searches else seen.keys() & active_lanes.keys())

    def check(self, lanes):
        active = {self.lane_of(track): track.id for track in self.tracker.active}
        assert [track.id for track in self.tracker.active] == sorted(set(active.values()))
        assert active.keys() == set(lanes)
        for lane, one in sorted(active.items(), key=lambda item: item[1]):
            before, seen_s = self.known.get(lane, (None, -MEMORY_S))
            if one != before:
                assert self.now_s - seen_s > MEMORY_S - STEP_S or before is None
                assert one == self.highest + 1
                self.highest = one
            self.known[lane] = one, self.now_s

    def lane_of(self, track):
        return min(LANES, key=lambda lane: abs(track.observation.keypoints[:, 0].mean() - lane))


TestIdentities = Identities.TestCase
TestIdentities.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("shift", [(3.0, 4.0), (400.0, -300.0), (0.0, 0.0), (-900.0, 20.0)])
def test_an_occluded_instance_ends_near_its_occluder(shift):
    occluded, near, far = seen_at(200, 100), seen_at(230, 110), seen_at(900, 500)
    moved = centre_of(occluded) + clamp_to_occluder(occluded, np.array(shift), [far, near], 0.5)
    wanted, most = centre_of(occluded) + shift - centre_of(near), 0.5 * size_of(near.keypoints[:, :2])
    offset = moved - centre_of(near)
    assert np.linalg.norm(offset) == pytest.approx(min(most, np.linalg.norm(wanted)))
    np.testing.assert_allclose(offset / np.linalg.norm(offset), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_track_lost_at_the_time_of_a_frame_returns_at_that_time():
    tracker = Tracker()
    for new in ([seen_at(100)], [], [seen_at(101)]):
        tracker.update([], new, 1.0)
    assert [track.id for track in tracker.active] == [1]
