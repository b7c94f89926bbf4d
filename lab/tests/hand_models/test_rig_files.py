"""GLB, BVH and OBJ of rigged hands, which a reader of the tests plays back."""

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from tests.media.characters.actors import Bvh
from tests.support.gltf import GltfReader

from sonjit.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from sonjit.media.tables.characters import NAMES, BoneNames
from sonjit.media.tables.characters.turns import MAX_SPEED
from sonjit_lab.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit_lab.hand_models.rig import JOINTS, PARENTS, RigMotion, joint_names
from sonjit_lab.meshes.run import save_meshes

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


def largest_turn(axes):
    """Return the largest turn in radians between two frames of axes (N, 25, 3, 3)."""
    return np.linalg.norm(rotation_vector_from_matrix(np.swapaxes(axes[:-1], -1, -2) @ axes[1:]), axis=-1).max()


@pytest.mark.parametrize("part", ["hand", "finger"])
@pytest.mark.parametrize("frames", [1, 3, 30])
def test_no_joint_turns_faster_than_the_bones_of_characters(rigs, some_poses, tmp_path, part, frames):
    pose, turned = some_poses(60), slice(20, 20 + frames)
    motion = RigMotion("right-1", rigs["Right"], pose, np.arange(60), np.arange(60) / FPS)
    if part == "hand":
        pose.rotation[turned] = matrix_from_rotation_vector(np.array([0, np.pi, 0])) @ pose.rotation[turned]
    else:
        pose.angles[turned, 1, 0] += (0, 2.5, 0)
    assert largest_turn(motion.rig.joint_frames(pose)[0]) > 2.4
    (tmp_path / "x.bvh").write_text(bvh_from_motion(motion, frames=60, frame_time=1 / FPS))
    bvh, reader = Bvh(tmp_path / "x.bvh"), GltfReader(glb_from_motions([motion]))
    places = np.array([list(bvh.positions(row).values()) for row in range(60)])
    lengths = np.linalg.norm(motion.rig.joints[list(MOVING)] - motion.rig.joints[0], axis=1).max()
    moved = np.linalg.norm(np.diff(places - places[:, :1], axis=0), axis=-1).max()
    assert moved < 1.1 * lengths * MAX_SPEED / FPS
    for row in (19, 20, 21, 40):  # both files show the same hand
        assert np.abs(reader.skinned(motion.name, np.float32(row / FPS))[0][list(MOVING)] - places[row]).max() < 1e-5
    if frames == 1:  # a short flip leaves no trace
        assert np.linalg.norm(np.diff(places - places[:, :1], axis=0), axis=-1)[19:24].max() < 0.4 * lengths


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


@pytest.mark.parametrize("gap_s", [0.0, 1.0])
def test_bvh_follows_the_times_of_frames(rigs, some_poses, tmp_path, gap_s):
    """The second half of the frames has half the rate, and may come after a gap."""
    pose = some_poses(20)
    times = np.r_[np.arange(10) / FPS, 10 / FPS + gap_s + np.arange(10) * 2 / FPS]
    motion = RigMotion("right-1", rigs["Right"], pose, np.arange(20), times)
    (tmp_path / "x.bvh").write_text(bvh_from_motion(motion, frame_time=1 / FPS))
    bvh, wrists = Bvh(tmp_path / "x.bvh"), motion.rig.joint_frames(motion.pose)[1][:, 0] * UP
    assert bvh.count == round(times[-1] * FPS) + 1
    shown = np.array([bvh.positions(row)[JOINTS[0]] for row in np.round(times * FPS).astype(int).tolist()])
    assert np.abs(shown - wrists).max() < 1e-5  # metres
    turns = np.array([list(bvh.turns(row).values()) for row in range(bvh.count)])
    assert largest_turn(turns) < 1.01 * MAX_SPEED / FPS
    (tmp_path / "y.bvh").write_text(bvh_from_motion(motion, frames=bvh.count + 3, frame_time=1 / FPS))
    longer = Bvh(tmp_path / "y.bvh").rows
    assert longer[: bvh.count] == pytest.approx(bvh.rows)
    assert (longer[bvh.count :] == longer[bvh.count - 1]).all()


def test_bvh_of_a_video_whose_rate_changes_has_its_average_rate(rigs, some_poses, tmp_path):
    times = np.r_[np.arange(10) / FPS, 10 / FPS + np.arange(11) * 2 / FPS]
    motion = RigMotion("right-1", rigs["Right"], some_poses(21), np.arange(21), times)
    source, model = SimpleNamespace(fps=20.0), SimpleNamespace(motions=[motion])
    path = str(tmp_path / "x.bvh")
    assert save_meshes(path, source, model, list(enumerate(times.tolist()))) == [path]
    bvh, wrists = Bvh(tmp_path / "x.bvh"), motion.rig.joint_frames(motion.pose)[1][:, 0] * UP
    assert (bvh.count, bvh.frame_time) == (21, pytest.approx(0.05))
    shown = [bvh.positions(row)[JOINTS[0]] for row in (0, 2, 4, 8, 12, 20)]  # rows at the time of a frame
    assert np.abs(shown - wrists[[0, 3, 6, 11, 14, 20]]).max() < 2e-5  # metres


def test_obj_contains_each_hand_as_an_object(motions):
    meshes = [Mesh(motion.name, motion.rig.skin(motion.pose[0])[0][0], motion.rig.faces) for motion in motions]
    lines = [line.split() for line in obj_from_meshes(meshes).splitlines()]
    assert [line[1] for line in lines if line[0] == "o"] == ["right-1", "left-2"]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    first = len(meshes[0].vertices)
    assert np.abs(vertices[first:] - meshes[1].vertices * UP).max() < 1e-6
    assert (faces[len(meshes[0].faces) :] - first == meshes[1].faces).all()
