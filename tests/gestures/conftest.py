import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.gestures import CustomMotions, MotionRecording
from sonjit.results import Frame, Hand
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis.gestures import add_deviation, gestures, resolved_angles
from sonjit_lab.synthesis.hand_shapes import rig_from_shape


@pytest.fixture(scope="session")
def posed():
    """Function that gives a Hand with the true joints of a pose: palm to the camera, fingers up, then turned.

    With `rng` the hand is another person's, and each joint a little off the pose.
    """

    def posed(name, side="Right", roll_deg=0.0, yaw_deg=0.0, rng=None):
        rig = rig_from_shape(side, np.zeros(36) if rng is None else rng.normal(size=36).clip(-2, 2))
        pose = gestures()[name]
        angles = resolved_angles(rig, pose.angles if rng is None else add_deviation(pose.angles, rng), pose.touch)
        joints = rig.keypoints(RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None]))[0]
        rest = rig.frames[0]
        palm = np.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], 1)  # across, along to the fingers, out of the back
        points = (joints - joints.mean(0)) @ palm * [1, -1, 1]
        roll, yaw = np.radians([0, 0, roll_deg]), np.radians([0, yaw_deg, 0])
        points = points @ (matrix_from_rotation_vector(roll) @ matrix_from_rotation_vector(yaw)).T
        return Hand(side, 1.0, (points * 1500 + [320, 240, 0]).astype(np.float32), points.astype(np.float32))

    return posed


WAYS = {
    "beckon": [[0, 0], [0, -1], [0, 0], [0, -1], [0, 0]],
    "tick": [[0, 0], [0.4, 0.5], [1.2, -0.6]],
    "zigzag": [[0, 0], [1, 0], [0, 0.8], [1, 0.8]],
}


@pytest.fixture(scope="session")
def moved(posed):
    """Return a function that gives the frames of a hand that moves along paths, with a rest after each, and noise."""

    def moved(*ways, fps=30, seconds=1.0, size=1.0, side="Right", seed=0, rest_s=0.6, hand="open"):
        rng = np.random.default_rng(seed)
        still = posed(hand, side)
        length = size * 280 * (1 if side == "Right" else -1)
        places = [np.zeros((round(rest_s * fps), 2))]
        for named in ways:
            way = np.array(WAYS[named] if isinstance(named, str) else named, float)
            far = np.concatenate([[0], np.linalg.norm(np.diff(way, axis=0), axis=1).cumsum()])
            at = np.linspace(0, far[-1], round(seconds * fps))
            path = np.stack([np.interp(at, far, column) for column in way.T], 1) * [length, abs(length)]
            places += [places[-1][-1] + path, np.repeat(places[-1][-1:] + path[-1:], round(rest_s * fps), 0)]
        for index, place in enumerate(np.concatenate(places)):
            points = still.keypoints + np.float32([*place, 0]) + rng.normal(0, 1, (21, 3)).astype(np.float32)
            yield Frame(index, index / fps, [Hand(side, 1.0, points, still.keypoints_3d, id=0)])

    return moved


@pytest.fixture(scope="session")
def motions(moved):
    """Return motions learned from five examples of each path, with several sizes and speeds."""
    return CustomMotions.learn(
        [
            MotionRecording.of(name, moved(*[name] * 3, seconds=seconds, size=size, seed=number))
            for name in WAYS
            for number, (seconds, size) in enumerate([(0.8, 0.9), (1.2, 1.1)])
        ]
    )
