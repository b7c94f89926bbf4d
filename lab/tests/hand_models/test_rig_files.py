"""GLB, BVH and OBJ of rigged hands, which a reader of the tests plays back."""

from typing import get_args

import numpy as np
import pytest
from tests.media.characters.actors import Bvh
from tests.support.gltf import GltfReader

from sonjit.media.tables.characters import NAMES, BoneNames
from sonjit_lab.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit_lab.hand_models.rig import JOINTS, PARENTS, RigMotion, joint_names

UP = np.array([1, -1, -1])  # camera's axes to y up, z towards the viewer
FPS = 30
MOVING = [joint for joint, name in enumerate(JOINTS) if not name.endswith("tip")]


@pytest.fixture(scope="module")
def motions(rigs, some_poses):
    """Return a right hand in all frames, and a left one that appears, disappears and returns."""
    pose = some_poses(60)
    right = RigMotion("right-1", rigs["Right"], pose, np.arange(60), np.arange(60) / FPS)
    seen = np.r_[10:25, 40:55]
    lengths = rigs["Left"].lengths * np.linspace(0.9, 1.2, 20)
    part = type(pose)(pose.rotation[seen], pose.translation[seen], pose.angles[seen])
    return [right, RigMotion("left-2", rigs["Left"].resized(lengths), part, seen, seen / FPS)]


class TestGlb:
    def test_replays_joints_and_skin(self, motions):
        reader = GltfReader(glb_from_motions(motions))
        for motion in motions:
            _, joints = motion.rig.joint_frames(motion.pose)
            vertices, _ = motion.rig.skin(motion.pose)
            for row in range(0, len(motion.pose), 7):
                found, skinned = reader.skinned(motion.name, np.float32(motion.times[row]))
                assert np.abs(found - joints[row] * UP).max() < 1e-5  # metres
                assert np.abs(skinned - vertices[row] * UP).max() < 1e-5

    @pytest.mark.parametrize("bones", get_args(BoneNames))
    def test_bones_have_the_names_of_characters_whatever_the_track(self, motions, bones, tmp_path):
        nodes = GltfReader(glb_from_motions(motions, bones)).g["nodes"]
        expected = [*joint_names("Right", bones), *joint_names("Left", bones)]
        assert len(set(expected)) == 50
        assert [node["name"] for node in nodes if node["name"] in expected] == expected
        assert {NAMES[bones]["leftHand"], NAMES[bones]["rightLittleDistal"]} < set(expected)
        again = GltfReader(glb_from_motions([motions[0], motions[0]], bones)).g["nodes"]
        assert len({node["name"] for node in again if "mesh" not in node}) == 51
        (tmp_path / "x.bvh").write_text(bvh_from_motion(motions[1], bones=bones))
        assert list(Bvh(tmp_path / "x.bvh").parents) == [joint_names("Left", bones)[joint] for joint in MOVING]

    def test_hides_a_hand_while_it_is_away(self, motions):
        reader = GltfReader(glb_from_motions(motions))

        def size(name, frame):
            return np.ptp(reader.skinned(name, frame / FPS)[1], axis=0).max()

        assert all(size("right-1", frame) > 0.05 for frame in (0, 30, 59))
        assert all(size("left-2", frame) > 0.05 for frame in (10, 24, 41, 54))
        assert all(size("left-2", frame) == pytest.approx(0, abs=1e-6) for frame in (0, 5, 30, 58))

    def test_of_nothing_is_an_empty_scene(self):
        for data in (glb_from_motions([]), glb_from_meshes([])):
            document = GltfReader(data).g
            assert not any(value == [] for value in document.values())
            assert "meshes" not in document


def test_bvh_replays_every_frame(motions, tmp_path):
    motion = motions[0]
    (tmp_path / "x.bvh").write_text(bvh_from_motion(motion, frames=60, frame_time=1 / FPS))
    bvh, joints = Bvh(tmp_path / "x.bvh"), motion.rig.joint_frames(motion.pose)[1] * UP
    assert bvh.parents == {JOINTS[joint]: JOINTS[PARENTS[joint]] if joint else None for joint in MOVING}
    assert (bvh.count, bvh.frame_time) == (60, pytest.approx(1 / FPS))
    for row in range(0, 60, 7):
        places = bvh.positions(row)
        assert np.abs([places[JOINTS[joint]] for joint in MOVING] - joints[row, MOVING]).max() < 1e-5  # metres
    for tip in set(range(len(JOINTS))) - set(MOVING):
        offset = motion.rig.joints[tip] - motion.rig.joints[PARENTS[tip]]
        assert bvh.ends[JOINTS[PARENTS[tip]]] == pytest.approx(offset, abs=1e-5)


def test_obj_contains_each_hand_as_an_object(motions):
    meshes = [Mesh(motion.name, motion.rig.skin(motion.pose[0])[0][0], motion.rig.faces) for motion in motions]
    lines = [line.split() for line in obj_from_meshes(meshes).splitlines()]
    assert [line[1] for line in lines if line[0] == "o"] == ["right-1", "left-2"]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    first = len(meshes[0].vertices)
    assert np.abs(vertices[first:] - meshes[1].vertices * UP).max() < 1e-6
    assert (faces[len(meshes[0].faces) :] - first == meshes[1].faces).all()
