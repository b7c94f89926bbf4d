"""Hands in motion: names, timing, smoothness, and motion from keypoints."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.synthesis.contacts import DEPTH_M, penetration_depth
from sonjit.lab.synthesis.gestures import neutral_station, pose_from_station, scripts
from sonjit.lab.synthesis.motions import perform_sequence, retarget, sequence_names
from sonjit.lab.synthesis.person import rig_from_shape

pytestmark = pytest.mark.usefixtures("rigs")
SIDES = ("Right", "Left")
FPS = 12


@pytest.fixture(scope="module")
def person():
    shape = np.random.default_rng(3).normal(0, 0.7, 36)
    return {side: rig_from_shape(side, shape) for side in SIDES}


def keypoints(person, sequence):
    return {side: person[side].keypoints(pose) for side, pose in sequence.poses.items()}


class TestNames:
    def test_kinds_are_as_many_as_planned(self):
        assert {kind: len(each) for kind, each in scripts().items()} == {
            "peak": 40,
            "both": 13,
            "range": 15,
            "range_both": 17,
        }
        assert len(set(sequence_names())) == 2 * 40 + 13 + 2 * 15 + 17

    def test_an_unknown_name_lists_the_known(self, person):
        with pytest.raises(InputError, match="ROM01"):
            perform_sequence("9999_no", person, FPS, np.random.default_rng(0))

    def test_no_frames_are_refused(self, person):
        with pytest.raises(InputError, match="frames per second"):
            perform_sequence(sequence_names()[0], person, 0, np.random.default_rng(0))


class TestStations:
    @pytest.mark.slow
    def test_hands_have_the_named_relation(self, person):
        for kind in scripts().values():
            for side, stations in (pair for script in kind for pair in script.stations.items()):
                for station in stations:
                    pose, rig = pose_from_station(person[side], station), person[side]
                    points = rig.keypoints(pose)[0]
                    middle = (points[0] + points[9]) / 2
                    mirror = np.array([-1 if side == "Right" else 1, 1, 1])
                    assert np.linalg.norm(middle - np.array(station.at_m) * mirror) < 0.012
                    ways = {"camera": (2, -1), "person": (2, 1), "up": (1, -1), "down": (1, 1)}
                    ways |= {"in": (0, -mirror[0]), "out": (0, mirror[0])}
                    axis, sign = ways[station.fingers]
                    along = points[9] - points[0]
                    if not station.tilt_rad:
                        assert sign * along[axis] > 0.9 * np.linalg.norm(along)
                    axis, sign = ways[station.palm]
                    out = np.cross(points[5] - points[0], points[17] - points[0]) * (1 if side == "Right" else -1)
                    assert abs(out[axis]) > 0.75 * np.linalg.norm(out)
                    back = pose.rotation[0] @ rig.frames[10][:, 1]
                    assert sign * back[axis] < -0.75

    def test_neutral_hands_are_apart(self, person):
        hands = [(person[side], pose_from_station(person[side], neutral_station())) for side in SIDES]
        right, left = (rig.skin(pose)[0][0] for rig, pose in hands)
        assert min(np.linalg.norm(left - vertex, axis=1).min() for vertex in right[::10]) > 0.05


class TestMotion:
    @pytest.mark.slow
    @pytest.mark.parametrize("which", ["_RT_open_close", "0_neutral_relaxed", "_dh_pray", "_2H_turns"])
    def test_sequences_move_smoothly_and_hold(self, person, which):
        (name, *_) = [name for name in sequence_names() if which in name]
        sequence = perform_sequence(name, person, FPS, np.random.default_rng(2))
        assert sequence.kind == ("ROM" if name.startswith("ROM") else "PP")
        assert np.allclose(np.diff(sequence.times), 1 / FPS)
        for points in keypoints(person, sequence).values():
            steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
            assert steps.max() < 2.5 / FPS  # metres a second
            assert np.ptp(points[:, 0], axis=0).max() > 0.001
        for frame in range(0, len(sequence.times), 4):
            hands = [(person[side], pose[frame]) for side, pose in sequence.poses.items()]
            assert penetration_depth(hands) <= DEPTH_M

    @pytest.mark.slow
    def test_peak_poses_begin_and_end_apart(self, person):
        (name,) = [name for name in sequence_names() if "dh_triangle" in name]
        sequence = perform_sequence(name, person, FPS, np.random.default_rng(4))
        wrists = [points[:, 0] for points in keypoints(person, sequence).values()]
        apart = np.linalg.norm(wrists[0] - wrists[1], axis=1)
        assert min(apart[0], apart[-1]) > 0.15
        tips = [points[:, 8] for points in keypoints(person, sequence).values()]
        assert np.linalg.norm(tips[0] - tips[1], axis=1).min() < 0.03

    @pytest.mark.slow
    def test_sides_take_part_as_named(self, person):
        for name, sides in (("0016_", {"Right"}), ("0116_", {"Left"}), ("0200_", {"Right", "Left"})):
            (full,) = [each for each in sequence_names() if each.startswith(name)]
            assert set(perform_sequence(full, person, 4, np.random.default_rng(0)).poses) == sides

    def test_one_seed_gives_one_motion(self, person):
        name = sequence_names()[5]
        one, other, third = (perform_sequence(name, person, 6, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(one.poses["Right"].angles, other.poses["Right"].angles)
        assert len(one.times) != len(third.times) or not np.allclose(
            one.poses["Right"].angles, third.poses["Right"].angles
        )


class TestRetarget:
    def test_a_seen_hand_is_followed(self):
        rng = np.random.default_rng(9)
        rig = rig_from_shape("Left", rng.normal(size=36).clip(-2, 2))
        (name,) = [name for name in sequence_names() if "LT_open_close" in name]
        sequence = perform_sequence(name, {"Left": rig}, 8, rng)
        seen = rig.keypoints(sequence.poses["Left"]) + rng.normal(0, 0.0005, (len(sequence.times), 21, 3))
        shape, pose = retarget("Left", seen, sequence.times)
        made = rig_from_shape("Left", shape)
        apart = np.linalg.norm(made.keypoints(pose) - seen, axis=-1)
        assert apart.mean() < 0.0025
        assert np.abs(made.lengths / rig.lengths - 1).mean() < 0.03

    def test_damaged_keypoints_are_refused(self):
        with pytest.raises(InputError, match="21, 3"):
            retarget("Right", np.zeros((2, 20, 3)))
        with pytest.raises(InputError, match="NaN"):
            retarget("Right", np.full((2, 21, 3), np.nan))
