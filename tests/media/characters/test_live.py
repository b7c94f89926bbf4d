"""Poses of a stream, and characters of mirrored images."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.media import open_writer
from sonjit.media.tables.characters import BONES
from sonjit.media.tables.characters.writer import LiveCharacter
from sonjit.results import Frame

from .actors import FPS, HEADER, JOINTS, SIZE, Bvh, actor, body_of, frames_of

TIMES = np.arange(20) / FPS


def mirrored(frame):
    """Return the frame as `mirrored=True` finds it in the mirrored image: equal names of sides, reversed x."""
    (body,) = frame.bodies
    keypoints = body.keypoints * (-1, 1, 1) + (SIZE[0], 0, 0)
    return replace(frame, bodies=[replace(body, keypoints=keypoints, keypoints_3d=body.keypoints_3d * (-1, 1, 1))])


def test_poses_of_a_stream_follow_the_actor():
    character = LiveCharacter()
    for frame in frames_of(TIMES):
        pose = character.pose(frame, SIZE)
        truth = actor(frame.time)
        truth = truth - truth[[23, 24]].mean(0)
        (places,), _ = pose.joints()
        found = np.array([places[BONES.index(bone)] for bone in JOINTS]) - pose.hips[0]
        if frame.index >= 3:
            np.testing.assert_allclose(found, truth[list(JOINTS.values())], atol=0.06)  # smoothing lags in a stream
    assert abs(pose.hips[0, [0, 2]]).max() < 0.05


def test_frames_without_the_person_have_no_pose_and_another_person_follows():
    character = LiveCharacter()
    assert character.pose(Frame(0, 0.0), SIZE) is None
    first = character.pose(Frame(1, 0.1, bodies=[body_of(actor(0), 1)]), SIZE)
    second = character.pose(Frame(2, 0.2, bodies=[body_of(actor(0, x=0.5), 2)]), SIZE)
    assert second.hips[0, 0] - first.hips[0, 0] == pytest.approx(0.5, abs=0.02)


def test_mirrored_images_give_the_same_character(tmp_path):
    frames = frames_of(TIMES)
    for name, given, options in (("plain", frames, {}), ("mirror", map(mirrored, frames), {"mirrored": True})):
        with open_writer(tmp_path / f"{name}.bvh", replace(HEADER, options=options)) as writer:
            for frame in given:
                writer.write(frame)
    plain, mirror = Bvh(tmp_path / "plain.bvh"), Bvh(tmp_path / "mirror.bvh")
    for bone in JOINTS:
        assert mirror.positions(10)[bone] == pytest.approx(plain.positions(10)[bone], abs=1e-3)
