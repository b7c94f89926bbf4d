"""GLB, BVH and OBJ of rigged hands, which a reader of the tests plays back."""

from typing import get_args

import numpy as np
import pytest

from sonjit.lab.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit.lab.hand_models.rig import JOINTS, PARENTS, RigMotion, joint_names
from sonjit.media.tables.characters import NAMES, BoneNames

from ...support.gltf import GltfReader  # noqa: TID252  # one helper for all packages

UP = np.array([1, -1, -1])  # camera's axes to y up, z towards the viewer
FPS = 30


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
    def test_bones_have_the_names_of_characters_whatever_the_track(self, motions, bones):
        nodes = GltfReader(glb_from_motions(motions, bones)).g["nodes"]
        expected = [*joint_names("Right", bones), *joint_names("Left", bones)]
        assert len(set(expected)) == 50
        assert [node["name"] for node in nodes if node["name"] in expected] == expected
        assert {NAMES[bones]["leftHand"], NAMES[bones]["rightLittleDistal"]} < set(expected)
        again = GltfReader(glb_from_motions([motions[0], motions[0]], bones)).g["nodes"]
        assert len({node["name"] for node in again if "mesh" not in node}) == 51
        names, *_ = play_bvh(bvh_from_motion(motions[1], bones=bones))
        assert [name for name in names if name != "Site"] == [
            name for name, joint in zip(joint_names("Left", bones), JOINTS, strict=True) if not joint.endswith("tip")
        ]

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


def play_bvh(text):
    """Return joint names, positions (frames, joints, 3) with end sites, and the frame time."""
    words = iter(text.split())
    names, parents, offsets, channels, stack, last = [], [], [], [], [], -1
    for word in words:
        if word in ("ROOT", "JOINT", "End"):
            names.append(next(words))
            parents.append(stack[-1] if stack else -1)
            last = len(names) - 1
            channels.append([])
        elif word == "{":
            stack.append(last)
        elif word == "}":
            stack.pop()
        elif word == "OFFSET":
            offsets.append([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            channels[-1] = [next(words) for _ in range(int(next(words)))]
        elif word == "MOTION":
            break
    assert next(words) == "Frames:"
    frames = int(next(words))
    assert [next(words), next(words)] == ["Frame", "Time:"]
    frame_time = float(next(words))
    values = np.array([float(word) for word in words]).reshape(frames, -1)
    assert values.shape[1] == sum(map(len, channels))
    axes = {"X": 0, "Y": 1, "Z": 2}
    positions = np.zeros((frames, len(names), 3))
    for frame, row in enumerate(values):
        turns, column = [], 0
        for joint, parent in enumerate(parents):
            turn, place = np.eye(3), np.array(offsets[joint])
            for channel in channels[joint]:
                axis, value = axes[channel[0]], row[column]
                column += 1
                if channel.endswith("position"):
                    place[axis] += value
                else:
                    i, j = (axis + 1) % 3, (axis + 2) % 3
                    one, angle = np.eye(3), np.deg2rad(value)
                    one[[i, j], [i, j]] = np.cos(angle)
                    one[j, i], one[i, j] = np.sin(angle), -np.sin(angle)
                    turn = turn @ one
            above = turns[parent] if parent >= 0 else np.eye(3)
            turns.append(above @ turn)
            positions[frame, joint] = place if parent < 0 else positions[frame, parent] + above @ place
    return names, parents, positions, frame_time


class TestBvh:
    def test_replays_every_frame(self, motions):
        motion = motions[0]
        names, parents, positions, frame_time = play_bvh(bvh_from_motion(motion, frames=60, frame_time=1 / FPS))
        assert parents == list(PARENTS)
        assert [a for a in names if a != "Site"] == [a for a in JOINTS if not a.endswith("tip")]
        assert frame_time == pytest.approx(1 / FPS)
        assert np.abs(positions - motion.rig.joint_frames(motion.pose)[1] * UP).max() < 1e-5  # metres


def test_obj_contains_each_hand_as_an_object(motions):
    meshes = [Mesh(motion.name, motion.rig.skin(motion.pose[0])[0][0], motion.rig.faces) for motion in motions]
    lines = [line.split() for line in obj_from_meshes(meshes).splitlines()]
    assert [line[1] for line in lines if line[0] == "o"] == ["right-1", "left-2"]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    first = len(meshes[0].vertices)
    assert np.abs(vertices[first:] - meshes[1].vertices * UP).max() < 1e-6
    assert (faces[len(meshes[0].faces) :] - first == meshes[1].faces).all()
