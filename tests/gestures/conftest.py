import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.hand_models.rig import RigPose
from sonjit.results import Hand
from sonjit.synthesis.hands.person import rig_from_shape
from sonjit.synthesis.scene.gestures import deviated, gestures, settled_angles


@pytest.fixture(scope="session")
def posed():
    """Function that gives a Hand with the true joints of a pose: palm to the camera, fingers up, then turned.

    With `rng` the hand is another person's, and each joint a little off the pose.
    """

    def posed(name, side="Right", roll_deg=0.0, yaw_deg=0.0, rng=None):
        rig = rig_from_shape(side, np.zeros(36) if rng is None else rng.normal(size=36).clip(-2, 2))
        pose = gestures()[name]
        angles = settled_angles(rig, pose.angles if rng is None else deviated(pose.angles, rng), pose.touch)
        joints = rig.keypoints(RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None]))[0]
        rest = rig.frames[0]
        palm = np.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], 1)  # across, along to the fingers, out of the back
        points = (joints - joints.mean(0)) @ palm * [1, -1, 1]
        roll, yaw = np.radians([0, 0, roll_deg]), np.radians([0, yaw_deg, 0])
        points = points @ (matrix_from_rotation_vector(roll) @ matrix_from_rotation_vector(yaw)).T
        return Hand(side, 1.0, (points * 1500 + [320, 240, 0]).astype(np.float32), points.astype(np.float32))

    return posed
